//! The spool on disk against kills: of the process that publishes, of the broker, of the network between them.
//!
//! The publishing process is this test program once more, started for the one test `publisher` with its orders in the
//! environment; it says over a pipe what was accepted, so that a kill cannot take the record with it.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::against_mosquitto::Mosquitto;
use super::connection::{BrokerAddress, ConnectionSettings};
use super::link::{DEFAULT_WINDOW, Link, LinkSettings, LinkState};
use super::spool::{AcceptError, Kept, Spool, SpoolSettings, StorageType};
use super::testing_broker::scaled;
use super::testing_certificates::Authority;
use super::viewer::Viewer;
use crate::clock::SystemClock;
use crate::topic::Topic;

const PATIENCE: Duration = Duration::from_secs(300);

/// Where the publishing process finds its orders.
const ORDERS: &str = "MARGAY_TEST_SPOOL_PUBLISHER";

/// Where the machine of tests/vm/spool_power.sh says where its disk is, and which tag is the first of this life.
const MACHINE: &str = "MARGAY_TEST_SPOOL_MACHINE";

/// Tags of one life of the publisher before those of the next.
const LIFE: u64 = 10_000_000;

const TOPICS: u64 = 3;

fn topic(tag: u64) -> Topic {
    format!("margay/door/{}", tag % TOPICS).parse().unwrap()
}

/// With room for all that a full run leaves waiting: each of 50 lives accepts several thousand messages more than it
/// has time to send, and what makes room for others would not arrive.
fn on_disk(folder: &Path) -> SpoolSettings {
    SpoolSettings::new(512 << 20, StorageType::FileSystem(folder.join("spool"))).unwrap()
}

/// Accepts messages from `first` on, as fast as they are taken, at most `count`.
async fn publish(link: &Link, first: u64, count: u64) {
    for tag in first..first + count {
        let payload = Bytes::from(format!("{tag} {}", "x".repeat(usize::try_from(tag % 400).unwrap())));
        while let Err(error) = link.accept_tagged(topic(tag), payload.clone(), tag) {
            assert!(matches!(error, AcceptError::DiskBusy { .. }), "{error}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        if tag % 50 == 0 {
            tokio::task::yield_now().await;
        }
    }
}

/// The publishing process; in any other run of the tests it does nothing.
#[tokio::test]
async fn publisher() {
    let Ok(orders) = std::env::var(ORDERS) else { return };
    let mut words = orders.split(' ');
    let mut word = || words.next().unwrap();
    let (folder, port, first, count) = (Path::new(word()), word(), word().parse().unwrap(), word().parse().unwrap());
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap_or_default();
    let tls = Authority::client_of_pem(&read("ca.pem"), &read("device.pem"), &read("device.key"));
    let broker = BrokerAddress { host: "127.0.0.1".parse().unwrap(), port: port.parse().unwrap() };
    let mut settings = LinkSettings::new(ConnectionSettings::new(broker, "device", tls));
    settings.spool = on_disk(folder);
    settings.retry_floor = Duration::from_millis(5);
    settings.retry_ceiling = Duration::from_millis(50);
    settings.on_accepted = Some(Arc::new(|accepted| {
        if accepted.kept != Kept::InMemory {
            // One write a line: a kill cuts none in two.
            let _ = std::io::stdout().write_all(format!("accepted {}\n", accepted.tag).as_bytes());
        }
    }));
    let link = Link::start(settings);
    assert!(link.spool_state().folder.is_some(), "{:?}", link.spool_state());
    publish(&link, first, count).await;
    let counters = link.drain(PATIENCE).await;
    assert!(counters.balance(), "{counters:?}");
    // Those of earlier lives, too: the ledger outlasts them.
    assert_eq!(counters.dropped.total(), 0, "{counters:?}");
    let _ = writeln!(std::io::stdout(), "drained {}", counters.queued + counters.in_flight);
}

/// What the machine of tests/vm/spool_power.sh runs until its power is cut: says what its spool holds, in ranges of
/// tags, then accepts messages without a broker and says so. In any other run of the tests it does nothing.
#[tokio::test]
async fn machine() {
    let Ok(orders) = std::env::var(MACHINE) else { return };
    let (folder, first) = orders.split_once(' ').unwrap();
    let storage = StorageType::FileSystem(folder.into());
    let settings = SpoolSettings::new(256 << 20, storage).unwrap();
    let say = |line: &str| std::io::stdout().write_all(format!("\n{line}\n").as_bytes()).unwrap();
    let (spool, journal) = Spool::open(&settings, Arc::new(SystemClock::new()), Instant::now()).unwrap();
    let state = spool.state();
    say(&format!("damaged {} {:?} {:?}", state.damaged, state.notes, spool.counters()));
    drop(journal);
    spool.queued_tags().chunk_by(|one, next| *next == one + 1).for_each(|range| {
        say(&format!("found {} {}", range[0], range[range.len() - 1]));
    });
    drop(spool);
    let authority = Authority::new();
    let nowhere = BrokerAddress { host: "127.0.0.1".parse().unwrap(), port: 1 };
    let mut link = LinkSettings::new(ConnectionSettings::new(nowhere, "device", authority.client(&authority)));
    link.spool = settings;
    link.on_accepted = Some(Arc::new(move |accepted| {
        assert_eq!(accepted.kept, Kept::OnDisk);
        say(&format!("accepted {}", accepted.tag));
    }));
    let link = Link::start(link);
    say("publishing");
    for tag in first.parse::<u64>().unwrap().. {
        publish(&link, tag, 1).await;
        tokio::time::sleep(Duration::from_micros(fastrand::u64(..10_000))).await;
    }
}

/// The publishing process in this life.
struct Publisher {
    process: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Publisher {
    fn start(folder: &Path, port: u16, first: u64, count: u64) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "mqtt::against_kills::publisher", "--nocapture", "--test-threads=1"])
            .env(ORDERS, format!("{} {port} {first} {count}", folder.display()))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, lines }
    }

    /// Reads what it accepts into `accepted`, at most `most` messages. Whether it has drained its spool.
    fn read(&mut self, accepted: &mut Vec<u64>, most: usize) -> bool {
        let until = accepted.len().saturating_add(most);
        while accepted.len() < until {
            let Some(Ok(line)) = self.lines.next() else { return false };
            // The test harness writes its own words before the first line.
            if let Some((_, tag)) = line.rsplit_once("accepted ") {
                accepted.push(tag.parse().unwrap());
            } else if line.ends_with("drained 0") {
                return true;
            }
        }
        false
    }

    fn kill(mut self, accepted: &mut Vec<u64>) {
        self.process.kill().unwrap();
        // What it said before it died counts.
        self.read(accepted, usize::MAX);
        self.process.wait().unwrap();
    }
}

fn credentials(mosquitto: &Mosquitto) {
    let (certificate, key) = mosquitto.authority.issue_pem("device");
    std::fs::write(mosquitto.directory.path().join("device.pem"), certificate).unwrap();
    std::fs::write(mosquitto.directory.path().join("device.key"), key).unwrap();
}

/// What arrived: for each topic the tags in the order of arrival, repetitions included.
#[derive(Debug, Default)]
struct Arrived {
    by_topic: HashMap<String, Vec<u64>>,
}

impl Arrived {
    /// How often each message came, after asserting that first arrivals are in order on each topic.
    fn times(&self) -> BTreeMap<u64, u32> {
        let mut times = BTreeMap::new();
        for (topic, tags) in &self.by_topic {
            let mut newest = None;
            for tag in tags {
                let seen = times.entry(*tag).or_insert(0);
                *seen += 1;
                assert!(*seen > 1 || Some(*tag) > newest, "{tag} came for the first time after {newest:?} on {topic}");
                newest = newest.max(Some(*tag));
            }
        }
        times
    }
}

async fn watch(mut viewer: Viewer, arrived: Arc<Mutex<Arrived>>) {
    while let Ok(message) = viewer.next().await {
        let text = String::from_utf8_lossy(&message.payload).into_owned();
        let tag = text.split(' ').next().unwrap().parse().unwrap();
        arrived.lock().unwrap().by_topic.entry(message.topic).or_default().push(tag);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_process_accepted_before_it_was_killed_arrives_in_order() {
    let Some(mosquitto) = Mosquitto::start() else { return };
    credentials(&mosquitto);
    let (folder, port) = (mosquitto.directory.path().to_owned(), mosquitto.port);
    let connected = Link::start(mosquitto.link());
    tokio::time::timeout(PATIENCE, connected.state().wait_for(LinkState::is_connected)).await.unwrap().unwrap();
    let arrived = Arc::new(Mutex::new(Arrived::default()));
    drop(connected);
    let viewer = Viewer::connect(mosquitto.connection("viewer"), "margay/door/+".parse().unwrap()).await.unwrap();
    let watching = tokio::spawn(watch(viewer, arrived.clone()));

    let (kills, count) = (5 * scaled(1).min(10), scaled(2_000));
    let accepted = tokio::task::spawn_blocking(move || {
        let mut accepted = Vec::new();
        for life in 0..kills {
            let mut publisher = Publisher::start(&folder, port, life * LIFE, LIFE);
            publisher.read(&mut accepted, usize::try_from(count / kills).unwrap() - fastrand::usize(..50));
            std::thread::sleep(Duration::from_micros(fastrand::u64(..60_000)));
            publisher.kill(&mut accepted);
        }
        let mut last = Publisher::start(&folder, port, kills * LIFE, 10);
        assert!(last.read(&mut accepted, usize::MAX), "the last life drains the spool");
        accepted
    });
    let accepted = accepted.await.unwrap();
    let end = Instant::now() + PATIENCE;
    let missing = loop {
        let times = arrived.lock().unwrap().times();
        let missing = accepted.iter().filter(|tag| !times.contains_key(tag)).count();
        if missing == 0 || Instant::now() > end {
            break missing;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    watching.abort();
    let times = arrived.lock().unwrap().times();
    let again: u64 = times.values().map(|times| u64::from(times - 1)).sum();
    println!("{} accepted, {kills} kills: {missing} missing, {again} arrived again", accepted.len());
    assert_eq!(missing, 0);
    assert!(accepted.len() as u64 >= count - 50 * kills);
    assert!(again <= u64::from(DEFAULT_WINDOW) * kills, "{again}");
}

#[tokio::test]
async fn nothing_on_disk_is_lost_when_mosquitto_comes_back_with_and_without_its_sessions() {
    let Some(mut mosquitto) = Mosquitto::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (count, ends) = (scaled(2_000), 6);
    let mut settings = mosquitto.link();
    settings.spool = on_disk(folder.path());
    let link = Link::start(settings);
    let publishing = async {
        publish(&link, 0, count).await;
    };
    let ending = async {
        for end in 1..=ends {
            while link.counters().delivered < count * end / (ends + 1) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            if end % 2 == 0 {
                mosquitto.end()
            } else {
                mosquitto.kill()
            }
            tokio::time::sleep(Duration::from_millis(fastrand::u64(..100))).await;
            mosquitto.resume();
            assert!(link.counters().balance());
        }
    };
    tokio::time::timeout(PATIENCE, async { tokio::join!(publishing, ending) }).await.expect("deliveries");
    let counters = link.drain(PATIENCE).await;
    println!("{count} messages, {ends} ends: {} sent again", counters.resent);
    assert_eq!((counters.accepted, counters.delivered, counters.dropped.total()), (count, count, 0));
    assert!(counters.resent <= u64::from(DEFAULT_WINDOW) * ends, "{counters:?}");
}

/// A network namespace with one end of a cable in it.
struct Namespace(String);

impl Namespace {
    const INSIDE: &str = "10.213.77.2";

    /// `None`, with a line that says so, where this user may make none.
    fn new() -> Option<Self> {
        let name = format!("mgy{}", std::process::id());
        let namespace = Self(name.clone());
        let made = rustix::process::geteuid().is_root()
            && ip(&format!("netns add {name}"))
            && ip(&format!("link add {name}a type veth peer name {name}b netns {name}"))
            && ip(&format!("addr add 10.213.77.1/30 dev {name}a"))
            && ip(&format!("link set {name}a up"))
            && ip(&format!("-n {name} addr add {}/30 dev {name}b", Self::INSIDE))
            && ip(&format!("-n {name} link set {name}b up"));
        if !made {
            let required = std::env::var("MARGAY_TEST_REQUIRE").is_ok_and(|required| required == "1");
            assert!(!required, "a network namespace is required and cannot be made");
            println!("skipped: network namespace: run as root, with iproute2");
        }
        made.then_some(namespace)
    }

    fn cut(&self) {
        assert!(ip(&format!("link set {}a down", self.0)));
    }

    fn mend(&self) {
        assert!(ip(&format!("link set {}a up", self.0)));
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        ip(&format!("link del {}a", self.0));
        ip(&format!("netns del {}", self.0));
    }
}

fn ip(arguments: &str) -> bool {
    let run = |program: &str| Command::new(program).args(arguments.split(' ')).stderr(Stdio::null()).status();
    run("ip").or_else(|_| run("/usr/sbin/ip")).is_ok_and(|status| status.success())
}

#[tokio::test]
async fn nothing_on_disk_is_lost_when_the_network_is_cut() {
    let Some(namespace) = Namespace::new() else { return };
    let Some(mosquitto) = Mosquitto::start_within(&["ip", "netns", "exec", &namespace.0], Namespace::INSIDE) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let (count, cuts) = (scaled(2_000), 3);
    let mut settings = mosquitto.link();
    settings.spool = on_disk(folder.path());
    settings.acknowledgement_timeout = Duration::from_millis(500);
    settings.connection.connect_timeout = Duration::from_secs(1);
    let link = Link::start(settings);
    let publishing = publish(&link, 0, count);
    let cutting = async {
        for cut in 1..=cuts {
            while link.counters().delivered < count * cut / (cuts + 1) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            namespace.cut();
            tokio::time::sleep(Duration::from_millis(fastrand::u64(100..2_000))).await;
            namespace.mend();
        }
    };
    tokio::time::timeout(PATIENCE, async { tokio::join!(publishing, cutting) }).await.expect("deliveries");
    let counters = link.drain(PATIENCE).await;
    println!("{count} messages, {cuts} cuts: {} sent again, {} connections", counters.resent, counters.connections);
    assert_eq!((counters.accepted, counters.delivered, counters.dropped.total()), (count, count, 0));
    assert!(counters.resent <= u64::from(DEFAULT_WINDOW) * counters.connections, "{counters:?}");
}
