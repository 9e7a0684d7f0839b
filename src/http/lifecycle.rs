//! `/-/healthy`, `/-/ready` and `/-/reload`.

use hyper::StatusCode;
use tokio::sync::oneshot;

use super::answer::Answer;
use super::service::Context;

/// The daemon is alive, whatever its targets are.
pub(super) async fn healthy() -> Answer {
    Answer::text(StatusCode::OK, "db_pool_exporter is healthy.\n")
}

/// Every target was probed once.
pub(super) async fn ready(context: &Context) -> Answer {
    if (context.state.ready)() {
        Answer::text(StatusCode::OK, "db_pool_exporter is ready.\n")
    } else {
        Answer::problem(StatusCode::SERVICE_UNAVAILABLE, "not every target was probed yet")
    }
}

/// Reads the configuration again, and says how that went.
pub(super) async fn reload(context: &Context) -> Answer {
    let gone = || Answer::problem(StatusCode::SERVICE_UNAVAILABLE, "nothing can be reloaded now");
    let Some(reload) = &context.state.reload else { return gone() };
    let (told, outcome) = oneshot::channel();
    if reload.send(told).await.is_err() {
        return gone();
    }
    match outcome.await {
        Ok(Ok(())) => Answer::text(StatusCode::OK, "configuration reloaded\n"),
        Ok(Err(reason)) => Answer::problem(StatusCode::INTERNAL_SERVER_ERROR, reason),
        Err(_) => gone(),
    }
}
