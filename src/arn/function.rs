//! ARNs of Lambda functions: a user's, by alias or version, and the system functions that configure the core.

use std::fmt;
use std::str::FromStr;

use super::{ArnError, Parts};

const EXPECTED: &str = "function:name:alias-or-version";

/// `arn:partition:lambda:region:account-id:function:name:alias-or-version`. A system function has neither region nor
/// account: `arn:aws:lambda:::function:GGCloudSpooler:1`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FunctionArn {
    text: String,
    name: String,
    qualifier: String,
    system: bool,
}

impl FunctionArn {
    /// The function's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The alias or version that the group refers to.
    pub fn qualifier(&self) -> &str {
        &self.qualifier
    }

    /// Whether this is one of the core's own functions, which has neither region nor account.
    pub fn is_system(&self) -> bool {
        self.system
    }

    /// The ARN as it is written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for FunctionArn {
    type Err = ArnError;

    fn from_str(text: &str) -> Result<Self, ArnError> {
        let parts = Parts::split(text, "lambda")?;
        let shape = || ArnError::Resource { expected: EXPECTED, found: parts.resource.to_owned() };
        let (name, qualifier) = parts.resource_after("function:", EXPECTED)?.split_once(':').ok_or_else(shape)?;
        if !is_name(name) || !is_qualifier(qualifier) {
            return Err(shape());
        }
        let system = parts.region.is_empty() && parts.account.is_empty();
        if !system {
            parts.region()?;
            parts.account()?;
        }
        Ok(Self { text: text.to_owned(), name: name.to_owned(), qualifier: qualifier.to_owned(), system })
    }
}

/// Lambda developer guide, `FunctionName`: 1 to 64 of `[a-zA-Z0-9_-]`.
fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(is_word)
}

/// A version number or an alias. `$LATEST` is not supported on a core, and `$` is in no alias.
fn is_qualifier(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.bytes().all(is_word)
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

impl fmt::Display for FunctionArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_users_function_is_named_by_alias_or_version() {
        let arn: FunctionArn =
            "arn:aws:lambda:us-west-2:012345678901:function:lraTest:1".parse().expect("a function ARN");
        assert_eq!((arn.name(), arn.qualifier(), arn.is_system()), ("lraTest", "1", false));
        assert!("arn:aws:lambda:us-west-2:012345678901:function:lraTest:mlTest".parse::<FunctionArn>().is_ok());
    }

    #[test]
    fn the_spooler_is_a_system_function() {
        let arn: FunctionArn = "arn:aws:lambda:::function:GGCloudSpooler:1".parse().expect("a function ARN");
        assert_eq!((arn.name(), arn.is_system()), ("GGCloudSpooler", true));
    }

    #[test]
    fn a_function_without_a_version_or_at_latest_is_refused_as_a_27_asks() {
        for text in [
            "arn:aws:lambda:us-west-2:012345678901:function:f",
            "arn:aws:lambda:us-west-2:012345678901:function:f:$LATEST",
            "arn:aws:lambda:us-west-2::function:f:1",
            "arn:aws:lambda::012345678901:function:f:1",
            "arn:aws:lambda:us-west-2:012345678901:layer:f:1",
        ] {
            assert!(text.parse::<FunctionArn>().is_err(), "{text}");
        }
    }
}
