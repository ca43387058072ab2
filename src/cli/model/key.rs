//! `margay model key`: a pair of keys that signs packages.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::super::exit::{Code, Failed, OrFail};
use super::{output, read_password};
use crate::package;

/// Make a pair of keys that signs packages: NAME.key, to be kept secret, and NAME.pub, for the devices.
///
/// The files are minisign's, and either tool reads the other's.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:  margay model key fleet --password-file secret.txt")]
pub(super) struct Arguments {
    /// Where the files go, without an ending
    name: PathBuf,
    /// Lock the secret key with the password in this file
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failed> {
    let password = read_password(arguments.password_file.as_deref())?;
    let (public, secret) = package::generate_keys(password.as_ref()).or_fail(Code::Failure)?;
    let (key_file, public_file) = (ending(&arguments.name, "key"), ending(&arguments.name, "pub"));
    write_new(&key_file, secret.expose(), 0o600).or_fail(Code::Failure)?;
    write_new(&public_file, &public, 0o644).or_fail(Code::Failure)?;
    let line = public.lines().nth(1).unwrap_or_default();
    output::line(&format!("secret      {}, for whoever packs; keep it off the devices", key_file.display()))
        .and_then(|()| output::line(&format!("public      {}", public_file.display())))
        .and_then(|()| {
            output::line(&format!(
                "devices     \"packages\": {{\"signatures\": \"required\", \"publicKeys\": [\"{line}\"]}}"
            ))
        })
        .and_then(|()| output::line(&format!("next        margay model sign --key {} PACKAGE", key_file.display())))
        .or_fail(Code::Failure)
}

fn ending(name: &Path, ending: &str) -> PathBuf {
    let mut name = name.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    name.into()
}

/// Writes a file that must not be there yet: a key that is lost cannot be made again.
fn write_new(path: &Path, content: &str, mode: u32) -> anyhow::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .with_context(|| format!("making {}, which must not be there yet", path.display()))?;
    file.write_all(content.as_bytes())
        .and_then(|()| file.sync_all())
        .with_context(|| format!("writing {}", path.display()))
}
