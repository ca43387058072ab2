//! The choice that `margay model tune` made for a package on a processor, and what it was measured against; on disk, a
//! file a package.

pub mod selection;

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use margay_inference::{EngineChoice, MAX_THREADS};
use serde::{Deserialize, Serialize};

use super::processor::Processor;
use crate::disk;

/// The version of the files that this program reads and writes.
const FORMAT: u32 = 1;

/// No file is larger, in bytes.
const MAX_BYTES: u64 = 64 * 1024;

/// What precedes a package's digest.
const ALGORITHM: &str = "sha256:";

/// An engine and its threads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Choice {
    /// The engine.
    pub engine: EngineChoice,
    /// Its threads: 1 to [`MAX_THREADS`].
    pub threads: usize,
    /// ONNX Runtime's library at the time, where that is the engine.
    pub library: Option<PathBuf>,
}

/// What one engine on so many threads was found to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measurement {
    /// The engine.
    pub engine: EngineChoice,
    /// Its threads.
    pub threads: usize,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a measurement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It ran.
    Ran {
        /// Median time of the model alone, in microseconds.
        p50_us: u64,
        /// 99 in a hundred took no longer, in microseconds.
        p99_us: u64,
        /// Resident memory of its worker, in bytes.
        rss_bytes: Option<u64>,
        /// Largest difference of a probability from the reference's.
        difference: f32,
        /// Why it is out of the choice all the same.
        excluded: Option<String>,
    },
    /// It did not run.
    Failed {
        /// Why.
        why: String,
    },
}

/// A choice with its reasons.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tuning {
    format: u32,
    /// The package, `sha256:…`.
    pub digest: String,
    /// Where it was measured.
    pub processor: Processor,
    /// The version of Margay that measured.
    pub margay: String,
    /// What is to run.
    pub choice: Choice,
    /// Why, in words.
    pub reason: String,
    /// Everything that was measured.
    pub measurements: Vec<Measurement>,
}

impl Tuning {
    /// A choice of this program.
    pub fn new(
        digest: &str,
        processor: Processor,
        choice: Choice,
        reason: String,
        measurements: Vec<Measurement>,
    ) -> Self {
        let margay = env!("CARGO_PKG_VERSION").to_owned();
        Self { format: FORMAT, digest: digest.to_owned(), processor, margay, choice, reason, measurements }
    }
}

/// Why a stored choice cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum TuningError {
    /// The disk.
    #[error("{doing} the choice of engine {}", path.display())]
    Disk {
        /// `reading` or `writing`.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file is not one of this program's.
    #[error("the choice of engine {} is not one that this Margay wrote ({why}); remove it, or run `margay model tune` again", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A package without a digest cannot be told from another.
    #[error("'{digest}' is no digest of a package")]
    Digest {
        /// What was given.
        digest: String,
    },
}

/// The choice for the package, if one is stored in `folder`.
///
/// # Errors
/// [`TuningError`].
pub fn read(folder: &Path, digest: &str) -> Result<Option<Tuning>, TuningError> {
    let path = file(folder, digest)?;
    let disk = |source| TuningError::Disk { doing: "reading", path: path.clone(), source };
    let opened = match fs::File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(disk)?,
    };
    let mut bytes = Vec::new();
    opened.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(disk)?;
    parse(&bytes, digest).map(Some).map_err(|why| TuningError::Foreign { path: path.clone(), why })
}

/// Keeps the choice in `folder`, in the place of an earlier one.
///
/// # Errors
/// [`TuningError`]; the earlier one is still there.
pub fn write(folder: &Path, tuning: &Tuning) -> Result<PathBuf, TuningError> {
    let path = file(folder, &tuning.digest)?;
    let disk = |source| TuningError::Disk { doing: "writing", path: path.clone(), source };
    let mut text = serde_json::to_vec_pretty(tuning).map_err(|error| disk(io::Error::other(error)))?;
    text.push(b'\n');
    disk::create_directories(folder).map_err(disk)?;
    let temporary = path.with_extension("new");
    // One that an interrupted run left behind would be in the way.
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(disk(error)),
        _ => {}
    }
    disk::replace(&path, &temporary, &text).map_err(disk)?;
    Ok(path)
}

/// The file of a package. A digest is checked first: it becomes part of a path.
fn file(folder: &Path, digest: &str) -> Result<PathBuf, TuningError> {
    let digits = digest
        .strip_prefix(ALGORITHM)
        .filter(|digits| digits.len() == 64 && digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')));
    let wrong = || TuningError::Digest { digest: digest.chars().take(100).collect() };
    Ok(folder.join(format!("sha256-{}.json", digits.ok_or_else(wrong)?)))
}

fn parse(bytes: &[u8], digest: &str) -> Result<Tuning, String> {
    if bytes.len() as u64 > MAX_BYTES {
        return Err(format!("it has more than {MAX_BYTES} bytes"));
    }
    #[derive(Deserialize)]
    struct Head {
        format: u32,
    }
    let head: Head = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if head.format != FORMAT {
        return Err(format!("its format is {}, and this Margay knows {FORMAT}", head.format));
    }
    let tuning: Tuning = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if tuning.digest != digest {
        return Err(format!("it is for {}", tuning.digest));
    }
    if !(1..=MAX_THREADS).contains(&tuning.choice.threads) {
        return Err(format!("{} threads are not 1 to {MAX_THREADS}", tuning.choice.threads));
    }
    Ok(tuning)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn tuning() -> Tuning {
        let ran =
            Outcome::Ran { p50_us: 10, p99_us: 20, rss_bytes: None, difference: 0.5, excluded: Some("far".into()) };
        let measurements = vec![
            Measurement { engine: EngineChoice::Tract, threads: 1, outcome: ran },
            Measurement { engine: EngineChoice::Compiled, threads: 2, outcome: Outcome::Failed { why: "no".into() } },
        ];
        let choice = Choice { engine: EngineChoice::Tract, threads: 1, library: None };
        Tuning::new(DIGEST, Processor::default(), choice, "because".to_owned(), measurements)
    }

    #[test]
    fn what_was_written_is_read_and_a_newer_choice_replaces_it() {
        let folder = tempfile::tempdir().unwrap();
        let below = folder.path().join("tuning");
        assert_eq!(read(&below, DIGEST).unwrap(), None);
        write(&below, &tuning()).unwrap();
        assert_eq!(read(&below, DIGEST).unwrap(), Some(tuning()));
        let newer = Tuning { reason: "measured again".to_owned(), ..tuning() };
        fs::write(write(&below, &newer).unwrap().with_extension("new"), "left by a crash").unwrap();
        write(&below, &newer).unwrap();
        assert_eq!(read(&below, DIGEST).unwrap(), Some(newer));
        assert_eq!(fs::read_dir(&below).unwrap().count(), 1, "nothing temporary stays");
    }

    #[test]
    fn what_is_none_of_ours_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = write(folder.path(), &tuning()).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let large = " ".repeat(MAX_BYTES as usize + 1);
        for (damaged, word) in [
            (text.replace("\"format\": 1", "\"format\": 2"), "format is 2"),
            (text.replace("\"threads\": 1,\n    \"library\"", "\"threads\": 99,\n    \"library\""), "99 threads"),
            (text.replace("abcdef\"", "abcde0\""), "it is for"),
            (text.replace("\"tract\"", "\"warp\""), "names no engine"),
            (large, "more than"),
            (String::new(), "EOF"),
        ] {
            assert_ne!(damaged, text);
            fs::write(&path, damaged).unwrap();
            let error = read(folder.path(), DIGEST).unwrap_err().to_string();
            assert!(error.contains(word) && error.contains("sha256-0123") && error.contains("model tune"), "{error}");
        }
    }

    #[test]
    fn a_digest_that_is_none_becomes_no_path() {
        for digest in ["", "sha256:", "sha256:../../etc/passwd", "md5:0", &DIGEST.to_uppercase()] {
            assert!(matches!(read(Path::new("/"), digest), Err(TuningError::Digest { .. })), "{digest}");
        }
    }
}
