//! How servers' certificates are judged in time.
//!
//! rustls asks a [`TimeProvider`] for the present and fails a certificate that is not valid then. A device without a
//! clock cell does not know the present; it only knows a moment that has certainly passed (the clock's floor). It
//! must refuse a certificate that ended before the floor, and may accept one that begins after it. That is what
//! [`PatientVerifier`] does, and only until the first authenticated `Date` arrives; from then on the present is known
//! and webpki's answer stands.
//!
//! What this costs, said plainly: until that first answer, a certificate that has expired since the floor still
//! counts as valid, just as on any device that boots with a clock in the past. The floor is at most an hour old on a
//! device that was connected when it was last switched off.

use std::sync::Arc;
use std::time::Duration;

use rustls::client::WantsClientCert;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::time_provider::TimeProvider;
use rustls::{CertificateError, ClientConfig, ConfigBuilder, DigitallySignedStruct, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use time::OffsetDateTime;

use super::Roots;
use super::provider;
use crate::clock::{Clock, VerificationTime};

/// A chain of four certificates has at most this many beginnings to move past.
const MAX_BEGINNINGS: usize = 4;

/// The start of every client configuration: ring, TLS 1.2 and 1.3, `roots`, and `clock` as the time.
pub(super) fn client_builder(roots: &Roots, clock: Arc<dyn Clock>) -> ConfigBuilder<ClientConfig, WantsClientCert> {
    let verifier = WebPkiServerVerifier::builder_with_provider(roots.store(), provider())
        .build()
        .expect("a set of roots is never empty and no revocation list is given");
    let time = Arc::new(ClockTime(Arc::clone(&clock)));
    ClientConfig::builder_with_details(provider(), time)
        .with_safe_default_protocol_versions()
        .expect("ring implements TLS 1.2 and 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(PatientVerifier { strict: verifier, clock }))
}

/// rustls' source of time: the moment at which the clock wants certificates judged.
#[derive(Debug)]
struct ClockTime(Arc<dyn Clock>);

impl TimeProvider for ClockTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(unix_time(self.0.verification_time().moment()))
    }
}

/// webpki's verifier, which moves the moment of judgement forward where the clock allows it.
#[derive(Debug)]
struct PatientVerifier {
    strict: Arc<WebPkiServerVerifier>,
    clock: Arc<dyn Clock>,
}

impl ServerCertVerifier for PatientVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let judge =
            |moment| self.strict.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, moment);
        let mut verdict = judge(now);
        if matches!(self.clock.verification_time(), VerificationTime::Known(_)) {
            return verdict;
        }
        for _ in 0..MAX_BEGINNINGS {
            let Err(Error::InvalidCertificate(CertificateError::NotValidYetContext { not_before, .. })) = verdict
            else {
                break;
            };
            verdict = judge(not_before);
        }
        verdict
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.strict.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.strict.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.strict.supported_verify_schemes()
    }
}

fn unix_time(moment: OffsetDateTime) -> UnixTime {
    // A moment before 1970 cannot come from a clock whose floor is the release date.
    UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(moment.unix_timestamp()).unwrap_or(0)))
}
