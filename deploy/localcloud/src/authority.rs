//! The certificate authority that ties the services together: EC P-256 keys, made anew at each start. Its own private
//! key never leaves the process.
//!
//! All its certificates are valid from 2020-01-01 to 2049-12-31T23:59:59Z, the end AWS IoT gives its device
//! certificates. A device whose clock is years behind or ahead can so still be tested against it, and the beginning
//! lies before any build date that a device without a clock would assume.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::RootCertStore;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use time::Duration;

use crate::error::CloudError;
use crate::registry::CertificateId;

/// An authority that signs for servers and devices.
#[derive(Debug)]
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A device's certificate and key, in memory.
pub(crate) struct Issued {
    pub(crate) certificate_id: CertificateId,
    pub(crate) certificate_pem: String,
    pub(crate) private_key_pem: String,
}

/// A server's certificate chain and key, as rustls takes them.
pub(crate) struct ServerIdentity {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
}

impl Authority {
    pub(crate) fn new() -> Result<Self, CloudError> {
        let subject = "Margay local cloud CA";
        let issue = issue_error(subject);
        let mut params = params(subject, Vec::new()).map_err(&issue)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().map_err(&issue)?;
        let issuer = CertifiedIssuer::self_signed(params, key).map_err(&issue)?;
        Ok(Self { issuer })
    }

    /// The authority's certificate, PEM.
    pub(crate) fn certificate_pem(&self) -> String {
        self.issuer.pem()
    }

    /// The store against which client certificates are verified.
    pub(crate) fn roots(&self) -> Result<RootCertStore, rustls::Error> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone())?;
        Ok(roots)
    }

    /// A certificate for client authentication with the common name `name`.
    pub(crate) fn issue_client(&self, name: &str) -> Result<Issued, CloudError> {
        let issue = issue_error(name);
        let mut params = params(name, Vec::new()).map_err(&issue)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().map_err(&issue)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(&issue)?;
        Ok(Issued {
            certificate_id: CertificateId::of(certificate.der()),
            certificate_pem: certificate.pem(),
            private_key_pem: key.serialize_pem(),
        })
    }

    /// A certificate for the DNS names and IP addresses in `names`.
    pub(crate) fn issue_server(&self, names: Vec<String>) -> Result<ServerIdentity, CloudError> {
        let issue = issue_error("localhost");
        let mut params = params("localhost", names).map_err(&issue)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate().map_err(&issue)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(&issue)?;
        Ok(ServerIdentity {
            chain: vec![certificate.der().clone()],
            key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
        })
    }
}

fn params(common_name: &str, names: Vec<String>) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2050, 1, 1) - Duration::SECOND;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn issue_error(subject: &str) -> impl Fn(rcgen::Error) -> CloudError {
    move |source| CloudError::Issue { subject: subject.to_owned(), source }
}
