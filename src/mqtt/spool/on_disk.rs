//! The spool on disk without its thread: what is found again after a restart at any moment, and what a failing disk
//! costs.

use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::clock::SystemClock;

fn topic(text: &str) -> Topic {
    text.parse().unwrap()
}

/// A spool and its journal, as the committer holds them.
struct Disk {
    spool: Spool,
    journal: Journal,
}

impl Disk {
    fn open(folder: &Path) -> Self {
        Self::open_with(&SpoolSettings::new(MIN_MAX_SIZE_BYTES, StorageType::FileSystem(folder.to_owned())).unwrap())
    }

    fn open_with(settings: &SpoolSettings) -> Self {
        let (mut spool, journal) =
            Spool::open(settings, std::sync::Arc::new(SystemClock::new()), Instant::now()).unwrap();
        spool.collect_news();
        Self { spool, journal: journal.unwrap() }
    }

    fn accept(&mut self, on: &str, payload: impl Into<Bytes>) -> MessageId {
        self.spool.accept(topic(on), payload.into(), 0, Instant::now()).unwrap()
    }

    fn commit(&mut self) -> Vec<Accepted> {
        let now = Instant::now();
        let batch = self.spool.take_batch(now, true);
        let outcome = self.journal.commit(&batch, now);
        self.spool.settle(outcome, now);
        self.spool.take_news()
    }

    fn send(&mut self) -> Option<Message> {
        match self.spool.next(|_| true, |_| Standing::Good) {
            Next::Send(message) => Some(message),
            _ => None,
        }
    }

    fn deliver(&mut self) -> Option<Message> {
        let message = self.send()?;
        self.spool.acknowledge(message.id, Instant::now()).unwrap();
        Some(message)
    }

    /// Accepts a message of ten kilobytes that begins with `sign`, and waits for the disk.
    fn put(&mut self, sign: &str, worth: Worth) {
        let payload = [sign.as_bytes(), &[b'x'; 10_000]].concat();
        self.spool.accept_worth(topic("a"), payload.into(), (0, worth), Instant::now()).unwrap();
        self.commit();
    }

    fn payloads(mut self) -> Vec<String> {
        let sent = std::iter::from_fn(|| self.deliver());
        sent.map(|message| String::from_utf8(message.payload.to_vec()).unwrap()).collect()
    }
}

#[test]
fn what_was_accepted_and_not_acknowledged_is_there_after_a_restart_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let mut disk = Disk::open(folder.path());
    let ids: Vec<_> = (0..10).map(|index| disk.accept("a", index.to_string())).collect();
    assert_eq!((disk.spool.counters().accepted, disk.spool.counters().committing), (0, 10));
    let accepted = disk.commit();
    assert_eq!(accepted.iter().map(|accepted| accepted.id).collect::<Vec<_>>(), ids);
    assert!(accepted.iter().all(|accepted| accepted.kept == Kept::OnDisk));
    (0..3).for_each(|_| drop(disk.deliver()));
    disk.send().unwrap();
    disk.commit();
    disk.accept("a", "never committed");
    drop(disk);

    let disk = Disk::open(folder.path());
    let counters = disk.spool.counters();
    assert_eq!((counters.accepted, counters.delivered, counters.queued), (10, 3, 7), "{counters:?}");
    assert_eq!(disk.payloads(), ["3", "4", "5", "6", "7", "8", "9"]);
}

#[test]
fn a_message_that_the_broker_has_before_it_is_due_is_never_written() {
    let folder = tempfile::tempdir().unwrap();
    let mut disk = Disk::open(folder.path());
    for index in 0..100 {
        disk.accept("a", index.to_string());
        disk.deliver().unwrap();
    }
    let news = disk.commit();
    assert!(news.iter().all(|accepted| accepted.kept == Kept::Delivered) && news.len() == 100);
    assert!(disk.journal.written().bytes < 300, "a header and a ledger: {:?}", disk.journal.written());
    drop(disk);
    let counters = Disk::open(folder.path()).spool.counters();
    assert_eq!((counters.accepted, counters.delivered, counters.queued), (100, 100, 0));
}

#[test]
fn while_the_broker_keeps_up_only_the_ledger_is_written_and_seldom() {
    let folder = tempfile::tempdir().unwrap();
    let mut disk = Disk::open(folder.path());
    let start = Instant::now();
    let mut written = 0;
    for tenth in 0..300u32 {
        disk.accept("a", "x");
        disk.deliver().unwrap();
        let now = start + Duration::from_millis(100) * tenth;
        let batch = disk.spool.take_batch(now + COMMIT_INTERVAL, false);
        if !batch.is_empty() {
            let outcome = disk.journal.commit(&batch, now);
            disk.spool.settle(outcome, now);
            written += 1;
        }
    }
    assert_eq!((written, disk.journal.written().syncs), (3, 0), "30 seconds");
}

#[test]
fn topics_take_turns_and_keep_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let mut disk = Disk::open(folder.path());
    for index in 0..500 {
        disk.accept("backlog", format!("old {index}"));
    }
    disk.accept("fresh", "new 0");
    disk.accept("fresh", "new 1");
    disk.commit();
    drop(disk);
    let sent = Disk::open(folder.path()).payloads();
    assert_eq!(sent[..5], ["old 0", "new 0", "old 1", "new 1", "old 2"]);
    assert_eq!(sent.len(), 502);
}

#[test]
fn segments_go_when_nothing_in_them_is_needed_and_a_message_that_stays_is_moved() {
    let folder = tempfile::tempdir().unwrap();
    let mut disk = Disk::open(folder.path());
    let stays = disk.accept("stays", "the one");
    disk.commit();
    // Refused for now: it is never sent, and everything else is.
    let standing = |topic: &Topic| if topic.as_str() == "stays" { Standing::OnParole } else { Standing::Good };
    for round in 0..200 {
        disk.accept("goes", vec![b'x'; 20_000]);
        disk.commit();
        disk.spool.queued.end_turn();
        let next = disk.spool.next(|_| true, standing);
        let message = match next {
            Next::Send(message) => message,
            _ => disk.spool.lend(MessageId(stays.get() + round + 1)).unwrap(),
        };
        disk.spool.acknowledge(message.id, Instant::now());
        disk.commit();
    }
    let state = disk.spool.state();
    assert!(state.disk_bytes < 4 * 64 * 1024, "{state:?}");
    assert!(disk.journal.written().bytes > 3_900_000);
    drop(disk);
    assert_eq!(Disk::open(folder.path()).payloads(), ["the one"]);
}

#[test]
fn many_starts_do_not_heap_up_segments() {
    let folder = tempfile::tempdir().unwrap();
    for index in 0..150 {
        let mut disk = Disk::open(folder.path());
        disk.accept("a", index.to_string());
        disk.commit();
        disk.commit();
    }
    let disk = Disk::open(folder.path());
    assert!(disk.spool.state().segments <= 67, "{:?}", disk.spool.state());
    assert_eq!(disk.payloads(), (0..150).map(|index: u64| index.to_string()).collect::<Vec<_>>());
}

#[test]
fn two_processes_cannot_have_the_same_spool() {
    let folder = tempfile::tempdir().unwrap();
    let _first = Disk::open(folder.path());
    let settings = SpoolSettings::new(MIN_MAX_SIZE_BYTES, StorageType::FileSystem(folder.path().to_owned())).unwrap();
    let error = Spool::open(&settings, std::sync::Arc::new(SystemClock::new()), Instant::now()).unwrap_err();
    assert!(error.to_string().contains("another process uses it"), "{error}");
}

#[test]
fn a_segment_of_a_later_version_is_kept_for_it_and_said() {
    let folder = tempfile::tempdir().unwrap();
    let mut disk = Disk::open(folder.path());
    disk.accept("a", "0");
    disk.commit();
    drop(disk);
    let path = folder.path().join("0000000000000002.spool");
    std::fs::write(&path, [b"MGYSPOOL".as_slice(), &7u32.to_le_bytes(), &[9; 80]].concat()).unwrap();
    let disk = Disk::open(folder.path());
    let state = disk.spool.state();
    assert!(state.notes[0].contains("later version") && state.notes[0].contains("rename it back"), "{state:?}");
    assert!(folder.path().join("0000000000000002.spool.version-7").exists());
    assert_eq!(disk.payloads(), ["0"]);
}

#[test]
fn a_damaged_place_is_skipped_counted_and_set_aside_and_a_torn_end_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let mut disk = Disk::open(folder.path());
    for index in 0..5 {
        disk.accept("a", format!("message {index}"));
        disk.commit();
    }
    drop(disk);
    let path = folder.path().join("0000000000000001.spool");
    let mut bytes = std::fs::read(&path).unwrap();
    let second = bytes.windows(9).position(|window| window == b"message 1").unwrap();
    bytes[second] ^= 1;
    bytes.extend_from_slice(b"MgR1 torn");
    std::fs::write(&path, bytes).unwrap();

    let mut disk = Disk::open(folder.path());
    let (counters, listing) = (disk.spool.counters(), disk.spool.listing());
    assert_eq!((counters.accepted, counters.queued, counters.dropped.damaged), (5, 4, 1), "{counters:?}");
    assert_eq!((listing.state.damaged, listing.state.notes.len(), listing.aside.len()), (1, 2, 1), "{listing:?}");
    assert_eq!(disk.payloads(), ["message 0", "message 2", "message 3", "message 4"]);
}

#[test]
fn a_refused_message_is_set_aside_where_show_finds_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut disk = Disk::open(folder.path());
    disk.accept("poison", "bad");
    disk.commit();
    let poison = disk.send().unwrap().id;
    disk.spool.set_aside(poison, None);
    disk.commit();
    let listing = disk.spool.listing();
    assert_eq!(listing.aside[0].topic.as_deref(), Some("poison"), "{listing:?}");
    drop(disk);
    let counters = Disk::open(folder.path()).spool.counters();
    assert_eq!((counters.queued, counters.dropped.topic_refused), (0, 1));
}

#[test]
fn a_full_spool_drops_the_oldest_or_by_value() {
    let folder = tempfile::tempdir().unwrap();
    let storage = StorageType::FileSystem(folder.path().to_owned());
    let settings = SpoolSettings::new(MIN_MAX_SIZE_BYTES, storage).unwrap().when_full(WhenFull::DropRepeats);
    let mut disk = Disk::open_with(&settings);
    for index in 0..60u64 {
        let worth = if index % 10 == 0 { Worth::Ordinary } else { Worth::Repeat };
        let payload = [format!("{index:02}").into_bytes(), vec![b'x'; 10_000]].concat();
        disk.spool.accept_worth(topic("a"), payload.into(), (0, worth), Instant::now()).unwrap();
        disk.commit();
    }
    drop(disk);
    let disk = Disk::open_with(&settings);
    let kept: Vec<String> = disk.payloads().iter().map(|payload| payload[..2].to_owned()).collect();
    assert!(["00", "10", "20", "30", "40", "50"].iter().all(|change| kept.iter().any(|kept| kept == change)));
    assert!(kept.len() < 30 && kept.last().unwrap() == "59", "{kept:?}");
}

/// A spool that a function floods, with predictions from before it, and a restart in between.
fn flooded(folder: &Path) -> Disk {
    let settings = SpoolSettings::new(MIN_MAX_SIZE_BYTES, StorageType::FileSystem(folder.to_owned())).unwrap();
    let mut disk = Disk::open_with(&settings);
    for index in 0..8 {
        disk.put(&format!("p{index}"), Worth::Ordinary);
    }
    for index in 0..60 {
        disk.put(&format!("f{}", index % 10), Worth::OfFunction);
    }
    drop(disk);
    let mut disk = Disk::open_with(&settings);
    for index in 0..10 {
        disk.put(&format!("g{index}"), Worth::OfFunction);
    }
    disk
}

/// How many messages are kept whose payload begins so.
fn count(kept: &[String], signs: &[&str]) -> usize {
    kept.iter().filter(|payload| signs.iter().any(|sign| payload.starts_with(sign))).count()
}

#[test]
fn a_function_that_floods_costs_its_own_messages_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let kept = flooded(folder.path()).payloads();
    assert_eq!(count(&kept, &["p"]), 8, "every prediction is there");
    assert!(count(&kept, &["f", "g"]) >= 13, "functions have the rest: {}", count(&kept, &["f", "g"]));
}

#[test]
fn where_functions_hold_no_more_than_half_the_oldest_of_all_make_room() {
    let folder = tempfile::tempdir().unwrap();
    let mut disk = flooded(folder.path());
    for index in 0..40 {
        disk.put(&format!("q{}", index % 10), Worth::Ordinary);
    }
    let kept = disk.payloads();
    assert_eq!(count(&kept, &["q"]), kept.len(), "forty that are newer have more than all the room");
}

#[test]
fn what_made_room_less_than_a_commit_before_a_kill_waits_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut disk = Disk::open(folder.path());
    let full = |disk: &Disk| disk.spool.counters().dropped.total() > 0;
    let mut count = 0;
    while !full(&disk) {
        disk.accept("a", format!("{count} {}", "x".repeat(10_000)));
        count += 1;
        if !full(&disk) {
            disk.commit();
        }
    }
    assert!(disk.deliver().unwrap().payload.starts_with(b"1 "), "the first made room");
    drop(disk);
    let sent = Disk::open(folder.path()).payloads();
    let numbers: Vec<usize> = sent.iter().map(|payload| payload.split(' ').next().unwrap().parse().unwrap()).collect();
    assert_eq!(numbers, (0..count - 1).collect::<Vec<_>>());
}

#[test]
fn a_disk_that_cannot_be_written_costs_the_oldest_in_memory_and_nothing_when_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("spool");
    let settings = SpoolSettings::new(MIN_MAX_SIZE_BYTES, StorageType::FileSystem(place.clone())).unwrap();
    let mut disk = Disk::open_with(&settings);
    // Gone under the journal: no segment can be made.
    std::fs::rename(&place, folder.path().join("away")).unwrap();
    for index in 0..30 {
        disk.accept("a", format!("{index:02}"));
    }
    assert!(disk.commit().iter().all(|accepted| accepted.kept == Kept::InMemory));
    assert!(disk.spool.state().trouble.unwrap().contains("writing the spool"));
    for _ in 0..40 {
        disk.accept("a", vec![b'y'; 10_000]);
    }
    let counters = disk.spool.counters();
    assert!(counters.balance() && counters.dropped.spool_full + counters.dropped.disk_unavailable > 30, "{counters:?}");
    std::fs::rename(folder.path().join("away"), &place).unwrap();
    disk.commit();
    assert_eq!(disk.spool.state().trouble, None);
    let queued = disk.spool.counters().queued;
    drop(disk);
    let counters = Disk::open(&place).spool.counters();
    assert!(counters.balance() && counters.queued == queued, "{counters:?}");
}

/// Something that happens to a spool on disk.
#[derive(Debug, Clone)]
enum Happening {
    Accepted { topic: u8, bytes: usize },
    Sent,
    Acknowledged { which: usize },
    Refused { which: usize },
    Committed { all: bool },
    Killed,
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        8 => (0u8..3, 0usize..20_000).prop_map(|(topic, bytes)| Happening::Accepted { topic, bytes }),
        6 => Just(Happening::Sent),
        5 => any::<usize>().prop_map(|which| Happening::Acknowledged { which }),
        1 => any::<usize>().prop_map(|which| Happening::Refused { which }),
        4 => any::<bool>().prop_map(|all| Happening::Committed { all }),
        1 => Just(Happening::Killed),
    ]
}

/// What must be found again after a kill: the messages that are accepted, or taken and still in the spool, less those
/// done with; `promised` are the former.
#[derive(Debug, Default)]
struct Model {
    promised: BTreeSet<u64>,
    done: BTreeSet<u64>,
}

fn apply(disk: &mut Disk, model: &mut Model, happening: &Happening) {
    let pick = |disk: &Disk, which: usize| {
        let ids: Vec<_> = disk.spool.in_flight().map(|(id, _)| id).collect();
        (!ids.is_empty()).then(|| ids[which % ids.len()])
    };
    match happening {
        Happening::Accepted { topic: lane, bytes } => {
            let _ = disk.spool.accept(topic(&lane.to_string()), vec![*lane; *bytes].into(), 0, Instant::now());
        }
        Happening::Sent => drop(disk.send()),
        Happening::Acknowledged { which } => {
            if let Some(id) = pick(disk, *which) {
                disk.spool.acknowledge(id, Instant::now());
                model.done.insert(id.get());
            }
        }
        Happening::Refused { which } => {
            if let Some(id) = pick(disk, *which) {
                disk.spool.set_aside(id, None);
                model.done.insert(id.get());
            }
        }
        Happening::Committed { all } => {
            let now = Instant::now() + if *all { Duration::from_secs(1) } else { Duration::ZERO };
            let batch = disk.spool.take_batch(now, *all);
            let outcome = disk.journal.commit(&batch, now);
            disk.spool.settle(outcome, now);
        }
        Happening::Killed => {}
    }
    let news = disk.spool.take_news();
    model.promised.extend(news.iter().filter(|news| news.kept == Kept::OnDisk).map(|news| news.id.get()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_happens_what_was_accepted_is_there_after_a_kill(happenings in proptest::collection::vec(happening(), 0..150)) {
        let folder = tempfile::tempdir().unwrap();
        let mut disk = Disk::open(folder.path());
        let mut model = Model::default();
        for happening in happenings.iter().chain([&Happening::Killed]) {
            apply(&mut disk, &mut model, happening);
            let counters = disk.spool.counters();
            prop_assert!(counters.balance(), "{:?}", counters);
            if let Happening::Killed = happening {
                let live: BTreeSet<u64> = disk.spool.queued().chain(disk.spool.in_flight()).map(|(id, _)| id.get()).collect();
                let held = disk.spool.held_acknowledgements() as u64;
                let dropped = counters.dropped.total();
                drop(disk);
                disk = Disk::open(folder.path());
                let after = disk.spool.counters();
                let found: BTreeSet<u64> = disk.spool.queued().map(|(id, _)| id.get()).collect();
                prop_assert!(after.balance(), "{:?}", after);
                prop_assert_eq!(after.dropped.damaged, 0);
                let missing: Vec<_> = live.intersection(&model.promised).filter(|id| !found.contains(id)).collect();
                prop_assert!(missing.is_empty(), "accepted and lost: {:?}", missing);
                let again = found.difference(&live).count() as u64;
                prop_assert!(again <= held + dropped, "{} come again, {} were held", again, held);
                model = Model { promised: found, done: BTreeSet::new() };
            }
        }
    }
}
