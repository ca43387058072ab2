//! Amazon Resource Names as V1's documents use them: things, certificates, functions and connectors, in the partitions
//! `aws`, `aws-cn` and `aws-us-gov`. An ARN here identifies; nothing is looked up by it.

use std::fmt;
use std::str::FromStr;

use crate::name::{NameError, Region, ThingName};

mod connector;
mod function;
mod training_job;

pub use connector::ConnectorArn;
pub use function::FunctionArn;
pub use training_job::TrainingJobArn;

/// Why a text is not the ARN that it was meant to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArnError {
    /// It does not have the six parts of an ARN.
    #[error("an ARN has the form arn:partition:service:region:account-id:resource")]
    Form,
    /// The partition is none that AWS IoT has.
    #[error("{found:?} is no partition; they are aws, aws-cn and aws-us-gov")]
    Partition {
        /// The partition as it was written.
        found: String,
    },
    /// The ARN belongs to another service than the one asked for.
    #[error("this ARN belongs to the service {found:?}, not to {expected}")]
    Service {
        /// The service that was asked for.
        expected: &'static str,
        /// The service as it was written.
        found: String,
    },
    /// The region is not one.
    #[error("the ARN's region cannot be read")]
    Region(#[source] NameError),
    /// The account is not twelve digits.
    #[error("the ARN's account id {found:?} is not 12 digits")]
    Account {
        /// The account as it was written.
        found: String,
    },
    /// The last part does not have the shape that this kind of ARN asks for.
    #[error("the resource {found:?} of the ARN does not have the form {expected}")]
    Resource {
        /// The shape that was asked for.
        expected: &'static str,
        /// The part as it was written.
        found: String,
    },
    /// A name inside the ARN is not one.
    #[error("a name in the ARN cannot be read")]
    Name(#[source] NameError),
}

/// The separate clouds that AWS runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Partition {
    /// `aws`, everywhere but the other two.
    Aws,
    /// `aws-cn`, China.
    AwsCn,
    /// `aws-us-gov`, GovCloud.
    AwsUsGov,
}

impl Partition {
    /// The name as ARNs write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Aws => "aws",
            Self::AwsCn => "aws-cn",
            Self::AwsUsGov => "aws-us-gov",
        }
    }

    /// The domain under which the partition's endpoints live.
    pub fn dns_suffix(self) -> &'static str {
        match self {
            Self::Aws | Self::AwsUsGov => "amazonaws.com",
            Self::AwsCn => "amazonaws.com.cn",
        }
    }
}

impl FromStr for Partition {
    type Err = ArnError;

    fn from_str(text: &str) -> Result<Self, ArnError> {
        match text {
            "aws" => Ok(Self::Aws),
            "aws-cn" => Ok(Self::AwsCn),
            "aws-us-gov" => Ok(Self::AwsUsGov),
            other => Err(ArnError::Partition { found: other.to_owned() }),
        }
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The parts of an ARN, split and not yet judged but for the partition and the service.
struct Parts<'t> {
    partition: Partition,
    region: &'t str,
    account: &'t str,
    resource: &'t str,
}

impl<'t> Parts<'t> {
    fn split(text: &'t str, service: &'static str) -> Result<Self, ArnError> {
        let mut parts = text.splitn(6, ':');
        let mut next = || parts.next().ok_or(ArnError::Form);
        if next()? != "arn" {
            return Err(ArnError::Form);
        }
        let partition = next()?;
        let found = next()?;
        let (region, account, resource) = (next()?, next()?, next()?);
        let partition = partition.parse()?;
        if found != service {
            return Err(ArnError::Service { expected: service, found: found.to_owned() });
        }
        Ok(Self { partition, region, account, resource })
    }

    fn region(&self) -> Result<Region, ArnError> {
        Region::new(self.region).map_err(ArnError::Region)
    }

    fn account(&self) -> Result<String, ArnError> {
        let valid = self.account.len() == 12 && self.account.bytes().all(|byte| byte.is_ascii_digit());
        if valid { Ok(self.account.to_owned()) } else { Err(ArnError::Account { found: self.account.to_owned() }) }
    }

    fn resource_after(&self, prefix: &str, expected: &'static str) -> Result<&'t str, ArnError> {
        let found = self.resource;
        found.strip_prefix(prefix).ok_or_else(|| ArnError::Resource { expected, found: found.to_owned() })
    }
}

/// `arn:partition:iot:region:account-id:thing/name`: a core or a device.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ThingArn {
    partition: Partition,
    region: Region,
    account: String,
    thing: ThingName,
}

impl ThingArn {
    /// The cloud that the thing is registered in.
    pub fn partition(&self) -> Partition {
        self.partition
    }

    /// The region that the thing is registered in.
    pub fn region(&self) -> &Region {
        &self.region
    }

    /// The account that owns the thing: twelve digits.
    pub fn account(&self) -> &str {
        &self.account
    }

    /// The thing's name.
    pub fn thing(&self) -> &ThingName {
        &self.thing
    }
}

impl FromStr for ThingArn {
    type Err = ArnError;

    fn from_str(text: &str) -> Result<Self, ArnError> {
        let parts = Parts::split(text, "iot")?;
        let thing = parts.resource_after("thing/", "thing/thing-name")?;
        Ok(Self {
            partition: parts.partition,
            region: parts.region()?,
            account: parts.account()?,
            thing: ThingName::new(thing).map_err(ArnError::Name)?,
        })
    }
}

impl fmt::Display for ThingArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "arn:{}:iot:{}:{}:thing/{}", self.partition, self.region, self.account, self.thing)
    }
}

/// `arn:partition:iot:region:account-id:cert/id`: the certificate that is attached to a thing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CertificateArn(String);

impl FromStr for CertificateArn {
    type Err = ArnError;

    fn from_str(text: &str) -> Result<Self, ArnError> {
        const EXPECTED: &str = "cert/certificate-id";
        let parts = Parts::split(text, "iot")?;
        parts.region()?;
        parts.account()?;
        let id = parts.resource_after("cert/", EXPECTED)?;
        if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(ArnError::Resource { expected: EXPECTED, found: parts.resource.to_owned() });
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for CertificateArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_thing_arn_gives_its_parts_in_every_partition() {
        for partition in ["aws", "aws-cn", "aws-us-gov"] {
            let text = format!("arn:{partition}:iot:us-west-2:123456789012:thing/core-1");
            let arn: ThingArn = text.parse().expect("a thing ARN");
            assert_eq!(arn.partition().as_str(), partition);
            assert_eq!(arn.region().as_str(), "us-west-2");
            assert_eq!(arn.account(), "123456789012");
            assert_eq!(arn.thing().as_str(), "core-1");
            assert_eq!(arn.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_thing_arn_is_refused_with_its_reason() {
        let reason = |text: &str| text.parse::<ThingArn>().expect_err("a refusal");
        assert_eq!(reason("thing/core-1"), ArnError::Form);
        assert!(matches!(reason("arn:azure:iot:r:123456789012:thing/a"), ArnError::Partition { .. }));
        assert!(matches!(reason("arn:aws:s3:r:123456789012:thing/a"), ArnError::Service { .. }));
        assert!(matches!(reason("arn:aws:iot:US:123456789012:thing/a"), ArnError::Region(_)));
        assert!(matches!(reason("arn:aws:iot:r:12345:thing/a"), ArnError::Account { .. }));
        assert!(matches!(reason("arn:aws:iot:r:123456789012:cert/a"), ArnError::Resource { .. }));
        assert!(matches!(reason("arn:aws:iot:r:123456789012:thing/a b"), ArnError::Name(_)));
    }

    #[test]
    fn a_certificate_arn_ends_in_an_id() {
        assert!("arn:aws:iot:us-west-2:123456789012:cert/0a1b".parse::<CertificateArn>().is_ok());
        assert!("arn:aws:iot:us-west-2:123456789012:cert/".parse::<CertificateArn>().is_err());
        assert!("arn:aws:iot:us-west-2:123456789012:cert/x/z".parse::<CertificateArn>().is_err());
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_parsers_and_what_they_accept_reads_back(
            text in "arn:(aws|aws-cn):(iot|lambda|greengrass):[a-z0-9-]{0,12}:([0-9]{12})?:[a-zA-Z0-9:/_$-]{0,40}|\\PC{0,60}"
        ) {
            if let Ok(arn) = text.parse::<ThingArn>() { prop_assert_eq!(arn.to_string(), text.clone()); }
            if let Ok(arn) = text.parse::<CertificateArn>() { prop_assert_eq!(arn.to_string(), text.clone()); }
            if let Ok(arn) = text.parse::<FunctionArn>() { prop_assert_eq!(arn.to_string(), text.clone()); }
            if let Ok(arn) = text.parse::<ConnectorArn>() { prop_assert_eq!(arn.to_string(), text.clone()); }
        }
    }
}
