//! What most likely keeps a device from its credentials, and what to do about it: the questions of an operator who sees
//! a 403. AWS answers many mistakes with the same two words, so a cause is likely, never certain, and the likeliest
//! comes first.

use super::CredentialsError;
use crate::clock::{Clock, IMPLAUSIBLY_AHEAD, RELEASE_DATE};
use crate::http::TransportCause;

/// A likely cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The thing that config.json names is not the one that the certificate is attached to.
    ThingNotAttached,
    /// No policy of the certificate allows `iot:AssumeRoleWithCertificate` on the role alias.
    PolicyLacksAssumeRole,
    /// The role alias does not exist, or is spelt otherwise.
    WrongAlias,
    /// The certificate is inactive, revoked or not registered.
    CertificateNotActive,
    /// The role does not trust the credentials provider.
    RoleNotTrusting,
    /// The device's clock is wrong.
    SkewedClock,
    /// `crypto.caPath` does not hold the authority that signed the endpoint's certificate.
    WrongCa,
    /// The endpoint is not a credentials provider, or is spelt wrong.
    WrongEndpoint,
    /// The network, or something in it.
    Network,
    /// The proxy.
    Proxy,
    /// The provider has a fault; it passes.
    ProviderFault,
    /// The device asks too often.
    Throttled,
}

impl Cause {
    /// A name for scripts.
    pub fn name(self) -> &'static str {
        match self {
            Self::ThingNotAttached => "ThingNotAttached",
            Self::PolicyLacksAssumeRole => "PolicyLacksAssumeRole",
            Self::WrongAlias => "WrongAlias",
            Self::CertificateNotActive => "CertificateNotActive",
            Self::RoleNotTrusting => "RoleNotTrusting",
            Self::SkewedClock => "SkewedClock",
            Self::WrongCa => "WrongCa",
            Self::WrongEndpoint => "WrongEndpoint",
            Self::Network => "Network",
            Self::Proxy => "Proxy",
            Self::ProviderFault => "ProviderFault",
            Self::Throttled => "Throttled",
        }
    }

    /// What it means and what to do.
    pub fn advice(self) -> &'static str {
        match self {
            Self::ThingNotAttached => {
                "the thing of coreThing.thingArn is not attached to this certificate: `aws iot list-thing-principals`, \
                 then `attach-thing-principal`"
            }
            Self::PolicyLacksAssumeRole => {
                "no policy of the certificate allows iot:AssumeRoleWithCertificate on the role alias's ARN: `aws iot \
                 list-attached-policies --target CERTIFICATE-ARN`"
            }
            Self::WrongAlias => {
                "the role alias does not exist in this account and region, or is spelt otherwise (it is case \
                 sensitive): `aws iot list-role-aliases`"
            }
            Self::CertificateNotActive => {
                "the certificate is inactive, revoked or not registered in this account: `aws iot describe-certificate`"
            }
            Self::RoleNotTrusting => "the role behind the alias does not trust credentials.iot.amazonaws.com",
            Self::SkewedClock => {
                "the device's clock is wrong, so that certificates look expired or not yet valid: let it synchronise \
                 (NTP), and look at `clock` in `margay status`"
            }
            Self::WrongCa => {
                "crypto.caPath does not hold the authority that signed the endpoint's certificate (Amazon Root CA 1 \
                 for AWS), or something in between answers in the endpoint's place"
            }
            Self::WrongEndpoint => {
                "margay.credentials.endpoint is not what `aws iot describe-endpoint --endpoint-type \
                 iot:CredentialProvider` names"
            }
            Self::Network => "the network, its DNS or a firewall keeps the device from the endpoint (port 443)",
            Self::Proxy => "the proxy of coreThing.networkProxy or HTTPS_PROXY refuses, or cannot be reached",
            Self::ProviderFault => "the provider has a fault; the core waits and asks again",
            Self::Throttled => "the provider is asked too often; the core waits and asks again",
        }
    }
}

/// The likely causes of `error` on a device with this `clock`, likeliest first; at least one.
pub fn likely_causes(error: &CredentialsError, clock: &dyn Clock) -> Vec<Cause> {
    match error {
        CredentialsError::Unreachable { source, .. } => of_transport(&source.cause, clock),
        CredentialsError::Refused { refusal, .. } => {
            of_refusal(refusal.status, refusal.message.as_deref().unwrap_or_default())
        }
        CredentialsError::Body { .. } => vec![Cause::Network, Cause::ProviderFault],
        CredentialsError::Malformed { .. } => vec![Cause::WrongEndpoint, Cause::Proxy],
        CredentialsError::AlreadyExpired { .. } => vec![Cause::ProviderFault, Cause::SkewedClock],
    }
}

fn of_refusal(status: u16, message: &str) -> Vec<Cause> {
    let message = message.to_ascii_lowercase();
    match status {
        _ if message.contains("thing name") => vec![Cause::ThingNotAttached],
        _ if message.contains("alias") => vec![Cause::WrongAlias, Cause::WrongEndpoint],
        _ if message.contains("<html") => vec![Cause::Proxy, Cause::WrongEndpoint],
        400 | 401 | 403 => vec![
            Cause::PolicyLacksAssumeRole,
            Cause::WrongAlias,
            Cause::CertificateNotActive,
            Cause::ThingNotAttached,
            Cause::RoleNotTrusting,
        ],
        404 => vec![Cause::WrongAlias, Cause::WrongEndpoint],
        407 => vec![Cause::Proxy],
        429 => vec![Cause::Throttled],
        500..=599 => vec![Cause::ProviderFault],
        _ => vec![Cause::WrongEndpoint, Cause::Proxy],
    }
}

fn of_transport(cause: &TransportCause, clock: &dyn Clock) -> Vec<Cause> {
    use TransportCause as Transport;
    let mut causes = match cause {
        Transport::ServerExpired | Transport::ServerNotYetValid => vec![Cause::SkewedClock],
        Transport::ServerUntrusted => vec![Cause::WrongCa, Cause::WrongEndpoint],
        Transport::ServerNameMismatch | Transport::NotTls => vec![Cause::WrongEndpoint, Cause::Proxy],
        Transport::DeviceRefused(_) => vec![Cause::CertificateNotActive, Cause::WrongEndpoint],
        Transport::NameUnknown | Transport::Refused => vec![Cause::Network, Cause::WrongEndpoint],
        Transport::ProxyUnauthorised | Transport::ProxyFailed => vec![Cause::Proxy],
        _ => vec![Cause::Network],
    };
    if !causes.contains(&Cause::SkewedClock) && is_handshake(cause) && is_clock_doubtful(clock) {
        causes.insert(0, Cause::SkewedClock);
    }
    causes
}

/// Whether the failure is one that a wrong clock can bring about.
fn is_handshake(cause: &TransportCause) -> bool {
    matches!(cause, TransportCause::Handshake | TransportCause::DeviceRefused(_) | TransportCause::ServerUntrusted)
}

/// A system time before the release of this program, or years after it, that no server has confirmed.
fn is_clock_doubtful(clock: &dyn Clock) -> bool {
    let system = clock.system();
    !clock.reckoning().is_confirmed() && (system < RELEASE_DATE || system > RELEASE_DATE + IMPLAUSIBLY_AHEAD)
}

#[cfg(test)]
mod tests {
    use rustls::AlertDescription;
    use time::OffsetDateTime;

    use super::*;
    use crate::clock::FixedClock;

    #[test]
    fn what_the_provider_says_is_turned_into_what_to_look_at() {
        for (status, message, first) in [
            (403, "Invalid thing name passed", Cause::ThingNotAttached),
            (403, "Access Denied", Cause::PolicyLacksAssumeRole),
            (404, "Role alias does not exist", Cause::WrongAlias),
            (404, "", Cause::WrongAlias),
            (200, "", Cause::WrongEndpoint),
            (302, "<html>log in</html>", Cause::Proxy),
            (407, "", Cause::Proxy),
            (429, "Rate exceeded", Cause::Throttled),
            (500, "", Cause::ProviderFault),
        ] {
            assert_eq!(of_refusal(status, message)[0], first, "{status} {message}");
        }
        assert!(of_refusal(403, "Access Denied").contains(&Cause::WrongAlias), "AWS says the same of both");
    }

    #[test]
    fn what_tls_says_is_turned_into_what_to_look_at_and_a_wrong_clock_is_suspected_first() {
        let right = FixedClock::at(RELEASE_DATE + time::Duration::days(30));
        let in_1970 = FixedClock::at(OffsetDateTime::UNIX_EPOCH);
        let refused = TransportCause::DeviceRefused(AlertDescription::CertificateExpired);
        for (cause, first, first_in_1970) in [
            (TransportCause::ServerNotYetValid, Cause::SkewedClock, Cause::SkewedClock),
            (TransportCause::ServerUntrusted, Cause::WrongCa, Cause::SkewedClock),
            (TransportCause::NameUnknown, Cause::Network, Cause::Network),
            (refused, Cause::CertificateNotActive, Cause::SkewedClock),
            (TransportCause::ProxyUnauthorised, Cause::Proxy, Cause::Proxy),
        ] {
            assert_eq!(of_transport(&cause, &right)[0], first, "{cause:?}");
            assert_eq!(of_transport(&cause, &in_1970)[0], first_in_1970, "{cause:?} in 1970");
        }
    }
}
