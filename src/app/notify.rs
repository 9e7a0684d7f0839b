//! Reports to systemd: sd_notify(3) as datagrams, and the interval of its watchdog.
//!
//! `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID` come in as arguments: only `cli` reads the
//! environment. Nothing here may delay or end the daemon: a message that cannot be sent is logged, and
//! a busy receiver is not waited for.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// Reports the daemon's state to the service manager; does nothing where there is none.
#[derive(Debug, Default)]
pub(crate) struct Notifier {
    manager: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl Notifier {
    /// A notifier for the socket that `NOTIFY_SOCKET` names: a path, or `@` and an abstract name.
    ///
    /// # Errors
    ///
    /// When it is neither of them, or no socket can be made.
    pub(crate) fn new(socket: Option<&OsStr>) -> io::Result<Self> {
        let Some(name) = socket.filter(|name| !name.is_empty()) else {
            return Ok(Self::default());
        };
        let own = UnixDatagram::unbound()?;
        own.set_nonblocking(true)?;
        Ok(Self { manager: Some((own, address(name)?)), watchdog: None })
    }

    /// Takes the watchdog's limit from `WATCHDOG_USEC`, unless `WATCHDOG_PID` names another process.
    #[must_use]
    pub(crate) fn with_watchdog(mut self, usec: Option<&str>, pid: Option<&str>) -> Self {
        let ours = pid.is_none_or(|pid| pid.parse() == Ok(std::process::id()));
        let limit = usec.and_then(|usec| usec.parse().ok()).filter(|usec| *usec > 0);
        self.watchdog = limit.filter(|_| ours && self.manager.is_some()).map(Duration::from_micros);
        self
    }

    /// The interval at which to call [`Self::watchdog`]: half its limit, as sd_watchdog_enabled(3) advises.
    #[must_use]
    pub(crate) fn watchdog_interval(&self) -> Option<Duration> {
        self.watchdog.map(|limit| limit / 2)
    }

    /// The daemon answers requests from now on, also after a reload.
    pub(crate) fn ready(&self) {
        self.send("READY=1");
    }

    /// The daemon reads its configuration again; [`Self::ready`] ends this.
    pub(crate) fn reloading(&self) {
        self.send("RELOADING=1");
    }

    /// The daemon has begun to shut down.
    pub(crate) fn stopping(&self) {
        self.send("STOPPING=1");
    }

    /// One line that `systemctl status` shows. Only the first line is sent: a line break
    /// would begin another assignment.
    pub(crate) fn status(&self, text: &str) {
        self.send(&format!("STATUS={}", text.lines().next().unwrap_or_default()));
    }

    /// The daemon is alive. Call this from a task of the runtime, so that it stops when the runtime hangs.
    pub(crate) fn watchdog(&self) {
        self.send("WATCHDOG=1");
    }

    fn send(&self, message: &str) {
        let Some((socket, manager)) = &self.manager else { return };
        if let Err(error) = socket.send_to_addr(message.as_bytes(), manager) {
            tracing::warn!(%error, message, "the service manager got no message");
        }
    }
}

fn address(name: &OsStr) -> io::Result<SocketAddr> {
    match name.as_bytes() {
        [b'@', abstract_name @ ..] => SocketAddr::from_abstract_name(abstract_name),
        [b'/', ..] => SocketAddr::from_pathname(name),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "NOTIFY_SOCKET is neither an absolute path nor an abstract name",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(manager: &UnixDatagram) -> String {
        let mut buffer = [0; 256];
        manager.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let length = manager.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    #[test]
    fn each_message_arrives_as_one_datagram() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let notifier = Notifier::new(Some(path.as_os_str())).unwrap();
        notifier.ready();
        notifier.reloading();
        notifier.status("2 targets: 1 healthy, 1 unhealthy\nREADY=1");
        notifier.watchdog();
        notifier.stopping();
        let messages: Vec<String> = (0..5).map(|_| received(&manager)).collect();
        let wanted = [
            "READY=1",
            "RELOADING=1",
            "STATUS=2 targets: 1 healthy, 1 unhealthy",
            "WATCHDOG=1",
            "STOPPING=1",
        ];
        assert_eq!(messages, wanted);
    }

    #[test]
    fn an_abstract_socket_is_reached() {
        let name = format!("db_pool_exporter-notify-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        Notifier::new(Some(OsStr::new(&format!("@{name}")))).unwrap().ready();
        assert_eq!(received(&manager), "READY=1");
    }

    #[test]
    fn without_a_manager_nothing_happens() {
        for none in [None, Some(OsStr::new(""))] {
            let notifier = Notifier::new(none).unwrap().with_watchdog(Some("1000000"), None);
            notifier.ready();
            assert_eq!(notifier.watchdog_interval(), None);
        }
    }

    #[test]
    fn a_manager_that_is_gone_or_busy_does_not_hold_us_up() {
        let folder = tempfile::tempdir().unwrap();
        let gone = Notifier::new(Some(folder.path().join("gone").as_os_str())).unwrap();
        gone.ready();
        let path = folder.path().join("busy");
        let _manager = UnixDatagram::bind(&path).unwrap();
        let busy = Notifier::new(Some(path.as_os_str())).unwrap();
        for _ in 0..10_000 {
            busy.watchdog();
        }
    }

    #[test]
    fn other_families_of_sockets_are_refused() {
        for name in ["vsock:2:1234", "relative/path"] {
            let refused = Notifier::new(Some(OsStr::new(name)));
            assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::InvalidInput, "{name}");
        }
    }

    #[test]
    fn the_watchdog_hears_of_us_twice_within_its_limit() {
        let own = std::process::id().to_string();
        let cases = [
            (Some("30000000"), None, Some(15)),
            (Some("30000000"), Some(own.as_str()), Some(15)),
            (Some("30000000"), Some("1"), None),
            (Some("0"), None, None),
            (Some("soon"), None, None),
            (None, None, None),
        ];
        for (usec, pid, wanted) in cases {
            let notifier = Notifier::new(Some(OsStr::new("@nobody"))).unwrap();
            let interval = notifier.with_watchdog(usec, pid).watchdog_interval();
            assert_eq!(interval, wanted.map(Duration::from_secs), "{usec:?} {pid:?}");
        }
    }
}
