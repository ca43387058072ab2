//! ARNs of SageMaker training jobs, whose result may be a machine learning resource (B-10, B-30).

use std::fmt;
use std::str::FromStr;

use super::{ArnError, Partition, Parts};
use crate::name::Region;

const EXPECTED: &str = "training-job/name";

/// `arn:partition:sagemaker:region:account-id:training-job/name`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TrainingJobArn {
    text: String,
    partition: Partition,
    region: Region,
    name: String,
}

impl TrainingJobArn {
    /// The job's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it ran.
    pub fn region(&self) -> &Region {
        &self.region
    }

    /// Which of AWS's clouds it ran in.
    pub fn partition(&self) -> Partition {
        self.partition
    }

    /// The ARN as it is written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for TrainingJobArn {
    type Err = ArnError;

    fn from_str(text: &str) -> Result<Self, ArnError> {
        let parts = Parts::split(text, "sagemaker")?;
        let name = parts.resource_after("training-job/", EXPECTED)?;
        if !is_name(name) {
            return Err(ArnError::Resource { expected: EXPECTED, found: parts.resource.to_owned() });
        }
        let region = parts.region()?;
        parts.account()?;
        Ok(Self { text: text.to_owned(), partition: parts.partition, region, name: name.to_owned() })
    }
}

/// SageMaker API reference, `TrainingJobName`: 1 to 63 letters, digits and hyphens, beginning with none.
fn is_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (1..=63).contains(&text.len()) && text.bytes().all(allowed) && !text.starts_with('-')
}

impl fmt::Display for TrainingJobArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_has_a_region_an_account_and_a_name_b_30() {
        let text = "arn:aws:sagemaker:us-west-2:123456789012:training-job/image-2019-07-11";
        let arn: TrainingJobArn = text.parse().expect("an ARN");
        assert_eq!((arn.name(), arn.region().as_str(), arn.as_str()), ("image-2019-07-11", "us-west-2", text));
        for refused in [
            "arn:aws:sagemaker:us-west-2:123456789012:training-job/",
            "arn:aws:sagemaker:us-west-2:123456789012:training-job/-a",
            "arn:aws:sagemaker:us-west-2:123456789012:training-job/a_b",
            "arn:aws:sagemaker:us-west-2:123456789012:model/a",
            "arn:aws:sagemaker:us-west-2:1:training-job/a",
            "arn:aws:s3:us-west-2:123456789012:training-job/a",
        ] {
            assert!(refused.parse::<TrainingJobArn>().is_err(), "{refused}");
        }
    }
}
