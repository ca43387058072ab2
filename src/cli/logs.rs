//! `margay logs`: what functions print and what the core says, from the files at V1's places.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;

use super::exit::{Code, Failed, OrFail};
use super::output;
use crate::config;

/// How often files are looked at for more.
const LOOK: Duration = Duration::from_millis(200);

/// The most that is shown of a file that was there before, in bytes.
const TAIL: u64 = 64 << 10;

/// Show what functions print and what the core says of them, or its own log
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:  margay logs -f greengrassHelloWorld\n          margay logs --system | grep ERROR")]
pub(super) struct Arguments {
    /// The function's name; all of them if absent
    function: Option<String>,
    /// The core's config.json
    #[arg(long, value_name = "FILE", default_value = config::DEFAULT_PATH)]
    config: PathBuf,
    /// The core's own log in place of functions'
    #[arg(long, conflicts_with = "function")]
    system: bool,
    /// Go on with what is added
    #[arg(short, long)]
    follow: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failed> {
    let config = super::check::load(&arguments.config)?;
    let all = config.directories.logs();
    let folder = all.join(if arguments.system { "system" } else { "user" });
    let mut shown = Shown::default();
    loop {
        let files = if arguments.system { logs_in(&folder) } else { logs(&folder, arguments.function.as_deref()) };
        let files = files.or_fail(Code::Failure)?;
        if files.is_empty() && !arguments.follow {
            let of = arguments.function.as_deref().map(|name| format!(" of {name}")).unwrap_or_default();
            let none = anyhow::anyhow!("there is no log{of} in {}", folder.display());
            return Err(none).or_fail(Code::Failure);
        }
        for file in &files {
            shown.show(file, files.len() > 1).or_fail(Code::Failure)?;
        }
        if !arguments.follow {
            return Ok(());
        }
        std::thread::sleep(LOOK);
    }
}

/// The logs at `folder/REGION/ACCOUNT/NAME.log`, of `name` if there is one.
fn logs(folder: &Path, name: Option<&str>) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for region in entries(folder)? {
        for account in entries(&region)? {
            let logs = logs_in(&account)?.into_iter();
            found.extend(logs.filter(|path| name.is_none_or(|name| path.file_stem().is_some_and(|stem| stem == name))));
        }
    }
    found.sort();
    Ok(found)
}

fn logs_in(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = entries(folder)?;
    Ok(entries.into_iter().filter(|path| path.extension().is_some_and(|end| end == "log")).collect())
}

fn entries(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let listed = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    listed.map(|entry| Ok(entry.with_context(|| format!("reading {}", folder.display()))?.path())).collect()
}

/// How far each file was shown: the file's own number, because the log begins a new one under the same name, and bytes.
#[derive(Debug, Default)]
struct Shown(BTreeMap<PathBuf, (u64, u64)>);

impl Shown {
    fn show(&mut self, path: &Path, named: bool) -> anyhow::Result<()> {
        let reading = || format!("reading {}", path.display());
        let mut file = File::open(path).with_context(reading)?;
        let found = file.metadata().with_context(reading)?;
        let from = match self.0.get(path) {
            Some((inode, bytes)) if *inode == found.ino() => *bytes,
            Some(_) => 0,
            None => found.len().saturating_sub(TAIL),
        };
        file.seek(SeekFrom::Start(from)).with_context(reading)?;
        let mut bytes = Vec::new();
        file.take(found.len().saturating_sub(from)).read_to_end(&mut bytes).with_context(reading)?;
        // The rest of a line that is still being written is shown with its end.
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        for line in String::from_utf8_lossy(&bytes[..whole]).lines() {
            output::line(&if named { format!("{name}: {line}") } else { line.to_owned() })?;
        }
        self.0.insert(path.to_owned(), (found.ino(), from + whole as u64));
        Ok(())
    }
}
