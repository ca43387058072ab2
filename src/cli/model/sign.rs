//! `margay model sign`: a signature beside a package.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::super::exit::{Code, Failed, OrFail};
use super::{Package, output, read_password};
use crate::package::{self, SIGNATURE_SUFFIX};
use crate::secret::Secret;

/// The largest secret key file, in bytes.
const MAX_KEY_BYTES: u64 = 4096;

/// Sign a package: PACKAGE.minisig is written beside it, and goes into the bucket beside it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:  margay model sign --key fleet.key road-signs-1.0.0.tar.gz")]
pub(super) struct Arguments {
    /// The package: a .tar.gz or .zip
    package: PathBuf,
    /// The secret key, of margay model key or minisign
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The file with the password that unlocks the key
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failed> {
    // Nobody signs what no device would take.
    let package = Package::open(&arguments.package)?;
    package.check_digests()?;
    let (name, version) = package.name_and_version();
    let password = read_password(arguments.password_file.as_deref())?;
    let key = read_key(&arguments.key).or_fail(Code::Failure)?;
    let archive = File::open(&arguments.package).or_fail(Code::Failure)?;
    let comment = format!("{name} {version}");
    let signature = package::sign(&key, password.as_ref(), &comment, archive).or_fail(Code::Failure)?;
    let path = signature_path(&arguments.package);
    write(&path, &signature).with_context(|| format!("writing {}", path.display())).or_fail(Code::Failure)?;
    output::line(&format!("signature   {}, covers \"{comment}\"", path.display())).or_fail(Code::Failure)
}

/// Where the signature of a package lies.
pub(super) fn signature_path(package: &Path) -> PathBuf {
    let mut path = package.as_os_str().to_owned();
    path.push(SIGNATURE_SUFFIX);
    path.into()
}

fn read_key(path: &Path) -> anyhow::Result<Secret> {
    let mut text = String::new();
    let file = File::open(path).with_context(|| format!("opening the secret key {}", path.display()))?;
    file.take(MAX_KEY_BYTES).read_to_string(&mut text).with_context(|| format!("reading {}", path.display()))?;
    Ok(Secret::new(text))
}

/// Replaces the file in one step.
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.as_file().set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
    file.as_file().sync_all()?;
    file.persist(path).map(drop).map_err(|error| error.error)
}
