"""What an application knows of its own pool without db_pool_status, on a Unix socket of its own for each process."""

from __future__ import annotations

import json
import os
import socket
import threading


class Truth:
    def __init__(self, pool_of) -> None:
        self._pool_of = pool_of
        self._lock = threading.Lock()
        self.asking = self.ok = self.timeouts = self.returned = 0

    def count(self, **changes: int) -> None:
        with self._lock:
            for name, change in changes.items():
                setattr(self, name, getattr(self, name) + change)

    def serve(self) -> None:
        path = os.path.join(os.environ["TRUTH"], str(os.getpid()))
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen(64)
        threading.Thread(target=self._run, args=(listener,), daemon=True).start()

    def _run(self, listener: socket.socket) -> None:
        while True:
            client, _ = listener.accept()
            with self._lock:
                facts = {name: getattr(self, name) for name in ("asking", "ok", "timeouts", "returned")}
            facts["status"] = self._pool_of().status()
            client.sendall(json.dumps(facts).encode())
            client.close()
