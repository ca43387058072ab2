//! What is asked of the deployments: which kind, on whose behalf, under which id.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// No id is longer; a job's has at most 64 characters.
const ID_LIMIT: usize = 128;

/// The id of a deployment: it names the deployment's file, too.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DeploymentId(String);

/// The text is no deployment's id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a deployment's id has 1 to {ID_LIMIT} letters, digits, - and _, and {text:?} is none")]
pub struct DeploymentIdError {
    text: String,
}

impl DeploymentId {
    /// A new one, in the form of V1's: a random UUID.
    pub fn draw() -> Self {
        let random = fastrand::u128(..);
        // Version 4, variant 1 (RFC 9562, section 5.4).
        let uuid = (random & !(0xf << 76) & !(0b11 << 62)) | (0x4 << 76) | (0b10 << 62);
        let digits = format!("{uuid:032x}");
        Self([&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-"))
    }

    /// The id as it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DeploymentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for DeploymentId {
    type Err = DeploymentIdError;

    fn from_str(text: &str) -> Result<Self, DeploymentIdError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if text.is_empty() || text.len() > ID_LIMIT || !text.bytes().all(allowed) {
            return Err(DeploymentIdError { text: text.chars().take(ID_LIMIT).collect() });
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for DeploymentId {
    type Error = DeploymentIdError;

    fn try_from(text: String) -> Result<Self, DeploymentIdError> {
        text.parse()
    }
}

impl From<DeploymentId> for String {
    fn from(id: DeploymentId) -> Self {
        id.0
    }
}

/// V1's kinds of deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// A group document, with the packages that it names as they are in S3 now.
    NewDeployment,
    /// An earlier deployment, with the packages that it had.
    Redeployment,
    /// Nothing is deployed any more.
    ResetDeployment,
    /// The same; what is being deployed is broken off.
    ForceResetDeployment,
}

/// What is to be deployed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "snake_case")]
pub enum Order {
    /// This group document.
    New {
        /// Its text, of at most [`crate::group::SIZE_LIMIT`] bytes.
        document: String,
    },
    /// What an earlier deployment deployed, package versions included.
    Again {
        /// Which one.
        of: DeploymentId,
    },
    /// Nothing: the group `{}`.
    Reset,
    /// Nothing, at once.
    ForceReset,
}

impl Order {
    /// V1's name for it.
    pub fn kind(&self) -> Kind {
        match self {
            Self::New { .. } => Kind::NewDeployment,
            Self::Again { .. } => Kind::Redeployment,
            Self::Reset => Kind::ResetDeployment,
            Self::ForceReset => Kind::ForceResetDeployment,
        }
    }
}

/// A deployment that somebody asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The id that it is to have; one that was finished already is not carried out again.
    pub id: DeploymentId,
    /// On whose behalf, for people: `margay deploy`, or a job's name.
    pub source: String,
    /// What is to be deployed.
    pub order: Order,
}

impl Request {
    /// A request under an id of its own.
    pub fn new(source: impl Into<String>, order: Order) -> Self {
        Self { id: DeploymentId::draw(), source: source.into(), order }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_file_name_and_nothing_more() {
        let drawn = DeploymentId::draw();
        assert_eq!(drawn.as_str().parse(), Ok(drawn.clone()));
        assert_eq!(drawn.as_str().len(), 36);
        assert_eq!(&drawn.as_str()[14..15], "4");
        for refused in ["", ".", "../x", "a/b", "a b", "a.json", &"x".repeat(129)] {
            assert!(refused.parse::<DeploymentId>().is_err(), "{refused:?}");
        }
    }
}
