//! `healthcheck`: requests `/-/healthy` of a running daemon, for a container's HEALTHCHECK.
//!
//! A container must not be restarted because its database is down, so this is not `/-/ready`.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::Duration;

use crate::web::{Listen, ServerSettings};

/// The time limit of each step: connect, write, read.
const LIMIT: Duration = Duration::from_secs(3);

pub(super) fn run(web: &ServerSettings) -> ExitCode {
    let Some(listen) = web.listen.first() else { return ExitCode::FAILURE };
    match request(listen, &web.prefix()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => fail("the daemon answered, but not with 200"),
        Err(error) => fail(&format!("no answer from the daemon: {}", error.kind())),
    }
}

fn fail(message: &str) -> ExitCode {
    eprintln!("{message}");
    ExitCode::FAILURE
}

fn request(listen: &Listen, prefix: &str) -> io::Result<bool> {
    match listen {
        Listen::Unix(path) => {
            let stream = UnixStream::connect(path)?;
            stream.set_read_timeout(Some(LIMIT))?;
            stream.set_write_timeout(Some(LIMIT))?;
            exchange(stream, prefix)
        }
        Listen::Tcp { host, port } => {
            let stream = TcpStream::connect_timeout(&address(host.as_deref(), *port)?, LIMIT)?;
            stream.set_read_timeout(Some(LIMIT))?;
            stream.set_write_timeout(Some(LIMIT))?;
            exchange(stream, prefix)
        }
    }
}

/// Returns the address at which this machine reaches a daemon that listens there.
fn address(host: Option<&str>, port: u16) -> io::Result<SocketAddr> {
    let Some(host) = host else { return Ok((Ipv4Addr::LOCALHOST, port).into()) };
    let found = (host, port).to_socket_addrs()?.next().ok_or(io::ErrorKind::NotFound)?;
    let near = match found.ip() {
        IpAddr::V4(any) if any.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(any) if any.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        other @ (IpAddr::V4(_) | IpAddr::V6(_)) => other,
    };
    Ok((near, port).into())
}

/// Sends one request and reports whether a daemon answered it.
///
/// No certificate and no password are needed. A daemon with TLS answers a plain request with a TLS alert,
/// and one with passwords answers 401: both are alive.
fn exchange(mut stream: impl Read + Write, prefix: &str) -> io::Result<bool> {
    const ALERT: [u8; 2] = [0x15, 0x03];
    let request =
        format!("GET {prefix}/-/healthy HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut start = [0; "HTTP/".len()];
    stream.read_exact(&mut start)?;
    if start.starts_with(&ALERT) {
        return Ok(true);
    }
    let mut rest = [0; "1.1 200".len()];
    stream.read_exact(&mut rest)?;
    let status = rest.get(4..).unwrap_or_default();
    Ok(&start == b"HTTP/" && (status == b"200" || status == b"401"))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    fn answered(answer: &'static [u8]) -> io::Result<bool> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let listen = listener.local_addr().unwrap().to_string().parse().unwrap();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 200];
            let read = stream.read(&mut request).unwrap();
            stream.write_all(answer).unwrap();
            String::from_utf8_lossy(&request[..read]).into_owned()
        });
        let result = request(&listen, "/pools");
        assert!(server.join().unwrap().starts_with("GET /pools/-/healthy HTTP/1.1\r\n"));
        result
    }

    #[test]
    fn asks_and_understands() {
        assert!(answered(b"HTTP/1.1 200 OK\r\n\r\n").unwrap());
        assert!(!answered(b"HTTP/1.1 503 Service Unavailable\r\n\r\n").unwrap());
        assert!(answered(b"HTTP/1.1 401 Unauthorized\r\n\r\n").unwrap());
        assert!(answered(b"\x15\x03\x03\x00\x02\x02\x32").unwrap());
        assert!(!answered(b"SSH-2.0-OpenSSH 200").unwrap());
        assert!(answered(b"HTTP").is_err());
    }

    #[test]
    fn nobody_there() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let listen = listener.local_addr().unwrap().to_string().parse().unwrap();
        drop(listener);
        assert!(request(&listen, "").is_err());
        assert_eq!(address(Some("0.0.0.0"), 1).unwrap().to_string(), "127.0.0.1:1");
        assert_eq!(address(Some("::"), 1).unwrap().to_string(), "[::1]:1");
        assert_eq!(address(None, 1).unwrap().to_string(), "127.0.0.1:1");
        assert!(request(&Listen::Unix("/nowhere/x.sock".into()), "").is_err());
    }
}
