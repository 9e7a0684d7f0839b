//! The accept loops of the listeners, and their orderly end.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::ConnectionContext;
use super::listener::Listener;
use super::service::Service;

/// Serves until `stop`, then closes the listeners, and each connection after the answer that it is sending.
/// Ends within the grace period of the settings. Connections and the watch of the web configuration file
/// are spawned on `tasks`.
pub async fn serve<C: Send + Sync + 'static>(
    listeners: Vec<Listener>,
    service: Arc<Service<C>>,
    stop: CancellationToken,
    tasks: TaskTracker,
) {
    let watched = Arc::clone(&service);
    let watch = async move { watched.live().watch().await };
    tasks.spawn(stop.clone().run_until_cancelled_owned(watch));
    let connections = TaskTracker::new();
    let context = ConnectionContext { service, stop, tasks };
    let loops = listeners
        .into_iter()
        .map(|listener| accept(listener, context.clone(), connections.clone()));
    join_all(loops).await;
    connections.close();
    connections.wait().await;
}

const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Accepts until `stop`.
///
/// An error of the whole process, such as no free file descriptor (EMFILE), is temporary. The loop closes an
/// idle connection to make room and tries again after a pause, which doubles with each failure. Without the
/// pause the loop would use a whole processor: `accept` fails at once as long as a client waits.
async fn accept<C: Send + Sync + 'static>(
    listener: Listener,
    context: ConnectionContext<C>,
    connections: TaskTracker,
) {
    let mut pause = SHORTEST_PAUSE;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = context.stop.cancelled() => return,
        };
        match accepted {
            Ok((socket, peer)) => {
                pause = SHORTEST_PAUSE;
                let Some(slot) = context.service.connections().admit(peer) else {
                    tracing::debug!(?peer, "connection refused: all others are busy");
                    continue;
                };
                let serving = context.clone().serve(socket, peer, slot);
                context.tasks.spawn(connections.track_future(serving));
            }
            Err(error) if is_of_one_client(&error) => {}
            Err(error) => {
                if pause == SHORTEST_PAUSE {
                    tracing::warn!(address = %listener.address(), %error, "cannot accept");
                }
                context.service.connections().shed();
                wait(&context.stop, pause).await;
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

/// Reports whether only the next connection could not be accepted. Then the others are accepted without a
/// pause.
fn is_of_one_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    [ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted].contains(&error.kind())
}
