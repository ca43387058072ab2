//! What the service manager is told by the protocol of sd_notify(3): a datagram of `KEY=value` lines to the socket that
//! `NOTIFY_SOCKET` names. A core that was started by hand has none, and tells nobody.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// How often the state is told, at least.
const USUAL_INTERVAL: Duration = Duration::from_secs(10);

/// The service manager that started this process, if one did.
#[derive(Debug)]
pub(super) struct ServiceManager {
    socket: Option<UnixDatagram>,
    watchdog: Option<Duration>,
}

impl ServiceManager {
    /// The one that the environment names (`NOTIFY_SOCKET`, `WATCHDOG_USEC`, `WATCHDOG_PID`).
    pub(super) fn of_environment() -> Self {
        let address = env::var_os("NOTIFY_SOCKET");
        let own = env::var("WATCHDOG_PID").map_or(true, |pid| pid == std::process::id().to_string());
        let watchdog = env::var("WATCHDOG_USEC").ok().filter(|_| own);
        Self::at(address.as_deref(), watchdog.as_deref())
    }

    /// The one at `address`, whose watchdog waits for `watchdog_us` microseconds.
    pub(super) fn at(address: Option<&OsStr>, watchdog_us: Option<&str>) -> Self {
        let socket = address.and_then(|address| {
            let connected = connect(address);
            if let Err(error) = &connected {
                tracing::warn!(%error, socket = %address.display(), "the service manager is told nothing: its socket");
            }
            connected.ok()
        });
        let watchdog = watchdog_us.and_then(|us| us.parse().ok()).filter(|us| *us > 0).map(Duration::from_micros);
        Self { socket, watchdog }
    }

    /// Whether anybody listens.
    pub(super) fn is_there(&self) -> bool {
        self.socket.is_some()
    }

    /// How often [`ServiceManager::alive`] is due: twice within the watchdog's time, as sd_watchdog_enabled(3) asks for.
    pub(super) fn interval(&self) -> Duration {
        self.watchdog.map_or(USUAL_INTERVAL, |watchdog| USUAL_INTERVAL.min(watchdog / 2))
    }

    /// The services are up, or a reload is over.
    pub(super) fn ready(&self) {
        self.tell("READY=1");
    }

    /// The documents are read anew.
    pub(super) fn reloading(&self) {
        self.tell("RELOADING=1");
    }

    /// The end has begun.
    pub(super) fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=stopping: delivering what is spooled");
    }

    /// A sign of life, with the line that `systemctl status` shows.
    pub(super) fn alive(&self, status: &str) {
        // A line feed would end the value, and what follows would be read as another key.
        self.tell(&format!("WATCHDOG=1\nSTATUS={}", status.replace('\n', " ")));
    }

    fn tell(&self, state: &str) {
        // A manager that is restarting, or whose queue is full, misses this one; the next sign of life is not far.
        let _ = self.socket.as_ref().map(|socket| socket.send(state.as_bytes()));
    }
}

/// A path, or with `@` a name in the abstract namespace.
fn connect(address: &OsStr) -> io::Result<UnixDatagram> {
    let address = match address.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        [b'/', ..] => SocketAddr::from_pathname(address)?,
        _ => return Err(io::Error::new(io::ErrorKind::Unsupported, "NOTIFY_SOCKET is neither a path nor @name")),
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 4096];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    #[test]
    fn a_socket_in_the_abstract_namespace_is_told() {
        let name = format!("margay-test-{}", std::process::id());
        let manager = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let told = ServiceManager::at(Some(OsStr::new(&format!("@{name}"))), None);
        told.ready();
        assert_eq!(heard(&manager), "READY=1");
    }

    #[test]
    fn a_status_of_two_lines_cannot_pass_for_another_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        ServiceManager::at(Some(path.as_os_str()), None).alive("link down\nMAINPID=1");
        assert_eq!(heard(&manager), "WATCHDOG=1\nSTATUS=link down MAINPID=1");
    }

    #[test]
    fn signs_of_life_come_twice_within_the_watchdogs_time() {
        let interval = |us| ServiceManager::at(None, us).interval();
        assert_eq!(interval(Some("6000000")), Duration::from_secs(3));
        assert_eq!(interval(Some("120000000")), USUAL_INTERVAL);
        assert_eq!(interval(Some("0")), USUAL_INTERVAL);
        assert_eq!(interval(None), USUAL_INTERVAL);
    }

    #[test]
    fn an_address_of_another_kind_is_nobody() {
        assert!(!ServiceManager::at(Some(OsStr::new("vsock:2:1234")), None).is_there());
        assert!(!ServiceManager::at(None, None).is_there());
    }
}
