//! ARNs of connectors, which belong to no account.

use std::fmt;
use std::str::FromStr;

use super::{ArnError, Partition, Parts};
use crate::name::Region;

const EXPECTED: &str = "/connectors/ConnectorName/versions/number";

/// `arn:partition:greengrass:region::/connectors/Name/versions/n` (contract A1).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ConnectorArn {
    partition: Partition,
    region: Region,
    name: String,
    version: u32,
}

impl ConnectorArn {
    /// The connector's name, such as `MargayImageClassifier`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The connector's version, counted from 1.
    pub fn version(&self) -> u32 {
        self.version
    }
}

impl FromStr for ConnectorArn {
    type Err = ArnError;

    fn from_str(text: &str) -> Result<Self, ArnError> {
        let parts = Parts::split(text, "greengrass")?;
        let shape = || ArnError::Resource { expected: EXPECTED, found: parts.resource.to_owned() };
        if !parts.account.is_empty() {
            return Err(ArnError::Account { found: parts.account.to_owned() });
        }
        let (name, version) =
            parts.resource_after("/connectors/", EXPECTED)?.split_once("/versions/").ok_or_else(shape)?;
        if !is_name(name) {
            return Err(shape());
        }
        let version = version_number(version).ok_or_else(shape)?;
        Ok(Self { partition: parts.partition, region: parts.region()?, name: name.to_owned(), version })
    }
}

/// The names in the guide are letters, digits and hyphens (`ImageClassificationx86-64`).
fn is_name(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// A number from 1, written without a sign or leading zeros, so that equal versions are equal texts.
fn version_number(text: &str) -> Option<u32> {
    let canonical = text.starts_with(|c: char| matches!(c, '1'..='9')) && text.bytes().all(|b| b.is_ascii_digit());
    canonical.then(|| text.parse().ok()).flatten()
}

impl fmt::Display for ConnectorArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { partition, region, name, version } = self;
        write!(f, "arn:{partition}:greengrass:{region}::/connectors/{name}/versions/{version}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connector_arn_gives_its_name_and_version() {
        let text = "arn:aws:greengrass:us-west-2::/connectors/ImageClassificationx86-64/versions/2";
        let arn: ConnectorArn = text.parse().expect("a connector ARN");
        assert_eq!((arn.name(), arn.version()), ("ImageClassificationx86-64", 2));
        assert_eq!(arn.to_string(), text);
    }

    #[test]
    fn what_is_no_connector_arn_is_refused() {
        for text in [
            "arn:aws:greengrass:us-west-2:123456789012:/connectors/A/versions/1",
            "arn:aws:greengrass:us-west-2::/connectors/A/versions/0",
            "arn:aws:greengrass:us-west-2::/connectors/A/versions/01",
            "arn:aws:greengrass:us-west-2::/connectors/A/versions/+1",
            "arn:aws:greengrass:us-west-2::/connectors/A/versions/99999999999",
            "arn:aws:greengrass:us-west-2::/connectors//versions/1",
            "arn:aws:greengrass:us-west-2::/connectors/A",
            "arn:aws:greengrass:::/connectors/A/versions/1",
        ] {
            assert!(text.parse::<ConnectorArn>().is_err(), "{text}");
        }
    }
}
