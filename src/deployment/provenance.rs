//! Who packed a model: the signature that lies beside its package, as `margay.packages` asks for it.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::Packages;
use crate::name::S3Uri;
use crate::package::{MAX_SIGNATURE_BYTES, SIGNATURE_SUFFIX, SignatureError, SignaturePolicy, verify_signature};
use crate::s3::{DownloadError, S3Client};
use crate::store::InstalledModel;

/// Whose packages are taken. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Provenance(Arc<Packages>);

/// Why a package counts as nobody's.
#[derive(Debug, thiserror::Error)]
pub enum ProvenanceError {
    /// The signature is missing, or not good.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// The signature could not be fetched.
    #[error("fetching the signature")]
    Download(#[source] Box<DownloadError>),
    /// The signature's name fits no object.
    #[error("the package's name is too long to have a signature beside it")]
    Name,
    /// The files could not be read.
    #[error("reading {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl ProvenanceError {
    /// Whether the same deployment may succeed later: a signature may be uploaded after its package.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Signature(SignatureError::Missing) | Self::Download(_) | Self::Read { .. })
    }
}

impl Provenance {
    /// As the configuration asks.
    #[must_use]
    pub fn new(packages: Packages) -> Self {
        Self(Arc::new(packages))
    }

    /// Whether an installed package need not be fetched again to be trusted: it was signed by a key that still is, or
    /// nobody asks.
    #[must_use]
    pub fn trusts(&self, installed: &InstalledModel) -> bool {
        match self.0.signatures {
            SignaturePolicy::Off => true,
            SignaturePolicy::Preferred | SignaturePolicy::Required => {
                installed.signed_by().is_some_and(|key| self.0.public_keys.iter().any(|known| known.number() == key))
            }
        }
    }

    /// Fetches the signature of `uri` to `to`, and holds `archive` against it. Returns the number of the key, or `None`
    /// where no signature is needed and none is there.
    ///
    /// # Errors
    /// [`ProvenanceError`]; then the package must not be taken.
    pub async fn check(
        &self,
        s3: &S3Client,
        uri: &S3Uri,
        archive: &Path,
        to: &Path,
    ) -> Result<Option<String>, ProvenanceError> {
        if self.0.signatures == SignaturePolicy::Off {
            return Ok(None);
        }
        let signature: S3Uri = format!("{uri}{SIGNATURE_SUFFIX}").parse().map_err(|_| ProvenanceError::Name)?;
        match s3.download(&signature, to, None, |_| {}).await {
            Ok(_) => {}
            Err(error) if error.is_missing() && self.0.signatures == SignaturePolicy::Preferred => {
                tracing::warn!(%uri, "the package is not signed; it is taken, because signatures are only preferred");
                return Ok(None);
            }
            Err(error) if error.is_missing() => return Err(SignatureError::Missing.into()),
            Err(error) => return Err(ProvenanceError::Download(error.into())),
        }
        let (packages, archive, to) = (self.0.clone(), archive.to_owned(), to.to_owned());
        let verified = tokio::task::spawn_blocking(move || verify(&packages, &archive, &to)).await;
        verified.unwrap_or_else(|error| Err(ProvenanceError::Read { path: PathBuf::new(), source: error.into() }))
    }
}

impl Provenance {
    /// Holds `archive`, a copy of the file `package` of this device, against the signature that lies beside that file.
    ///
    /// # Errors
    /// As for [`Provenance::check`].
    pub fn check_beside(&self, package: &Path, archive: &Path) -> Result<Option<String>, ProvenanceError> {
        if self.0.signatures == SignaturePolicy::Off {
            return Ok(None);
        }
        let mut signature = package.as_os_str().to_owned();
        signature.push(SIGNATURE_SUFFIX);
        let signature = PathBuf::from(signature);
        match (signature.exists(), self.0.signatures) {
            (true, _) => verify(&self.0, archive, &signature),
            (false, SignaturePolicy::Preferred) => {
                tracing::warn!(package = %package.display(), "the package is not signed; it is taken, because signatures are only preferred");
                Ok(None)
            }
            (false, _) => Err(SignatureError::Missing.into()),
        }
    }
}

fn verify(packages: &Packages, archive: &Path, signature: &Path) -> Result<Option<String>, ProvenanceError> {
    let read = |path: &Path| {
        let path = path.to_owned();
        move |source| ProvenanceError::Read { path, source }
    };
    let mut text = Vec::new();
    let file = File::open(signature).map_err(read(signature))?;
    file.take(MAX_SIGNATURE_BYTES + 1).read_to_end(&mut text).map_err(read(signature))?;
    let malformed = |reason: &str| SignatureError::Malformed { reason: reason.to_owned() };
    if text.len() as u64 > MAX_SIGNATURE_BYTES {
        return Err(malformed("it has more than 4096 bytes").into());
    }
    let text = String::from_utf8(text).map_err(|_| malformed("it is no text"))?;
    let signed = verify_signature(&packages.public_keys, &text, File::open(archive).map_err(read(archive))?)?;
    tracing::info!(key = signed.key, comment = signed.comment, "the package is signed");
    Ok(Some(signed.key))
}
