//! The listening sockets.
//!
//! The file of a Unix socket belongs to us from bind to drop: a stale one is replaced, one on which
//! another program still answers is not, and at the end only the file that we made is removed.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use listenfd::ListenFd;
use socket2::{Domain, Protocol, Type};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::access::Peer;
use super::settings::{Listen, ServerSettings};

/// An accepted connection.
pub(super) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    /// Waits for the first byte, or for the end. Cancel safe.
    pub(super) async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.readable().await,
            Self::Unix(socket) => socket.readable().await,
        }
    }
}

/// A bound socket.
pub struct Listener {
    socket: Bound,
    address: Address,
    /// Removes the file of a Unix socket at the end.
    _file: Option<OwnFile>,
}

enum Bound {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// The address that a listener has after binding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// With the port that the system chose, if the settings name port 0.
    Tcp(SocketAddr),
    /// The socket's file; `None` for an abstract or unnamed one.
    Unix(Option<PathBuf>),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(Some(path)) => write!(f, "unix:{}", path.display()),
            Self::Unix(None) => f.write_str("unix socket"),
        }
    }
}

/// The reasons for which listening fails.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another program has the port or the socket.
    #[error("{0} is in use by another program")]
    InUse(String),
    /// The host name has no address.
    #[error("{0}: no address found for the host")]
    NoAddress(String),
    /// The path of the Unix socket is taken by something else.
    #[error("{0} exists and is not a socket")]
    NotASocket(String),
    /// Any other error of the operating system.
    #[error("cannot listen on {0}")]
    Io(String, #[source] io::Error),
    /// `--web.systemd-socket` without a socket from systemd.
    #[error("systemd passed no socket (LISTEN_FDS, LISTEN_PID)")]
    NoneInherited,
    /// Neither an address nor a socket from systemd.
    #[error("no address to listen on")]
    Nothing,
}

impl Listener {
    /// The address, with the real port.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Waits for a client. Cancel safe.
    pub(super) async fn accept(&self) -> io::Result<(Socket, Peer)> {
        match &self.socket {
            Bound::Tcp(socket) => {
                let (stream, from) = socket.accept().await?;
                // Answers are written whole, so that Nagle's algorithm would only delay the last packet.
                let _ = stream.set_nodelay(true);
                Ok((Socket::Tcp(stream), Peer::Tcp(from.ip().to_canonical())))
            }
            Bound::Unix(socket) => {
                let (stream, _) = socket.accept().await?;
                Ok((Socket::Unix(stream), Peer::Unix))
            }
        }
    }
}

/// Binds all addresses of the settings. Must be called inside the runtime.
///
/// `inherited` are the sockets of systemd's socket activation, read from the environment by the
/// caller; they are used only with `--web.systemd-socket`.
///
/// # Errors
/// The first address that cannot be bound; those before it are free again.
pub fn bind(settings: &ServerSettings, inherited: ListenFd) -> Result<Vec<Listener>, BindError> {
    if settings.systemd_socket {
        return take_over(inherited);
    }
    if settings.listen.is_empty() {
        return Err(BindError::Nothing);
    }
    let mut listeners = Vec::new();
    for listen in &settings.listen {
        match listen {
            Listen::Tcp { host, port } => {
                listeners.push(bind_tcp(listen, host.as_deref(), *port)?);
            }
            Listen::Unix(path) => listeners.push(bind_unix(listen, path)?),
        }
    }
    Ok(listeners)
}

fn bind_tcp(listen: &Listen, host: Option<&str>, port: u16) -> Result<Listener, BindError> {
    let fail = |e| bind_error(listen.to_string(), e);
    let socket = match host {
        None => match open_dual_stack(port) {
            // The machine has no IPv6.
            Err(e) if !in_use(&e) => open(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))),
            other => other,
        },
        Some(host) => {
            let address =
                resolve(host, port).ok_or_else(|| BindError::NoAddress(listen.to_string()))?;
            open(address)
        }
    }
    .map_err(fail)?;
    tcp_listener(socket).map_err(fail)
}

/// One address of a host, IPv4 first, as Go's `net.Listen` chooses it.
fn resolve(host: &str, port: u16) -> Option<SocketAddr> {
    let found: Vec<_> = (host, port).to_socket_addrs().ok()?.collect();
    found.iter().find(|address| address.is_ipv4()).or(found.first()).copied()
}

fn open(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    listen_on(
        socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?,
        address,
    )
}

/// Opens a socket for IPv6 and IPv4 on all interfaces.
fn open_dual_stack(port: u16) -> io::Result<std::net::TcpListener> {
    let address = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    let socket =
        socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_only_v6(false)?;
    listen_on(socket, address)
}

fn listen_on(socket: socket2::Socket, address: SocketAddr) -> io::Result<std::net::TcpListener> {
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Connections that the system completes before we accept them.
const BACKLOG: i32 = 1024;

fn tcp_listener(socket: std::net::TcpListener) -> io::Result<Listener> {
    socket.set_nonblocking(true)?;
    let address = Address::Tcp(socket.local_addr()?);
    Ok(Listener { socket: Bound::Tcp(TcpListener::from_std(socket)?), address, _file: None })
}

fn unix_listener(
    socket: std::os::unix::net::UnixListener,
    file: Option<OwnFile>,
) -> io::Result<Listener> {
    socket.set_nonblocking(true)?;
    let path = socket.local_addr()?.as_pathname().map(Path::to_owned);
    let socket = Bound::Unix(UnixListener::from_std(socket)?);
    Ok(Listener { socket, address: Address::Unix(path), _file: file })
}

fn bind_unix(listen: &Listen, path: &Path) -> Result<Listener, BindError> {
    let fail = |e| bind_error(listen.to_string(), e);
    remove_stale(listen, path)?;
    let socket = std::os::unix::net::UnixListener::bind(path).map_err(fail)?;
    let file = OwnFile::new(path).map_err(fail)?;
    // Owner and group. `bind` created the file with the umask, which is usually stricter.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660)).map_err(fail)?;
    unix_listener(socket, Some(file)).map_err(fail)
}

fn remove_stale(listen: &Listen, path: &Path) -> Result<(), BindError> {
    let Ok(found) = std::fs::symlink_metadata(path) else { return Ok(()) };
    if !found.file_type().is_socket() {
        return Err(BindError::NotASocket(listen.to_string()));
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(|e| bind_error(listen.to_string(), e))
        }
        Ok(_) | Err(_) => Err(BindError::InUse(listen.to_string())),
    }
}

fn take_over(mut inherited: ListenFd) -> Result<Vec<Listener>, BindError> {
    let mut listeners = Vec::new();
    for index in 0..inherited.len() {
        let fail = |e| BindError::Io(format!("socket {index} of systemd"), e);
        if let Ok(Some(socket)) = inherited.take_tcp_listener(index) {
            listeners.push(tcp_listener(socket).map_err(fail)?);
        } else if let Some(socket) = inherited.take_unix_listener(index).map_err(fail)? {
            // The file belongs to systemd, which removes it.
            listeners.push(unix_listener(socket, None).map_err(fail)?);
        }
    }
    if listeners.is_empty() { Err(BindError::NoneInherited) } else { Ok(listeners) }
}

fn in_use(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrInUse
}

fn bind_error(what: String, error: io::Error) -> BindError {
    if in_use(&error) { BindError::InUse(what) } else { BindError::Io(what, error) }
}

/// The file of a Unix socket that we bound; removed when dropped.
struct OwnFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl OwnFile {
    fn new(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), identity: identity(path)? })
    }
}

impl Drop for OwnFile {
    fn drop(&mut self) {
        // Another instance may already have put its own file there.
        if identity(&self.path).is_ok_and(|now| now == self.identity) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let found = std::fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}
