//! Identity files as people have them, right and wrong, and servers' certificates of every age.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tempfile::TempDir;
use time::OffsetDateTime;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::{FileRole, Identity, IdentityError, IdentityFiles, Roots, provider};
use crate::clock::{Clock, FixedClock, FloorReason, RELEASE_DATE};

fn testdata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/identity/testdata").join(name)
}

fn files(certificate: &str, private_key: &str) -> IdentityFiles {
    IdentityFiles {
        certificate: testdata(certificate),
        private_key: testdata(private_key),
        ca: testdata("ec.cert.pem"),
    }
}

fn day(offset: i64) -> OffsetDateTime {
    RELEASE_DATE + time::Duration::days(offset)
}

#[test]
fn keys_in_sec1_and_pkcs1_are_loaded_with_their_certificates() {
    for (certificate, key) in [("ec.cert.pem", "ec-sec1.key"), ("rsa.cert.pem", "rsa-pkcs1.key")] {
        let identity = Identity::load(&files(certificate, key)).unwrap_or_else(|error| panic!("{key}: {error}"));
        assert_eq!(identity.not_after().year(), 2098, "a GeneralizedTime, as RFC 5280 wants it from 2050 on");
        assert_eq!(identity.roots().len(), 1);
    }
}

#[test]
fn a_key_of_another_certificate_is_named_with_both_files() {
    let error = Identity::load(&files("ec.cert.pem", "rsa-pkcs1.key")).unwrap_err();
    assert!(matches!(error, IdentityError::KeyMismatch { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("rsa-pkcs1.key") && text.contains("ec.cert.pem"), "{text}");
}

#[test]
fn a_certificate_of_version_1_is_refused_with_how_to_make_another() {
    let error = Identity::load(&files("v1.cert.pem", "v1.key")).unwrap_err();
    assert!(matches!(error, IdentityError::UnsupportedCertificate { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("v1.cert.pem") && text.contains("-copy_extensions copy"), "{text}");
}

#[test]
fn each_wrong_file_is_named_with_what_it_holds_and_what_was_wanted() {
    let directory = tempfile::tempdir().unwrap();
    let file = |content: &str| {
        let path = directory.path().join("file");
        fs::write(&path, content).unwrap();
        path
    };
    let of_certificate = |content: &str| {
        let path = file(content);
        Identity::load(&IdentityFiles { certificate: path, ..files("", "ec-sec1.key") }).unwrap_err().to_string()
    };
    let of_key = |content: &str| {
        let path = file(content);
        Identity::load(&IdentityFiles { private_key: path, ..files("ec.cert.pem", "") }).unwrap_err().to_string()
    };
    let key = fs::read_to_string(testdata("ec-sec1.key")).unwrap();
    let certificate = fs::read_to_string(testdata("ec.cert.pem")).unwrap();
    for (text, expected) in [
        (of_certificate(""), "is empty"),
        (of_certificate("hello"), "is not PEM"),
        (of_certificate("0\u{1}binary"), "DER"),
        (of_certificate(&key), "holds a private key"),
        (of_certificate("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), "not a readable X.509"),
        (of_certificate(&"x".repeat(2 << 20)), "larger than 1048576 bytes"),
        (of_key(&certificate), "holds a certificate"),
        (of_key("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"), "no passphrase"),
        (of_key("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"), "holds a public key"),
        (of_key("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), "EC P-256"),
    ] {
        assert!(text.contains(expected), "expected {expected:?} in {text:?}");
        assert!(text.contains(&directory.path().join("file").display().to_string()), "{text}");
    }
}

#[test]
fn a_missing_file_is_named_with_its_key_in_the_configuration() {
    let missing = Identity::load(&files("ec.cert.pem", "none.key")).unwrap_err();
    assert!(matches!(missing, IdentityError::Missing { role: FileRole::PrivateKey, .. }));
    let text = missing.to_string();
    assert!(text.contains("none.key") && text.contains("IoTCertificate.privateKeyPath"), "{text}");
    let directory = Identity::load(&files("", "ec-sec1.key")).unwrap_err();
    assert!(matches!(directory, IdentityError::Unreadable { role: FileRole::Certificate, .. }), "{directory:?}");
}

#[test]
fn an_expired_certificate_is_named_and_a_valid_one_raises_the_clocks_floor() {
    let identity = Identity::load(&files("ec.cert.pem", "ec-sec1.key")).unwrap();
    let clock = FixedClock::at(OffsetDateTime::UNIX_EPOCH);
    identity.check_validity(&clock).unwrap();
    assert_eq!(clock.reckoning().floor().reason, FloorReason::DeviceCertificate);
    assert!(clock.now() > RELEASE_DATE, "the device cannot be older than its certificate");

    let clock = FixedClock::at(day(1));
    clock.learn(day(365 * 80));
    let error = identity.check_validity(&clock).unwrap_err();
    assert!(error.to_string().contains("expired on 2098"), "{error}");
}

#[test]
fn neither_debug_nor_errors_show_the_key() {
    let identity = Identity::load(&files("ec.cert.pem", "ec-sec1.key")).unwrap();
    let key = fs::read_to_string(testdata("ec-sec1.key")).unwrap();
    let shown = format!("{identity:?}");
    assert!(key.lines().all(|line| !shown.contains(line)));
}

/// A server whose certificate is valid in a period of its own.
struct AgedServer {
    roots: Roots,
    address: std::net::SocketAddr,
    _directory: TempDir,
}

impl AgedServer {
    async fn start(from: OffsetDateTime, to: OffsetDateTime) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        (params.not_before, params.not_after) = (from, to);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &authority).unwrap();

        let directory = tempfile::tempdir().unwrap();
        let ca = directory.path().join("ca.pem");
        fs::write(&ca, authority.pem()).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move { acceptor.accept(stream).await.is_ok() });
            }
        });
        Self { roots: Roots::from_file(&ca).unwrap(), address, _directory: directory }
    }

    /// Whether a device with `clock` accepts the server.
    async fn is_accepted_by(&self, clock: Arc<dyn Clock>) -> bool {
        let connector = TlsConnector::from(self.roots.client_config(clock));
        let stream = TcpStream::connect(self.address).await.unwrap();
        connector.connect("localhost".try_into().unwrap(), stream).await.is_ok()
    }
}

#[tokio::test]
async fn a_device_without_the_time_accepts_what_may_be_valid_and_refuses_what_has_certainly_ended() {
    let (first_boot, ahead) = (OffsetDateTime::UNIX_EPOCH, day(3650));
    // Valid from, valid to, what the device believes, whether it must connect.
    for (from, to, system, accepted) in [
        (-30, 60, first_boot, true),
        (100, 190, first_boot, true), // issued after this version was released
        (-90, -1, first_boot, false),
        (-30, 60, ahead, true),
        (100, 190, ahead, true),
        (-90, -1, ahead, false),
        // A plausible clock is believed.
        (-30, 60, day(10), true),
        (100, 190, day(10), false),
        (100, 190, day(150), true),
        (-30, 60, day(61), false),
    ] {
        let server = AgedServer::start(day(from), day(to)).await;
        let clock = Arc::new(FixedClock::at(system));
        assert_eq!(server.is_accepted_by(clock).await, accepted, "valid {from}..{to}, device at {system}");
    }
}

#[tokio::test]
async fn once_a_server_has_told_the_time_certificates_are_judged_by_it_alone() {
    for (from, to, accepted) in [(-30, 60, false), (100, 190, false), (250, 340, true), (301, 390, false)] {
        let server = AgedServer::start(day(from), day(to)).await;
        let clock = Arc::new(FixedClock::at(OffsetDateTime::UNIX_EPOCH));
        clock.learn(day(300));
        assert_eq!(server.is_accepted_by(clock).await, accepted, "valid {from}..{to}, today is day 300");
    }
}

#[tokio::test]
async fn an_authority_that_is_not_trusted_stays_so_whatever_the_time() {
    let (server, other) = (AgedServer::start(day(-30), day(60)).await, AgedServer::start(day(-30), day(60)).await);
    let stranger = AgedServer { roots: other.roots.clone(), address: server.address, _directory: server._directory };
    for system in [OffsetDateTime::UNIX_EPOCH, day(1), day(3650)] {
        assert!(!stranger.is_accepted_by(Arc::new(FixedClock::at(system))).await);
    }
}

mod validity {
    use rustls_pki_types::CertificateDer;

    use super::super::validity::Validity;

    proptest::proptest! {
        #[test]
        fn no_bytes_break_the_reader(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let _ = Validity::of(&CertificateDer::from(bytes));
        }

        #[test]
        fn no_damage_to_a_certificate_breaks_the_reader(at in 0usize..400, value: u8, cut in 0usize..400) {
            let identity = super::Identity::load(&super::files("ec.cert.pem", "ec-sec1.key")).unwrap();
            let mut bytes = identity.certified_key.cert[0].to_vec();
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
            bytes.truncate(cut.max(1));
            let _ = Validity::of(&CertificateDer::from(bytes));
        }
    }
}
