//! A service manager knows how the core stands: sd_notify(3), spoken to a socket of the test's own.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::device::Device;
use crate::support::program;

/// How long a message may take: loading the model of a dev build on a busy machine is the longest part.
const PATIENCE: Duration = Duration::from_secs(120);

/// The next message that `wanted` is for; those between are signs of life.
fn hear(socket: &UnixDatagram, wanted: impl Fn(&str) -> bool) -> String {
    let mut buffer = [0; 4096];
    loop {
        let length = socket.recv(&mut buffer).expect("the core tells how it stands");
        let message = String::from_utf8(buffer[..length].to_vec()).unwrap();
        if wanted(&message) {
            return message;
        }
        assert!(message.starts_with("WATCHDOG=1\nSTATUS="), "{message}");
    }
}

#[test]
fn a_service_manager_hears_ready_signs_of_life_reload_and_stop() {
    let device = Device::new();
    let path = device.folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let variables = [("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "400000")];
    let mut core = device.start_with(&variables);

    hear(&socket, |message| message == "READY=1");
    let alive = hear(&socket, |message| message.contains("link up") && !message.contains(" 0 classified"));
    let line = alive.strip_prefix("WATCHDOG=1\nSTATUS=").unwrap();
    assert!(line.starts_with("camera road: ") && line.contains(" frames, "), "{line}");

    program::signal(core.pid(), Signal::HUP);
    hear(&socket, |message| message == "RELOADING=1");
    hear(&socket, |message| message == "READY=1");

    program::signal(core.pid(), Signal::TERM);
    hear(&socket, |message| message.starts_with("STOPPING=1"));
    assert_eq!(core.terminate(), Some(0));
}
