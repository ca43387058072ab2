//! Notices that the device's certificate, its key, the authorities or config.json changed, and takes them over without a
//! restart, for credentials and S3 at once and for MQTT at the next connection: certificates are renewed by tools that
//! know nothing of the core.
//!
//! Files are looked at, not watched: a rename, a copy, a mount and an editor all end in other metadata. What cannot be
//! used leaves everything as it was, and is looked at again when it changes again.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::services::Services;
use crate::config::{self, Config};
use crate::mqtt::link::Link;

/// How often the files are looked at.
const INTERVAL: Duration = Duration::from_secs(2);

/// What tells one state of a file from another: device, inode, size, and the time of its last change in nanoseconds.
type Look = Option<(u64, u64, u64, i64, i64)>;

/// Takes over what changes in the file `config_path` and the files that it names, until dropped. `services` and `link` were
/// built `link` from `config`.
pub(super) async fn watch(config_path: PathBuf, config: Config, services: Services, link: Link) {
    let mut config = config;
    let mut seen = look(&config_path, &config);
    loop {
        tokio::time::sleep(INTERVAL).await;
        let now = look(&config_path, &config);
        if now == seen {
            continue;
        }
        match take_over(&config_path, &config, &services, &link) {
            Ok(changed) => config = changed,
            Err(error) => {
                tracing::warn!(error = &*error, "the changed certificate, key, CA or configuration is not used");
            }
        }
        seen = look(&config_path, &config);
    }
}

fn take_over(
    path: &Path,
    old: &Config,
    services: &Services,
    link: &Link,
) -> Result<Config, Box<dyn std::error::Error + Send + Sync>> {
    let changed = config::load(path)?.document;
    link.change_tls(services.change_identity(&changed)?);
    let provider = changed.credentials.as_ref().map(|provider| provider.role_alias.as_str());
    tracing::info!(thing = %changed.core_thing.thing_arn.thing(), role_alias = provider, "the identity was read again; credentials are renewed");
    // Everything else of the new configuration waits for the next start.
    Ok(Config {
        crypto: changed.crypto,
        s3: config::S3 { ca_path: changed.s3.ca_path, ..old.s3.clone() },
        ..old.clone()
    })
}

fn look(config_path: &Path, config: &Config) -> Vec<Look> {
    let crypto = &config.crypto;
    let files = [config_path, &crypto.certificate_path, &crypto.private_key_path, &crypto.ca_path];
    files.into_iter().chain(config.s3.ca_path.as_deref()).map(look_at).collect()
}

fn look_at(path: &Path) -> Look {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino(), metadata.size(), metadata.ctime(), metadata.ctime_nsec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_replaced_rewritten_or_removed_looks_different() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("certificate");
        fs::write(&path, "one").unwrap();
        let first = look_at(&path);
        assert_eq!(look_at(&path), first);
        fs::write(folder.path().join("other"), "two").unwrap();
        fs::rename(folder.path().join("other"), &path).unwrap();
        let second = look_at(&path);
        assert_ne!(first, second);
        fs::write(&path, "three").unwrap();
        assert_ne!(look_at(&path), second);
        fs::remove_file(&path).unwrap();
        assert_eq!(look_at(&path), None);
    }
}
