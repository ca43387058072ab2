//! Packages for tests: the bundled one taken apart, changed, and packed again.

use std::collections::BTreeMap;
use std::io::Read;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

use super::device::PACKAGE;

/// A package's files by name, without their parent directory.
#[derive(Clone)]
pub struct Package(pub BTreeMap<String, Vec<u8>>);

impl Package {
    /// The bundled package.
    pub fn bundled() -> Self {
        let mut files = BTreeMap::new();
        let mut archive = tar::Archive::new(GzDecoder::new(PACKAGE));
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            if entry.header().entry_type().is_file() {
                let path = entry.path().unwrap().into_owned();
                let name: std::path::PathBuf = path.components().skip(1).collect();
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes).unwrap();
                files.insert(name.to_str().unwrap().to_owned(), bytes);
            }
        }
        Self(files)
    }

    /// The manifest's text.
    pub fn manifest(&self) -> String {
        String::from_utf8(self.0["model.toml"].clone()).unwrap()
    }

    /// Puts `bytes` at `name` and its digest into the manifest.
    pub fn replace(&mut self, name: &str, bytes: Vec<u8>) {
        let old = hex(&self.0[name]);
        let manifest = self.manifest().replace(&old, &hex(&bytes));
        self.0.insert(name.to_owned(), bytes);
        self.0.insert("model.toml".to_owned(), manifest.into_bytes());
    }

    /// The archive, as .tar.gz with a parent directory (B-12).
    pub fn pack(&self) -> Vec<u8> {
        let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        for (name, bytes) in &self.0 {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            archive.append_data(&mut header, format!("package/{name}"), bytes.as_slice()).unwrap();
        }
        archive.into_inner().unwrap().finish().unwrap()
    }
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
