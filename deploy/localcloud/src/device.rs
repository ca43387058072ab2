//! The three files with which a device proves who it is, named as Greengrass V1's downloads were, and written so that
//! no reader ever sees half a file and nobody but the owner sees a key.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::authority::Issued;
use crate::error::CloudError;
use crate::registry::CertificateId;

/// Where a device's identity lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceFiles {
    /// Identifier of the certificate.
    pub certificate_id: CertificateId,
    /// The authority's certificate, PEM.
    pub ca: PathBuf,
    /// The device's certificate, PEM.
    pub certificate: PathBuf,
    /// The device's private key, PKCS #8 PEM, mode 0600.
    pub private_key: PathBuf,
}

impl DeviceFiles {
    /// Writes an issued identity below `dir`, which is made if absent.
    pub(crate) fn write(dir: &Path, ca_pem: &str, issued: &Issued) -> Result<Self, CloudError> {
        fs::create_dir_all(dir).map_err(|source| CloudError::Write { path: dir.to_owned(), source })?;
        let short_id = &issued.certificate_id.as_str()[..10];
        let files = Self {
            certificate_id: issued.certificate_id.clone(),
            ca: dir.join("root.ca.pem"),
            certificate: dir.join(format!("{short_id}.cert.pem")),
            private_key: dir.join(format!("{short_id}.private.key")),
        };
        write_pem(&files.ca, ca_pem)?;
        write_pem(&files.certificate, &issued.certificate_pem)?;
        write_pem(&files.private_key, &issued.private_key_pem)?;
        Ok(files)
    }
}

/// Puts `pem` at `path` with mode 0600, by way of a temporary name in the same directory.
pub(crate) fn write_pem(path: &Path, pem: &str) -> Result<(), CloudError> {
    replace(path, pem.as_bytes()).map_err(|source| CloudError::Write { path: path.to_owned(), source })
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("partial");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.set_permissions(Permissions::from_mode(0o600))?; // a leftover of that name keeps its own mode otherwise
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_for_its_owner_only_and_replaces_the_older_one_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("core.private.key");
        fs::write(path.with_extension("partial"), "left by a crash, and longer than what follows").unwrap();
        write_pem(&path, "first").unwrap();
        write_pem(&path, "second").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "second");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file stays");
    }
}
