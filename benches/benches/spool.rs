//! The spool on disk: appending what is accepted, and draining it. `cargo bench --manifest-path benches/Cargo.toml --bench
//! spool`; figures are in docs/spool.md. `MARGAY_BENCH_SPOOL` names a folder on the disk to be measured.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use margay::clock::SystemClock;
use margay::mqtt::spool::{COMMIT_COUNT, Journal, Next, Spool, SpoolSettings, Standing, StorageType};
use margay::topic::Topic;

/// About what a prediction has, in bytes.
const PAYLOAD: usize = 700;

/// A spool in an empty folder.
fn spool(folder: &str) -> (Spool, Journal) {
    let place = std::env::var_os("MARGAY_BENCH_SPOOL").map_or_else(std::env::temp_dir, PathBuf::from).join(folder);
    let _ = std::fs::remove_dir_all(&place);
    let settings = SpoolSettings::new(256 << 20, StorageType::FileSystem(place)).expect("settings");
    let (spool, journal) = Spool::open(&settings, Arc::new(SystemClock::new()), Instant::now()).expect("a folder");
    (spool, journal.expect("a journal"))
}

fn topic() -> Topic {
    "margay/core/road/predictions".parse().expect("a topic")
}

/// Accepts one commit's worth and commits it.
fn append(spool: &mut Spool, journal: &mut Journal, count: usize) {
    for _ in 0..count {
        spool.accept(topic(), Bytes::from(vec![b'x'; PAYLOAD]), 0, Instant::now()).expect("room");
    }
    commit(spool, journal);
}

fn commit(spool: &mut Spool, journal: &mut Journal) {
    let batch = spool.take_batch(Instant::now(), true);
    let outcome = journal.commit(&batch, Instant::now());
    spool.settle(outcome, Instant::now());
}

/// Sends and acknowledges up to `count` messages, a window at a time; each window's end is written.
fn drain(spool: &mut Spool, journal: &mut Journal, count: usize) {
    for _ in 0..count.div_ceil(16) {
        for _ in 0..16 {
            let Next::Send(message) = spool.next(|_| true, |_| Standing::Good) else { return };
            spool.acknowledge(message.id, Instant::now());
        }
        commit(spool, journal);
    }
}

fn disk(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("spool on disk");
    group.sample_size(20);
    for count in [1, COMMIT_COUNT] {
        group.throughput(Throughput::Elements(count as u64));
        let (mut on_disk, mut journal) = spool("margay-bench-append");
        group.bench_function(format!("append and sync {count}"), |bench| {
            bench.iter_batched(|| (), |()| append(&mut on_disk, &mut journal, count), BatchSize::PerIteration);
        });
    }
    group.throughput(Throughput::Elements(1024));
    group.bench_function("read back, acknowledge and write the end of 1024", |bench| {
        bench.iter_batched(
            || {
                let (mut on_disk, mut journal) = spool("margay-bench-drain");
                append(&mut on_disk, &mut journal, 1024);
                (on_disk, journal)
            },
            |(mut on_disk, mut journal)| drain(&mut on_disk, &mut journal, 1024),
            BatchSize::PerIteration,
        );
    });
    group.finish();
    amplification();
}

/// Bytes written for each byte of payload and topic, from acceptance to the end.
fn amplification() {
    for count in [1, 2, 16, COMMIT_COUNT] {
        let (mut on_disk, mut journal) = spool("margay-bench-written");
        let rounds = 4096 / count;
        (0..rounds).for_each(|_| append(&mut on_disk, &mut journal, count));
        let kept = (rounds * count * (PAYLOAD + topic().as_str().len())) as f64;
        let appended = journal.written().bytes as f64 / kept;
        drain(&mut on_disk, &mut journal, rounds * count);
        let all = journal.written().bytes as f64 / kept;
        println!("{count} messages a commit: {appended:.3} bytes written a byte kept, {all:.3} with its end");
    }
}

criterion_group!(on_disk, disk);
criterion_main!(on_disk);
