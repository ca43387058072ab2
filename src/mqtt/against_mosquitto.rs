//! The link and the viewer against mosquitto, a broker that somebody else wrote.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;
use tokio::sync::watch;

use super::connection::{BrokerAddress, ConnectionSettings, ProtocolVersion};
use super::inflow::Inflow;
use super::link::{Link, LinkSettings};
use super::testing_broker::scaled;
use super::testing_certificates::Authority;
use super::viewer::Viewer;
use crate::topic::Topic;

const PATIENCE: Duration = Duration::from_secs(120);

/// The program, which Debian installs where an ordinary user's PATH does not reach.
fn program() -> Option<&'static str> {
    let runs =
        |program: &&str| Command::new(program).arg("-h").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    ["mosquitto", "/usr/sbin/mosquitto"].into_iter().find(runs)
}

/// A mosquitto of our own, on loopback unless it is told otherwise. A kill loses its sessions, an orderly end keeps them.
pub(super) struct Mosquitto {
    program: &'static str,
    pub(super) directory: TempDir,
    /// What it is started with: the way into its network namespace.
    within: Vec<String>,
    address: String,
    pub(super) port: u16,
    pub(super) authority: Authority,
    process: Option<Child>,
}

impl Mosquitto {
    /// `None`, with a line that says so, where mosquitto is not installed.
    pub(super) fn start() -> Option<Self> {
        Self::start_within(&[], "127.0.0.1")
    }

    /// The same on another address, started by the command `within`.
    pub(super) fn start_within(within: &[&str], address: &str) -> Option<Self> {
        let Some(program) = program() else {
            let required = std::env::var("MARGAY_TEST_REQUIRE").is_ok_and(|required| required == "1");
            assert!(!required, "mosquitto is required and not installed");
            println!("skipped: mosquitto: apt-get install mosquitto");
            return None;
        };
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::new();
        let (certificate, key) = authority.issue_pem(address);
        let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
        write("ca.pem", &authority.pem());
        write("server.pem", &certificate);
        write("server.key", &key);
        let path = directory.path().display();
        let own_user = if rustix::process::geteuid().is_root() { "user root\n" } else { "" };
        let configuration = format!(
            "{own_user}listener {port} {address}\ncafile {path}/ca.pem\ncertfile {path}/server.pem\n\
             keyfile {path}/server.key\nrequire_certificate true\nuse_identity_as_username true\npersistence true\n\
             persistence_location {path}/\nautosave_interval 0\nmax_queued_messages 0\n"
        );
        write("mosquitto.conf", &configuration);
        let within = within.iter().map(|word| (*word).to_owned()).collect();
        let address = address.to_owned();
        let mut mosquitto = Self { program, directory, within, address, port, authority, process: None };
        mosquitto.resume();
        Some(mosquitto)
    }

    pub(super) fn resume(&mut self) {
        let words: Vec<&str> = self.within.iter().map(String::as_str).chain([self.program]).collect();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).arg("-c").arg(self.directory.path().join("mosquitto.conf"));
        self.process = Some(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    }

    pub(super) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Ends it in good order: it writes its sessions and what is queued in them.
    pub(super) fn end(&mut self) {
        if let Some(mut process) = self.process.take() {
            let pid = rustix::process::Pid::from_child(&process);
            rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
            process.wait().unwrap();
        }
    }

    pub(super) fn connection(&self, client_id: &str) -> ConnectionSettings {
        let broker = BrokerAddress { host: self.address.parse().unwrap(), port: self.port };
        ConnectionSettings::new(broker, client_id, self.authority.client(&self.authority))
    }

    pub(super) fn link(&self) -> LinkSettings {
        let mut settings = LinkSettings::new(self.connection("device"));
        settings.retry_floor = Duration::from_millis(5);
        settings.retry_ceiling = Duration::from_millis(50);
        settings.settling_time = Duration::from_millis(10);
        settings
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        self.kill();
    }
}

fn topic() -> Topic {
    "margay/door/predictions".parse().unwrap()
}

#[tokio::test]
async fn nothing_is_lost_when_mosquitto_is_killed() {
    nothing_is_lost_in(ProtocolVersion::V311).await;
}

#[tokio::test]
async fn nothing_is_lost_in_mqtt_5_when_mosquitto_is_killed() {
    nothing_is_lost_in(ProtocolVersion::V5).await;
}

async fn nothing_is_lost_in(version: ProtocolVersion) {
    let Some(mut mosquitto) = Mosquitto::start() else { return };
    let (count, kills) = (scaled(2_000), 5);
    let delivered = watch::Sender::new(0u64);
    let mut watched = delivered.subscribe();
    let mut settings = mosquitto.link();
    settings.connection.version = version;
    settings.on_acknowledged = Some(Arc::new(move |_| delivered.send_modify(|delivered| *delivered += 1)));
    let link = Link::start(settings);
    for index in 0..count {
        link.accept(topic(), Bytes::from(index.to_string())).unwrap();
    }
    for kill in 1..=kills {
        let threshold = count * kill / (kills + 1);
        let reached = watched.wait_for(|delivered| *delivered >= threshold);
        tokio::time::timeout(PATIENCE, reached).await.expect("deliveries").unwrap();
        mosquitto.kill();
        assert!(link.counters().balance());
        mosquitto.resume();
    }
    let counters = link.drain(PATIENCE).await;
    println!("{count} messages, {kills} kills: {} sent again, {} connections", counters.resent, counters.connections);
    assert_eq!((counters.accepted, counters.delivered, counters.dropped.total()), (count, count, 0));
}

#[tokio::test]
async fn a_viewer_sees_what_the_link_publishes() {
    let Some(mosquitto) = Mosquitto::start() else { return };
    let link = Link::start(mosquitto.link());
    // Once the link is connected, mosquitto is up for the viewer as well.
    let connected = async { link.state().wait_for(super::link::LinkState::is_connected).await.map(|_| ()) };
    tokio::time::timeout(PATIENCE, connected).await.expect("a connection").unwrap();
    let filter = "margay/+/predictions".parse().unwrap();
    let mut viewer = Viewer::connect(mosquitto.connection("viewer"), filter).await.unwrap();
    link.accept(topic(), Bytes::from_static(b"{\"label\":\"cat\"}")).unwrap();
    let message = tokio::time::timeout(PATIENCE, viewer.next()).await.expect("a message").unwrap();
    assert_eq!(
        (message.topic.as_str(), &message.payload[..]),
        ("margay/door/predictions", &b"{\"label\":\"cat\"}"[..])
    );
}

#[tokio::test]
async fn a_broker_that_takes_three_messages_at_a_time_gets_no_more() {
    let Some(mut mosquitto) = Mosquitto::start() else { return };
    mosquitto.kill();
    let path = mosquitto.directory.path().join("mosquitto.conf");
    let narrow = std::fs::read_to_string(&path).unwrap() + "max_inflight_messages 3\n";
    std::fs::write(&path, narrow).unwrap();
    mosquitto.resume();
    let mut settings = mosquitto.link();
    settings.connection.version = ProtocolVersion::V5;
    let highest = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let seen = highest.clone();
    let slot: Arc<std::sync::OnceLock<Link>> = Arc::default();
    let held = Arc::downgrade(&slot);
    settings.on_acknowledged = Some(Arc::new(move |_| {
        if let Some(link) = held.upgrade().as_ref().and_then(|slot| slot.get()) {
            // One was acknowledged just now and counts no more.
            seen.fetch_max(link.counters().in_flight + 1, std::sync::atomic::Ordering::Relaxed);
        }
    }));
    let link = Link::start(settings);
    slot.set(link.clone()).unwrap();
    for index in 0..500u32 {
        link.accept(topic(), Bytes::from(index.to_string())).unwrap();
    }
    assert_eq!(link.drain(PATIENCE).await.delivered, 500);
    let highest = highest.load(std::sync::atomic::Ordering::Relaxed);
    assert!((1..=3).contains(&highest), "{highest} on their way");
}

/// Mosquitto says why, but without properties, and the library loses a DISCONNECT of one byte: the pattern tells.
#[tokio::test]
async fn two_devices_with_one_client_id_are_told_so_in_mqtt_5() {
    let Some(mosquitto) = Mosquitto::start() else { return };
    let mut settings = mosquitto.link();
    settings.connection.version = ProtocolVersion::V5;
    super::against_localcloud::both_are_told(settings, "client_id_in_use").await;
}

/// The guide's `AtLeastOncePersistent`, with a broker that keeps its sessions over an end in good order.
#[tokio::test]
async fn what_is_sent_while_the_core_is_away_comes_from_a_kept_session_and_only_from_one() {
    let Some(mut mosquitto) = Mosquitto::start() else { return };
    for at_least_once in [true, false] {
        let (sender, mut received) = tokio::sync::mpsc::unbounded_channel();
        let inflow = Inflow {
            filters: vec!["in/#".parse().unwrap()],
            at_least_once,
            intake: Arc::new(move |message| {
                let _ = sender.send(message.payload);
            }),
        };
        let mut settings = mosquitto.link();
        settings.connection.client_id = format!("core-{at_least_once}");
        settings.closed_at_first = true;
        let begin = || {
            let link = Link::start(settings.clone());
            link.exchange_inflow(inflow.clone());
            link.open();
            link
        };
        let link = begin();
        granted(&link).await;
        link.drain(PATIENCE).await;
        send(&mosquitto, "away").await;
        mosquitto.end();
        mosquitto.resume();
        let link = begin();
        granted(&link).await;
        send(&mosquitto, "back").await;
        let expected: &[&str] = if at_least_once { &["away", "back"] } else { &["back"] };
        for payload in expected {
            let message = tokio::time::timeout(PATIENCE, received.recv()).await.expect("a message").unwrap();
            assert_eq!(message, *payload);
        }
        link.drain(PATIENCE).await;
    }
}

/// Waits until the broker has granted a filter on the link's connection.
async fn granted(link: &Link) {
    let wait = async {
        while link.history().subscriptions_granted == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("a subscription");
}

/// Publishes `payload` on `in/x` as another client, and waits until mosquitto has it.
async fn send(mosquitto: &Mosquitto, payload: &'static str) {
    let mut settings = mosquitto.link();
    settings.connection.client_id = "sender".to_owned();
    let link = Link::start(settings);
    link.accept("in/x".parse().unwrap(), Bytes::from_static(payload.as_bytes())).unwrap();
    assert_eq!(link.drain(PATIENCE).await.delivered, 1);
}
