from typing import Any, Awaitable, Callable, Iterable, Sequence

__all__ = ["PoolWatch", "__version__", "status", "watch"]
__version__: str

class PoolWatch:
    name: str
    def __init__(
        self,
        engine: Any,
        name: str,
        queries: bool,
        slow_query_seconds: float,
        holders: int,
        callers: bool | Sequence[str],
    ) -> None: ...
    def close(self) -> None: ...
    def status(self) -> dict[str, Any]: ...
    def status_json(self) -> bytes: ...
    async def asgi(
        self,
        scope: dict[str, Any],
        receive: Callable[[], Awaitable[dict[str, Any]]],
        send: Callable[[dict[str, Any]], Awaitable[None]],
    ) -> None: ...
    def wsgi(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]: ...
    @property
    def socket_path(self) -> str | None: ...

def watch(
    engine: Any,
    *,
    name: str,
    socket_dir: str | None = None,
    socket_mode: int = 0o660,
    queries: bool = True,
    slow_query_seconds: float = 1.0,
    holders: int = 20,
    callers: bool | Sequence[str] = False,
) -> PoolWatch: ...
def status(name: str) -> dict[str, Any]: ...
