//! Why there are no credentials, for the operator who has to change that, and how long each reason stays valid.

use std::fmt;
use std::time::Duration;

use crate::config::CredentialRetry;
use crate::http::{BodyError, TransportCause, TransportError};

/// Why no credentials could be had. Cloneable: one failed fetch answers everybody who waited for it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CredentialsError {
    /// The provider could not be reached.
    #[error("fetching credentials for role alias {role_alias}")]
    Unreachable {
        /// The role alias asked for.
        role_alias: String,
        /// Why.
        #[source]
        source: TransportError,
    },
    /// The provider answered, but not with credentials.
    #[error("fetching credentials for role alias {role_alias} as thing {thing}: {refusal}")]
    Refused {
        /// The role alias asked for.
        role_alias: String,
        /// The thing named in the request.
        thing: String,
        /// What came back.
        refusal: Refusal,
    },
    /// The provider's body broke off or was too long.
    #[error("reading the answer for role alias {role_alias}")]
    Body {
        /// The role alias asked for.
        role_alias: String,
        /// Why.
        #[source]
        source: BodyError,
    },
    /// The provider said 200 with something that is not a credentials document.
    #[error(
        "reading the answer for role alias {role_alias}: {problem}; check that {endpoint} is an iot:CredentialProvider endpoint"
    )]
    Malformed {
        /// The role alias asked for.
        role_alias: String,
        /// The endpoint asked.
        endpoint: String,
        /// What is wrong; never a part of the body.
        problem: &'static str,
    },
    /// The provider handed out credentials that had already ended.
    #[error(
        "the credentials for role alias {role_alias} ended at {expiration}, before the provider's own date {date}; check the provider's clock"
    )]
    AlreadyExpired {
        /// The role alias asked for.
        role_alias: String,
        /// The end of their life.
        expiration: time::OffsetDateTime,
        /// The provider's `Date`.
        date: time::OffsetDateTime,
    },
}

/// A refusal of the provider: its status, and its own words as far as they can be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// The body's `message`, or the body itself where it has none; shortened and without control characters.
    pub message: Option<String>,
}

impl Refusal {
    /// What to look at, most likely first.
    pub fn remedy(&self) -> &'static str {
        let message = self.message.as_deref().unwrap_or_default();
        match self.status {
            403 if message.contains("thing name") => {
                "the thing name in config.json must be the name of the thing that this certificate is attached to"
            }
            403 => {
                "check that the certificate is active and attached to this thing, that a policy attached to it allows \
                 iot:AssumeRoleWithCertificate on this role alias, and that the role trusts credentials.iot.amazonaws.com"
            }
            404 => "check the role alias and the endpoint (iot:CredentialProvider) in config.json",
            429 => "too many requests; the core waits and tries again",
            400..=499 => "check the role alias and the thing name in config.json",
            500..=599 => "the provider has a fault; the core waits and tries again",
            _ => "check that the endpoint in config.json is an iot:CredentialProvider endpoint",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the provider answered {}", self.status)?;
        if let Some(message) = &self.message {
            write!(f, " {message:?}")?;
        }
        write!(f, "; {}", self.remedy())
    }
}

impl CredentialsError {
    /// How long the provider is left alone after this error; `None` when the connection's own backoff decides.
    pub(super) fn pause(&self, retry: &CredentialRetry) -> Option<Duration> {
        match self {
            Self::Unreachable { .. } | Self::Body { source: BodyError::Broken(_), .. } => None,
            Self::Refused { refusal, .. } => Some(match refusal.status {
                400..=499 => retry.client_error,
                500..=599 => retry.server_error,
                _ => retry.unknown_error,
            }),
            Self::Body { .. } | Self::Malformed { .. } | Self::AlreadyExpired { .. } => Some(retry.unknown_error),
        }
    }

    /// A short name of the class, for metrics, status documents and the token exchange endpoint's `code`.
    pub fn class(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "ProviderUnreachable",
            Self::Refused { refusal, .. } => match refusal.status {
                400..=499 => "ProviderRefused",
                500..=599 => "ProviderFault",
                _ => "ProviderUnexpected",
            },
            Self::Body { .. } => "ProviderBroken",
            Self::Malformed { .. } => "ProviderMalformed",
            Self::AlreadyExpired { .. } => "ProviderExpired",
        }
    }

    /// The provider's status and words, if it refused.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused { refusal, .. } => Some(refusal),
            _ => None,
        }
    }

    /// Whether the connection was cut, which another one may not be.
    pub(super) fn is_interruption(&self) -> bool {
        match self {
            Self::Unreachable { source, .. } | Self::Body { source: BodyError::Broken(source), .. } => {
                source.cause == TransportCause::Interrupted
            }
            _ => false,
        }
    }

    /// Whether the provider gave an answer that nobody can use, as opposed to none or a refusal.
    pub fn is_nonsense(&self) -> bool {
        match self {
            Self::Body { source, .. } => matches!(source, BodyError::TooLarge { .. }),
            Self::Malformed { .. } | Self::AlreadyExpired { .. } => true,
            Self::Unreachable { .. } | Self::Refused { .. } => false,
        }
    }

    /// Whether waiting alone may mend it: true for the network and the provider's faults, false for what an operator
    /// has to change. The provider is asked again in either case.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Body { .. } => true,
            Self::Refused { refusal, .. } => refusal.status == 429 || refusal.status >= 500,
            Self::Malformed { .. } | Self::AlreadyExpired { .. } => false,
        }
    }
}
