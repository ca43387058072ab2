//! The package's archive: the same files give the same bytes, and it appears under its name whole or not at all.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use tempfile::NamedTempFile;

use super::PackError;
use crate::package::Sha256Digest;

/// Packs everything in `directory` below one parent directory `top` (B-12); returns the archive's size and digest.
pub(super) fn write(directory: &Path, top: &str, output: &Path) -> Result<(u64, Sha256Digest), PackError> {
    let folder = output.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let failed = PackError::write;
    let file = NamedTempFile::new_in(folder).map_err(failed(folder))?;
    fill(file.as_file(), directory, top).map_err(failed(output))?;
    file.as_file().set_permissions(fs::Permissions::from_mode(0o644)).map_err(failed(output))?;
    file.as_file().sync_all().map_err(failed(output))?;
    let digest = File::open(file.path()).and_then(Sha256Digest::of_reader).map_err(failed(output))?;
    let bytes = file.as_file().metadata().map_err(failed(output))?.len();
    file.persist(output).map_err(|error| failed(output)(error.error))?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed(folder))?;
    Ok((bytes, digest))
}

fn fill(file: &File, directory: &Path, top: &str) -> io::Result<()> {
    let mut archive = tar::Builder::new(GzEncoder::new(BufWriter::new(file), Compression::best()));
    for path in files_below(directory)? {
        let name = Path::new(top).join(path.strip_prefix(directory).map_err(io::Error::other)?);
        let mut content = File::open(&path)?;
        let mut header = tar::Header::new_gnu();
        header.set_size(content.metadata()?.len());
        header.set_mode(0o644);
        // Nothing of the packer's machine or clock: the digest tells packages apart by what they hold.
        header.set_mtime(0);
        archive.append_data(&mut header, name, &mut content)?;
    }
    archive.into_inner()?.finish()?.flush()
}

/// Every file below `directory`, the manifest first and the rest by name.
fn files_below(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let (mut files, mut folders) = (Vec::new(), vec![directory.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort_by_key(|path| (!path.ends_with(crate::package::MANIFEST_FILE), path.clone()));
    Ok(files)
}
