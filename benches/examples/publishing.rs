//! Publishes as the core does, through spool, session and window, and ends when everything is acknowledged. Started by
//! `benches/peers/publishing.py`, which starts its peers in the same way:
//!
//! `publishing PORT CA CERTIFICATE KEY COUNT BYTES [SPOOL]` — a broker on localhost, what to prove itself with, messages
//! and the bytes of each, and the folder of a spool on disk where it is not to be in memory.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use margay::clock::SystemClock;
use margay::identity::{Identity, IdentityFiles};
use margay::mqtt::connection::{BrokerAddress, ConnectionSettings};
use margay::mqtt::link::{Link, LinkSettings};
use margay::mqtt::spool::{SpoolSettings, StorageType};
use margay::topic::Topic;

/// The core's.
const THREADS: usize = 2;

/// No run takes longer.
const PATIENCE: Duration = Duration::from_secs(300);

/// What may wait in the spool at a time, in messages: the caller is held up rather than the oldest dropped.
const WAITING: u64 = 1000;

fn main() {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let [port, ca, certificate, private_key, count, bytes, spool @ ..] = &given[..] else {
        eprintln!("publishing PORT CA CERTIFICATE KEY COUNT BYTES [SPOOL]");
        std::process::exit(2);
    };
    let files = IdentityFiles { ca: ca.into(), certificate: certificate.into(), private_key: private_key.into() };
    let tls = Identity::load(&files).expect("an identity").client_config(&[], Arc::new(SystemClock::new()));
    let broker = BrokerAddress { host: "localhost".parse().expect("a host"), port: port.parse().expect("a port") };
    let mut settings = LinkSettings::new(ConnectionSettings::new(broker, "margay", tls));
    if let Some(folder) = spool.first() {
        settings.spool = SpoolSettings::new(64 << 20, StorageType::FileSystem(folder.into())).expect("spool settings");
    }
    let count: u64 = count.parse().expect("a number of messages");
    let payload = Bytes::from(vec![b'x'; bytes.parse().expect("a number of bytes")]);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build();
    let delivered = runtime.expect("a runtime").block_on(publish(settings, count, payload));
    assert_eq!(delivered, count, "every message is acknowledged");
}

async fn publish(settings: LinkSettings, count: u64, payload: Bytes) -> u64 {
    let link = Link::start(settings);
    // A spool on disk counts on from its last run.
    let before = link.counters().delivered;
    let topic: Topic = "margay/bench/predictions".parse().expect("a topic");
    let (mut accepted, end) = (0, tokio::time::Instant::now() + PATIENCE);
    while accepted < count && tokio::time::Instant::now() < end {
        let counters = link.counters();
        if counters.queued + counters.in_flight >= WAITING || link.accept(topic.clone(), payload.clone()).is_err() {
            tokio::time::sleep(Duration::from_micros(200)).await;
            continue;
        }
        accepted += 1;
    }
    link.drain(PATIENCE).await.delivered - before
}
