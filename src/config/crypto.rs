//! `crypto`: where the certificates and keys are (A-10, contract D3), and the form before it, with paths in `coreThing`.

use std::path::{Path, PathBuf};

use crate::document::{Field, Object, Unknown};
use crate::secret::Secret;

use super::path::resolve_file_uri;

/// The keys of `coreThing` that `crypto` replaces.
pub(super) const LEGACY_KEYS: [&str; 3] = ["caPath", "certPath", "keyPath"];

/// The guide's text for a scheme that is neither `file://` nor `pkcs11:` (contract G1).
const UNKNOWN_SCHEME: &str = "Error occurred while generating TLS config: ErrUnknownURIScheme";
/// The guide's text for a file of neither form (contract G1).
const MISSING_PATHS: &str = "The configuration file is missing the CaPath, CertPath or KeyPath.";

/// Where the files of the core's identity are, and what else `crypto` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crypto {
    /// The authorities that the cloud's certificates are checked against, PEM.
    pub ca_path: PathBuf,
    /// The core's certificate, PEM.
    pub certificate_path: PathBuf,
    /// The core's private key, PEM.
    pub private_key_path: PathBuf,
    /// The local MQTT server's own private key; this version has no local server.
    pub mqtt_server_key_path: Option<PathBuf>,
    /// The secrets manager's private key; this version has no secrets manager.
    pub secrets_manager_key_path: Option<PathBuf>,
    /// The hardware security module; this version signs with key files only.
    pub pkcs11: Option<Pkcs11>,
}

/// How to reach a hardware security module (`crypto.PKCS11`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pkcs11 {
    /// The provider's library.
    pub provider: PathBuf,
    /// The label of the slot.
    pub slot_label: String,
    /// The user's PIN of the slot.
    pub slot_user_pin: Secret,
    /// OpenSSL's engine, which only V1's update agent needs.
    pub openssl_engine: Option<PathBuf>,
}

impl Crypto {
    /// Reads the `crypto` object.
    pub(super) fn read(mut crypto: Object<'_>, root: &Path) -> Option<Self> {
        let ca = crypto.field("caPath").required("write file:///absolute/path/to/root.ca.pem");
        let ca_path = file(&ca, root);
        let pkcs11 = crypto.field("PKCS11").object().and_then(Pkcs11::read);

        let principals = crypto.field("principals").required("write the object that names the keys");
        let mut principals = principals.section();
        let mut core = principals.field("IoTCertificate").required("name the core's certificate and key").section();
        let certificate = core.field("certificatePath").required("write file:///absolute/path/to/certificate.pem");
        let certificate_path = file(&certificate, root);
        let key = core.field("privateKeyPath").required("write file:///absolute/path/to/private.key");
        let private_key_path = private_key(&key, root);
        core.finish(Unknown::Warn);
        let mqtt_server_key_path = other_key(principals.field("MQTTServerCertificate"), root);
        let secrets_manager_key_path = other_key(principals.field("SecretsManager"), root);
        principals.finish(Unknown::Warn);
        crypto.finish(Unknown::Warn);
        Some(Self {
            ca_path: ca_path?,
            certificate_path: certificate_path?,
            private_key_path: private_key_path?,
            mqtt_server_key_path,
            secrets_manager_key_path,
            pkcs11,
        })
    }

    /// Reads the form without `crypto`: file names in `coreThing`, relative to `$ROOT/certs`.
    pub(super) fn read_legacy(core: &mut Object<'_>, root: &Path) -> Option<Self> {
        let [ca_path, certificate_path, private_key_path] = LEGACY_KEYS.map(|key| legacy_file(core.field(key), root));
        Some(Self {
            ca_path: ca_path?,
            certificate_path: certificate_path?,
            private_key_path: private_key_path?,
            mqtt_server_key_path: None,
            secrets_manager_key_path: None,
            pkcs11: None,
        })
    }
}

impl Pkcs11 {
    fn read(mut pkcs11: Object<'_>) -> Option<Self> {
        let provider = pkcs11.field("P11Provider").required("write the path of the provider's .so").text();
        let slot_label = pkcs11.field("slotLabel").required("write the slot's label").text();
        let pin = pkcs11.field("slotUserPin").secret().required("write the user PIN of the slot").text();
        let openssl_engine = pkcs11.field("OpenSSLEngine").text();
        pkcs11.finish(Unknown::Warn);
        Some(Self {
            provider: PathBuf::from(provider?),
            slot_label: slot_label?.to_owned(),
            slot_user_pin: Secret::new(pin?),
            openssl_engine: openssl_engine.map(PathBuf::from),
        })
    }
}

fn legacy_file(field: Field<'_>, root: &Path) -> Option<PathBuf> {
    let field = field.required_as(MISSING_PATHS, "add the crypto object, or all three of them to coreThing");
    let text = field.text()?;
    if text.is_empty() || text.contains('\0') || text.contains("://") || text.starts_with("pkcs11:") {
        field.refuse("is a file's name in the certs folder", "move URIs into the crypto object");
        return None;
    }
    Some(root.join("certs").join(text))
}

/// A certificate, which is always a file: loading certificates from a hardware module is not supported (contract D3).
fn file(field: &Field<'_>, root: &Path) -> Option<PathBuf> {
    let text = field.text()?;
    if text.starts_with("pkcs11:") {
        let rule = "is a PKCS#11 URI, and certificates are not loaded from a hardware security module";
        field.refuse(rule, "export the certificate to a file and write file:///…");
        return None;
    }
    file_of(field, text, root)
}

fn file_of(field: &Field<'_>, text: &str, root: &Path) -> Option<PathBuf> {
    if text.starts_with("file://") {
        return resolve_file_uri(field, text, root);
    }
    field.refuse(UNKNOWN_SCHEME, "write file:///absolute/path/to/file");
    None
}

/// The core's private key.
fn private_key(field: &Field<'_>, root: &Path) -> Option<PathBuf> {
    let text = field.text()?;
    if text.starts_with("pkcs11:") {
        let rule = "is a PKCS#11 URI, which this version reads and cannot use: it signs with key files only";
        field.refuse(rule, "write file:///absolute/path/to/private.key");
        return None;
    }
    file_of(field, text, root)
}

/// The key of a principal that this version does not have. A key in a hardware module is no reason to refuse here.
fn other_key(principal: Field<'_>, root: &Path) -> Option<PathBuf> {
    let mut principal = principal.object()?;
    let key = principal.field("privateKeyPath").required("write file:///absolute/path/to/private.key");
    principal.finish(Unknown::Warn);
    let text = key.text()?;
    if text.starts_with("pkcs11:") {
        key.warn("is a PKCS#11 URI of a principal that this version does not have", "leave it for a later version");
        return None;
    }
    file_of(&key, text, root)
}
