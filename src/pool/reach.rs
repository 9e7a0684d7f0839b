//! A stream to a host: its name looked up, its addresses tried, its socket tuned.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, timeout_at};

use super::apart::Resolve;
use super::error::ConnectError;
use super::timings::{Progress, share};
use super::wire::Io;
use crate::dsn::{Address, DEFAULT_PORT, Host, Tcp, is_loopback};
use crate::metrics::{Phase, Reason};

/// The address of a connection's server, which its cancel requests need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Over TCP.
    Tcp(SocketAddr),
    /// Over a socket of this machine.
    Unix(PathBuf),
}

impl Peer {
    /// Reports whether the server is on this machine, so that nothing crosses a network.
    pub(super) fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => is_loopback(address.ip()),
            Self::Unix(_) => true,
        }
    }

    /// Opens another stream to the same address.
    pub(super) async fn stream(&self) -> std::io::Result<Box<dyn Io>> {
        Ok(match self {
            Self::Tcp(address) => Box::new(TcpStream::connect(address).await?),
            Self::Unix(path) => Box::new(UnixStream::connect(path).await?),
        })
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

/// Opens a stream to the first of the host's addresses that accepts one.
pub(super) async fn reach(
    host: &Host,
    tcp: &Tcp,
    resolver: &dyn Resolve,
    progress: &Progress,
    deadline: Instant,
) -> Result<(Box<dyn Io>, Peer), ConnectError> {
    let port = host.port.unwrap_or(DEFAULT_PORT);
    if let (Address::Unix(folder), None) = (&host.address, host.hostaddr) {
        let path = socket(folder, port);
        let stream = progress.time(Phase::Tcp, UnixStream::connect(&path)).await;
        let stream = stream.map_err(|e| ConnectError::network(Phase::Tcp, &e))?;
        return Ok((Box::new(stream), Peer::Unix(path)));
    }
    let addresses = look_up(host, port, resolver, progress).await?;
    let mut failures = Vec::new();
    for (n, address) in addresses.iter().enumerate() {
        let started = Instant::now();
        let limit = share(deadline, addresses.len() - n);
        let connect = timeout_at(limit, TcpStream::connect(address));
        let failure = match progress.time(Phase::Tcp, connect).await {
            Ok(Ok(stream)) => {
                tune(&stream, tcp).map_err(|e| ConnectError::network(Phase::Tcp, &e))?;
                return Ok((Box::new(stream), Peer::Tcp(*address)));
            }
            Ok(Err(error)) => ConnectError::network(Phase::Tcp, &error),
            Err(_) => ConnectError::timeout(Phase::Tcp, limit - started),
        };
        // One address alone is the host itself, which the caller adds to the error.
        failures.push(if addresses.len() > 1 { failure.at_address(*address) } else { failure });
    }
    Err(ConnectError::most_telling(failures).unwrap_or_else(|| {
        ConnectError::new(Phase::Dns, Reason::Unreachable, "the host has no address")
    }))
}

/// Sets the options that find a dead peer, while nothing is sent (keepalives) and while something
/// is (the user time-out).
fn tune(stream: &TcpStream, tcp: &Tcp) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = socket2::SockRef::from(stream);
    if tcp.keepalives {
        let alive = socket2::TcpKeepalive::new()
            .with_time(tcp.idle.unwrap_or(Duration::from_secs(30)))
            .with_interval(tcp.interval.unwrap_or(Duration::from_secs(10)))
            .with_retries(tcp.count.unwrap_or(3));
        socket.set_tcp_keepalive(&alive)?;
    }
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(tcp.user_timeout.unwrap_or(Duration::from_secs(30))))?;
    Ok(())
}

/// The socket's path in its folder. A folder that begins with `@` is in Linux' abstract namespace,
/// where the first byte is NUL.
fn socket(folder: &Path, port: u16) -> PathBuf {
    let path = folder.join(format!(".s.PGSQL.{port}"));
    match path.to_str().and_then(|text| text.strip_prefix('@')) {
        Some(name) => PathBuf::from(format!("\0{name}")),
        None => path,
    }
}

async fn look_up(
    host: &Host,
    port: u16,
    resolver: &dyn Resolve,
    progress: &Progress,
) -> Result<Vec<SocketAddr>, ConnectError> {
    if let Some(address) = host.hostaddr {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let name = match &host.address {
        Address::Name(name) => name.as_str(),
        Address::Unix(_) | Address::Unset => "localhost",
    };
    if let Ok(address) = name.parse() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    // Whatever the resolver's error is called, the host cannot be reached by this name.
    let found = progress.time(Phase::Dns, resolver.look_up(name, port)).await;
    found.map_err(|error| ConnectError::new(Phase::Dns, Reason::Unreachable, error))
}
