//! The spool against a disk that is full, or read-only, in the middle: a small file system of its own, as root.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use bytes::Bytes;

use super::link::{Link, LinkSettings};
use super::spool::{SpoolSettings, SpoolState, StorageType};
use super::testing_broker::TestingBroker;
use crate::topic::Topic;

const PATIENCE: Duration = Duration::from_secs(120);

/// A file system of one megabyte, in memory.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// `None`, with a line that says so, where this user may mount none.
    fn new() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = rustix::process::geteuid().is_root()
            && run("mount", &["-t", "tmpfs", "-o", "size=1m", "tmpfs"], folder.path());
        if !mounted {
            let required = std::env::var("MARGAY_TEST_REQUIRE").is_ok_and(|required| required == "1");
            assert!(!required, "a small file system is required and cannot be mounted");
            println!("skipped: small file system: run as root, where mounting is allowed");
        }
        mounted.then_some(Self(folder))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Takes all the room that is left.
    fn fill(&self) {
        let full = std::fs::write(self.path().join("filler"), vec![1; 2 << 20]);
        assert!(full.is_err(), "the disk is full");
    }

    fn free(&self) {
        std::fs::remove_file(self.path().join("filler")).unwrap();
    }

    /// No file can be made or opened for writing any more. One that is open stays writable: the kernel makes no file
    /// system read-only under its writers, unless it finds it broken.
    fn make_read_only(&self) {
        let path = self.path().to_str().unwrap();
        assert!(run("mount", &["--bind", path], self.path()));
        assert!(run("mount", &["-o", "remount,bind,ro"], self.path()));
    }

    fn make_writable(&self) {
        assert!(run("umount", &[], self.path()));
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Both mounts, where a test failed between them.
        while run("umount", &["-l"], self.path()) {}
    }
}

fn run(program: &str, arguments: &[&str], path: &Path) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).arg(path).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

fn topic() -> Topic {
    "margay/door".parse().unwrap()
}

/// A link whose broker is away and whose spool is on `disk`.
async fn offline(disk: &SmallDisk) -> (TestingBroker, Link) {
    let mut broker = TestingBroker::start().await;
    let mut settings: LinkSettings = broker.link();
    let storage = StorageType::FileSystem(disk.path().join("spool"));
    settings.spool = SpoolSettings::new(600_000, storage).unwrap();
    broker.stop().await;
    let link = Link::start(settings);
    assert!(link.spool_state().folder.is_some());
    (broker, link)
}

fn accept(link: &Link, count: u64) {
    for _ in 0..count {
        link.accept(topic(), Bytes::from(vec![7; 2_000])).unwrap();
    }
}

async fn until(link: &Link, what: &str, reached: impl Fn(&SpoolState) -> bool) -> SpoolState {
    let waiting = async {
        loop {
            let state = link.spool_state();
            if reached(&state) {
                return state;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("{what}: {:?}", link.spool_state()))
}

#[tokio::test]
async fn on_a_full_disk_the_oldest_go_and_new_ones_are_taken() {
    let Some(disk) = SmallDisk::new() else { return };
    let (mut broker, link) = offline(&disk).await;
    for _ in 0..20 {
        accept(&link, 10);
        until(&link, "a commit", |state| state.in_memory == 0).await;
    }
    disk.fill();
    accept(&link, 30);
    // The oldest segments make room at once, as long as nobody else takes it.
    until(&link, "room made by the oldest", |state| state.in_memory == 0 && state.trouble.is_none()).await;
    let counters = link.counters();
    assert!(counters.balance() && counters.dropped.disk_unavailable > 0, "{counters:?}");
    assert_eq!(counters.accepted, 230);
    broker.resume().await;
    let drained = link.drain(PATIENCE).await;
    assert_eq!(drained.delivered + drained.dropped.disk_unavailable, 230, "{drained:?}");
    disk.free();
}

#[tokio::test]
async fn on_a_disk_that_became_read_only_predictions_go_on_in_memory_and_reach_the_disk_later() {
    let Some(disk) = SmallDisk::new() else { return };
    let (mut broker, link) = offline(&disk).await;
    // More than a segment: the next commit begins a new one.
    accept(&link, 40);
    until(&link, "a commit", |state| state.in_memory == 0).await;
    disk.make_read_only();
    accept(&link, 60);
    let state = until(&link, "word of the trouble", |state| state.trouble.is_some()).await;
    assert!(state.trouble.unwrap().contains("writing the spool"));
    accept(&link, 100);
    let counters = link.counters();
    assert!(counters.balance() && counters.accepted + counters.committing == 200, "{counters:?}");
    disk.make_writable();
    until(&link, "the disk to be used again", |state| state.trouble.is_none() && state.in_memory == 0).await;
    broker.resume().await;
    let drained = link.drain(PATIENCE).await;
    assert!(drained.balance() && drained.delivered + drained.dropped.total() == 200, "{drained:?}");
}
