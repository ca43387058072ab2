//! Unpacking a package into the store, verified and synced, against `tar xzf` and a sync of what it wrote: interleaved in
//! one run on one disk, so that their ratio says something.
//!
//! `cargo bench --manifest-path benches/Cargo.toml --bench unpack`; the real models at ../shared/models if they are
//! there, otherwise 50 MB that no compressor makes smaller. `MARGAY_BENCH_ROUNDS` is the number of rounds.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use std::{env, fs};

use margay::package::Sha256Digest;
use margay::store::{Download, Store};

const MODELS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/models/onnx");
const GENERATED: usize = 50_000_000;

fn main() {
    let rounds = env::var("MARGAY_BENCH_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(15);
    let work = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("unpack");
    let _ = fs::remove_dir_all(&work);
    let files = work.join("package");
    fs::create_dir_all(&files).expect("a directory for the package");
    let bytes = collect(&files);
    let archive = work.join("package.tar.gz");
    shell(&format!("tar czf {} -C {} package", archive.display(), work.display()));
    let content = fs::read(&archive).expect("the archive");
    let fetched = Download { bytes: content.len() as u64, sha256: Sha256Digest::of(&content), etag: None };
    println!("{bytes} bytes of files, {} of archive, {rounds} rounds", content.len());

    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let before = cpu();
    for _ in 0..rounds {
        theirs.push(by_tar(&archive, &work.join("tar")));
        ours.push(by_store(&archive, &fetched, &work.join("store")));
    }
    let (own, children) = cpu();
    let each = |ticks: u64| 10 * ticks / rounds as u64;
    println!(
        "CPU time of a round: tar xzf + sync {} ms, the store {} ms",
        each(children - before.1),
        each(own - before.0)
    );
    let ratios: Vec<f64> =
        ours.iter().zip(&theirs).map(|(ours, theirs)| ours.as_secs_f64() / theirs.as_secs_f64()).collect();
    let rate = |time: Duration| bytes as f64 / 1e6 / time.as_secs_f64();
    println!("tar xzf + sync: median {:.0} ms, {:.0} MB/s", millis(&mut theirs), rate(theirs[rounds / 2]));
    println!("the store:      median {:.0} ms, {:.0} MB/s", millis(&mut ours), rate(ours[rounds / 2]));
    let mut sorted = ratios;
    sorted.sort_by(f64::total_cmp);
    println!("time, store to tar: median {:.2} ({:.2}-{:.2})", sorted[rounds / 2], sorted[0], sorted[rounds - 1]);
    let _ = fs::remove_dir_all(&work);
}

/// The models, or as much noise.
fn collect(into: &Path) -> u64 {
    let models: Vec<PathBuf> =
        fs::read_dir(MODELS).map(|dir| dir.flatten().map(|entry| entry.path()).collect()).unwrap_or_default();
    for model in &models {
        fs::copy(model, into.join(model.file_name().expect("a file"))).expect("a copy");
    }
    if models.is_empty() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut noise = Vec::with_capacity(GENERATED);
        while noise.len() < GENERATED {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            noise.extend(state.to_le_bytes());
        }
        fs::write(into.join("weights.onnx"), noise).expect("the generated weights");
    }
    fs::read_dir(into).expect("the package").flatten().map(|entry| entry.metadata().expect("a file").len()).sum()
}

fn by_tar(archive: &Path, into: &Path) -> Duration {
    fs::create_dir_all(into).expect("a directory");
    let (archive, directory) = (archive.display(), into.display());
    let started = Instant::now();
    shell(&format!("tar xzf {archive} -C {directory} && find {directory} -exec sync {{}} +"));
    let taken = started.elapsed();
    fs::remove_dir_all(into).expect("what tar wrote");
    taken
}

fn by_store(archive: &Path, fetched: &Download, into: &Path) -> Duration {
    let store = Store::open(into).expect("a store");
    let download = store.download_path().expect("a place for the archive");
    fs::copy(archive, download.path()).expect("the archive");
    let origin = "s3://models/package.tar.gz".parse().expect("an address");
    let started = Instant::now();
    store.install(download, &origin, fetched).expect("it is installed");
    let taken = started.elapsed();
    drop(store);
    fs::remove_dir_all(into).expect("what the store wrote");
    taken
}

/// The CPU time of this process and of those that it waited for, in ticks of 10 ms (proc_pid_stat(5), fields 14 to 17).
fn cpu() -> (u64, u64) {
    let stat = fs::read_to_string("/proc/self/stat").expect("the kernel's words");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |field: usize| fields[field].parse::<u64>().expect("a number");
    (ticks(11) + ticks(12), ticks(13) + ticks(14))
}

fn shell(command: &str) {
    let status = Command::new("sh").args(["-c", command]).status().expect("a shell");
    assert!(status.success(), "{command}");
}

/// The median in milliseconds; sorts `times`.
fn millis(times: &mut [Duration]) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1000.0
}
