//! Where a function's code comes from, if it does not lie at V1's place: a package in S3, a package of this device, or a
//! folder of it. V1's cloud brought code by ways of its own, which the guide does not show; the key is ours.

use std::path::PathBuf;

use crate::document::{Field, Object, Unknown};
use crate::name::{EntityId, ResourceId};
use crate::package::Sha256Digest;

use super::model::{ModelSource, read_uri};
use super::path::absolute;

/// How the names of packages end.
const PACKAGES: [&str; 3] = [".zip", ".tar.gz", ".tgz"];

/// Where a function's code comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FunctionCode {
    /// A package, which deployments bring into the store.
    Package(CodePackage),
    /// A folder of this device, as it is when a process starts.
    Folder(PathBuf),
}

/// A function's package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodePackage {
    /// The name under which the store keeps it.
    pub resource: ResourceId,
    /// Where it is.
    pub source: ModelSource,
    /// What it has to be, if the document says so.
    pub sha256: Option<Sha256Digest>,
}

impl FunctionCode {
    /// Reads `field` of the function `id`; `None` if it is refused.
    pub(super) fn read(field: &Field<'_>, id: Option<&EntityId>, virtual_hosted_s3: bool) -> Option<Self> {
        let mut code = field.object()?;
        let (uri, path) = (code.field("S3Uri"), code.field("SourcePath"));
        if uri.is_present() == path.is_present() {
            field.refuse("holds exactly one of S3Uri and SourcePath", "say where the code is");
        }
        let sha256 = code.field("Sha256");
        let expected = sha256.is_present().then(|| sha256.parsed::<Sha256Digest>());
        let uri = uri.is_present().then(|| read_uri(&uri, virtual_hosted_s3)).flatten();
        let path = path.is_present().then(|| absolute(&path)).flatten();
        code.finish(Unknown::Refuse);
        let source = match (uri, path) {
            (Some(uri), _) => ModelSource::S3(uri),
            (None, Some(path)) if is_package(&path) => ModelSource::File(path),
            (None, Some(path)) => {
                if sha256.is_present() {
                    sha256.refuse(
                        "is of a package, and SourcePath is a folder",
                        "take it out, or name a .zip or .tar.gz",
                    );
                }
                return Some(Self::Folder(path));
            }
            (None, None) => return None,
        };
        let sha256 = expected.map_or(Some(None), |digest| digest.map(Some))?;
        Some(Self::Package(CodePackage { resource: resource_of(id?), source, sha256 }))
    }

    /// The package, if it is one.
    pub fn package(&self) -> Option<&CodePackage> {
        match self {
            Self::Package(package) => Some(package),
            Self::Folder(_) => None,
        }
    }
}

fn is_package(path: &std::path::Path) -> bool {
    PACKAGES.iter().any(|ending| path.to_string_lossy().to_ascii_lowercase().ends_with(ending))
}

/// The store's name for the code of the function `id`, within the length of a resource's id.
fn resource_of(id: &EntityId) -> ResourceId {
    let digest = Sha256Digest::of(id.as_str().as_bytes());
    let name = ResourceId::new(format!("code:{id}")).or_else(|_| ResourceId::new(format!("code:{digest}")));
    name.expect("letters, digits, ':', '_' and '-', at most 128 of them")
}

/// Refuses a resource that the store would take for a function's code.
pub(super) fn refuse_resources(object: &mut Object<'_>) {
    let id = object.field("Id");
    if id.text().is_some_and(|text| text.starts_with("code:")) {
        id.refuse("begins with code:, by which the store names functions' code", "take another id");
    }
}
