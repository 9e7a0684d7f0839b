//! `/-/healthy`, `/-/ready` and `/-/reload`.

use hyper::StatusCode;
use tokio::sync::oneshot;

use super::Context;
use crate::web::Answer;

/// Answers that the daemon is alive, whatever the state of its targets.
pub(super) async fn healthy() -> Answer {
    Answer::text(StatusCode::OK, "db_pool_exporter is healthy.\n")
}

/// Answers whether every target was probed once.
pub(super) async fn ready(context: &Context) -> Answer {
    if (context.ready)() {
        Answer::text(StatusCode::OK, "db_pool_exporter is ready.\n")
    } else {
        Answer::problem(StatusCode::SERVICE_UNAVAILABLE, "not every target was probed yet")
    }
}

/// Reloads the configuration and answers with the outcome.
pub(super) async fn reload(context: &Context) -> Answer {
    let Some(reload) = &context.reload else { return unavailable() };
    let (sender, outcome) = oneshot::channel();
    if reload.send(sender).await.is_err() {
        return unavailable();
    }
    match outcome.await {
        Ok(Ok(())) => Answer::text(StatusCode::OK, "configuration reloaded\n"),
        Ok(Err(reason)) => Answer::problem(StatusCode::INTERNAL_SERVER_ERROR, reason),
        Err(_) => unavailable(),
    }
}

/// The daemon is stopping, or was started without a reloader.
fn unavailable() -> Answer {
    Answer::problem(StatusCode::SERVICE_UNAVAILABLE, "nothing can be reloaded now")
}
