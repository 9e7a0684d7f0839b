//! The accept loops.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::Surroundings;
use super::listener::Listener;
use super::service::Service;

/// Serves until `stop`, then ends within the grace period: listeners first, then connections,
/// each after the answer it is sending. Connections are spawned on `tasks`.
pub async fn serve(
    listeners: Vec<Listener>,
    service: Arc<Service>,
    stop: CancellationToken,
    tasks: TaskTracker,
) {
    let connections = TaskTracker::new();
    let surroundings = Surroundings { service, stop, tasks };
    let loops = listeners
        .into_iter()
        .map(|listener| accept(listener, surroundings.clone(), connections.clone()));
    join_all(loops).await;
    connections.close();
    connections.wait().await;
}

const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Accepts until `stop`. What the system refuses, out of descriptors say, passes: an idle
/// connection makes room, and we try again after a pause that grows.
async fn accept(listener: Listener, surroundings: Surroundings, connections: TaskTracker) {
    let mut pause = SHORTEST_PAUSE;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = surroundings.stop.cancelled() => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                pause = SHORTEST_PAUSE;
                let Some(place) = surroundings.service.roster().admit() else {
                    tracing::debug!(?peer, "connection refused, all others are busy");
                    continue;
                };
                let serving = surroundings.clone().serve(stream, peer, place);
                surroundings.tasks.spawn(connections.track_future(serving));
            }
            Err(error) if is_of_one_client(&error) => {}
            Err(error) => {
                if pause == SHORTEST_PAUSE {
                    tracing::warn!(address = %listener.address(), %error, "cannot accept");
                }
                surroundings.service.roster().shed();
                wait(&surroundings.stop, pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

async fn wait(stop: &CancellationToken, pause: Duration) {
    tokio::select! {
        () = sleep(pause) => {}
        () = stop.cancelled() => {}
    }
}

fn is_of_one_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    [ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted].contains(&error.kind())
}
