//! The names that cross modules, each a type whose value has been checked: things, role aliases, entities and resources
//! of a group, cameras, regions, hosts and S3 objects. A name that exists is valid; nothing downstream checks it again.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

mod host;
mod origin;
mod s3_uri;

pub use host::{Endpoint, Host};
pub use origin::Origin;
pub(crate) use s3_uri::is_old_bucket;
pub use s3_uri::{S3Uri, S3UriError};

/// Why a text is not the name that it was meant to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// A name has at least one character.
    #[error("a {kind} may not be empty")]
    Empty {
        /// What the text was meant to be, such as `thing name`.
        kind: &'static str,
    },
    /// The name is longer than its kind allows.
    #[error("a {kind} has at most {limit} characters, this one has {actual}")]
    TooLong {
        /// What the text was meant to be.
        kind: &'static str,
        /// The most characters that its kind allows.
        limit: usize,
        /// The characters that it has.
        actual: usize,
    },
    /// The name holds a character that its kind does not allow.
    #[error("a {kind} is written with {allowed}, and {found:?} is none of them")]
    Character {
        /// What the text was meant to be.
        kind: &'static str,
        /// The characters that its kind allows.
        allowed: &'static str,
        /// The first character that is not allowed.
        found: char,
    },
    /// The characters are allowed, their order is not.
    #[error("a {kind} {rule}")]
    Shape {
        /// What the text was meant to be.
        kind: &'static str,
        /// The rule that it breaks.
        rule: &'static str,
    },
}

/// What a kind of name allows.
struct Rule {
    kind: &'static str,
    limit: usize,
    allowed: &'static str,
    allows: fn(char) -> bool,
}

impl Rule {
    fn check(&self, text: &str) -> Result<(), NameError> {
        let (kind, limit, allowed) = (self.kind, self.limit, self.allowed);
        if text.is_empty() {
            return Err(NameError::Empty { kind });
        }
        if let Some(found) = text.chars().find(|&c| !(self.allows)(c)) {
            return Err(NameError::Character { kind, allowed, found });
        }
        let actual = text.chars().count();
        if actual > limit {
            return Err(NameError::TooLong { kind, limit, actual });
        }
        Ok(())
    }
}

/// Defines a name: its type, its parser, and how it is shown and serialised.
macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $rule:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            const RULE: Rule = $rule;

            /// Checks `text` against the rule of this kind of name.
            pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
                let text = text.into();
                Self::RULE.check(&text)?;
                Ok(Self(text))
            }

            /// The name as it is written.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

const ENTITY_CHARACTERS: &str = "letters, digits, ':', '_' and '-'";

fn is_entity_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, ':' | '_' | '-')
}

name! {
    /// The name of a thing in the AWS IoT registry: 1 to 128 of `[a-zA-Z0-9:_-]`.
    ThingName,
    Rule { kind: "thing name", limit: 128, allowed: ENTITY_CHARACTERS, allows: is_entity_character }
}

name! {
    /// The name of a role alias of the AWS IoT credentials provider: 1 to 128 of `[a-zA-Z0-9_=,@-]`.
    RoleAlias,
    Rule {
        kind: "role alias",
        limit: 128,
        allowed: "letters, digits, '_', '=', ',', '@' and '-'",
        allows: |c| c.is_ascii_alphanumeric() || matches!(c, '_' | '=' | ',' | '@' | '-'),
    }
}

name! {
    /// An MQTT client identifier that AWS IoT accepts: 1 to 128 visible ASCII characters without a wildcard or slash.
    ClientId,
    Rule {
        kind: "client id",
        limit: 128,
        allowed: "visible ASCII characters other than '/', '+' and '#'",
        allows: |c| c.is_ascii_graphic() && !matches!(c, '/' | '+' | '#'),
    }
}

name! {
    /// The `Id` of an entity of a group: 1 to 128 of `[a-zA-Z0-9:_-]` (B-01, the form with the hyphen).
    EntityId,
    Rule { kind: "id", limit: 128, allowed: ENTITY_CHARACTERS, allows: is_entity_character }
}

name! {
    /// The `Id` of a resource of a group, by which functions and connectors refer to it: 1 to 128 of
    /// `[a-zA-Z0-9:_-]` (B-01).
    ResourceId,
    Rule { kind: "resource id", limit: 128, allowed: ENTITY_CHARACTERS, allows: is_entity_character }
}

name! {
    /// The `Name` of a resource of a group: 1 to 128 of `[a-zA-Z0-9:_-]` (B-01).
    ResourceName,
    Rule { kind: "resource name", limit: 128, allowed: ENTITY_CHARACTERS, allows: is_entity_character }
}

name! {
    /// The name of a camera, one level of the topics that carry its predictions: 1 to 64 of `[a-zA-Z0-9_-]`.
    CameraName,
    Rule {
        kind: "camera name",
        limit: 64,
        allowed: "letters, digits, '_' and '-'",
        allows: |c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'),
    }
}

name! {
    /// The name of a region, a label of host names such as `us-west-2`: 1 to 32 of `[a-z0-9-]`.
    Region,
    Rule {
        kind: "region",
        limit: 32,
        allowed: "lower-case letters, digits and '-'",
        allows: |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-',
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_resource_id_is_one_to_128_of_the_guides_characters_as_v5_asks() {
        assert!(ResourceId::new("data-volume").is_ok());
        assert!(ResourceId::new("a:b_c-9").is_ok());
        assert!(ResourceId::new("x".repeat(128)).is_ok());
        assert_eq!(
            ResourceId::new("x".repeat(129)),
            Err(NameError::TooLong { kind: "resource id", limit: 128, actual: 129 })
        );
        assert_eq!(ResourceId::new(""), Err(NameError::Empty { kind: "resource id" }));
        let refused = ResourceId::new("my model").expect_err("a space is not allowed");
        assert_eq!(
            refused.to_string(),
            "a resource id is written with letters, digits, ':', '_' and '-', and ' ' is none of them"
        );
    }

    #[test]
    fn a_camera_name_cannot_add_levels_or_wildcards_to_a_topic() {
        assert!(CameraName::new("front-door_2").is_ok());
        for hostile in ["a/b", "+", "#", "a b", "é"] {
            assert!(CameraName::new(hostile).is_err(), "{hostile}");
        }
    }

    #[test]
    fn names_pass_through_json_and_are_checked_on_the_way_in() {
        let name: ThingName = serde_json::from_str("\"core-1\"").expect("a valid name");
        assert_eq!(serde_json::to_string(&name).expect("a string"), "\"core-1\"");
        assert!(serde_json::from_str::<ThingName>("\"core 1\"").is_err());
    }

    proptest! {
        #[test]
        fn a_name_that_is_accepted_is_shown_as_it_was_written(text in "\\PC{0,140}") {
            if let Ok(name) = EntityId::new(text.clone()) {
                prop_assert_eq!(name.to_string(), text.clone());
                prop_assert!(text.len() <= 128 && !text.is_empty());
            }
        }
    }
}
