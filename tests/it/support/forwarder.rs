//! A TCP forwarder that gives a client an address of its own.
//!
//! Neither libpq nor asyncpg nor node-postgres can choose the address from which they connect. The forwarder
//! listens on 127.0.0.1 and connects onward from another address of the loopback network, so that the server
//! sees one client address for each process, as it does with processes on several machines.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread::JoinHandle;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpSocket, TcpStream};
use tokio_util::sync::CancellationToken;

/// A running forwarder; dropping it closes all its connections.
pub(crate) struct Forwarder {
    port: u16,
    server: Arc<AtomicU16>,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Forwarder {
    /// Forwards to this port of 127.0.0.1, from `source`.
    pub(crate) fn start(source: Ipv4Addr, port: u16) -> Forwarder {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        listener.set_nonblocking(true).expect("always possible");
        let own = listener.local_addr().expect("it is bound").port();
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let server = Arc::new(AtomicU16::new(port));
        let turned = Arc::clone(&server);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime
                .expect("a runtime")
                .block_on(stopped.run_until_cancelled(serve(listener, source, turned)));
        });
        Forwarder { port: own, server, stop, thread: Some(thread) }
    }

    /// Leads new connections to another port of 127.0.0.1; those that are open stay where they are.
    pub(crate) fn turn_to(&self, port: u16) {
        self.server.store(port, Ordering::Relaxed);
    }

    /// The port of 127.0.0.1 on which it listens.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.stop.cancel();
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

async fn serve(listener: TcpListener, source: Ipv4Addr, server: Arc<AtomicU16>) {
    let listener = tokio::net::TcpListener::from_std(listener).expect("it does not block");
    while let Ok((client, _)) = listener.accept().await {
        let port = server.load(Ordering::Relaxed);
        tokio::spawn(forward(client, source, (Ipv4Addr::LOCALHOST, port).into()));
    }
}

async fn forward(mut client: TcpStream, source: Ipv4Addr, server: SocketAddr) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind((source, 0).into()).expect("127.0.0.0/8 belongs to the loopback");
    let Ok(mut onward) = socket.connect(server).await else { return };
    // Small messages must not wait for each other.
    let _ = (client.set_nodelay(true), onward.set_nodelay(true));
    // Errors of a connection are not handled here: its client and the server see them.
    let _ = copy_bidirectional(&mut client, &mut onward).await;
}
