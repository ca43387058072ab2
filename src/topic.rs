//! MQTT topics and topic filters: checked once, then matched by the rules of MQTT 3.1.1, section 4.7.
//!
//! One deviation from V1's guide, on purpose: the guide lets `sensor/#` match `sensor/` but not `sensor` (C-A3). The
//! standard, AWS IoT Core and every broker let it match `sensor` as well, and so does Margay: a route that behaves
//! differently here and in the cloud would be a trap.
//!
//! Serves the group document (subjects), the router and the cloud link. Refuses what AWS IoT Core would answer by closing the
//! connection.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

mod covering;

/// The longest topic or filter, in bytes of UTF-8 (AWS IoT Core's limit; MQTT itself allows 65,535).
pub const MAX_BYTES: usize = 256;

/// The most levels of a topic that AWS IoT Core takes: seven slashes.
pub const AWS_MAX_LEVELS: usize = 8;

/// AWS IoT Core does not count these first levels of a Basic Ingest topic, `$aws/rules/<rule>`.
const BASIC_INGEST_LEVELS: usize = 3;

/// Why a text is no topic or no topic filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// MQTT-4.7.3-1: at least one character.
    #[error("a topic may not be empty")]
    Empty,
    /// Longer than [`MAX_BYTES`].
    #[error("a topic may have at most {limit} bytes, this one has {actual}")]
    TooLong {
        /// The most bytes allowed.
        limit: usize,
        /// The bytes it has.
        actual: usize,
    },
    /// A NUL (MQTT-4.7.3-2) or another control character (MQTT 1.5.3: a receiver may close the connection on it).
    #[error("a topic may not hold control characters, and {topic:?} has one at byte {position}")]
    ControlCharacter {
        /// The text as it was given.
        topic: String,
        /// Where the character is.
        position: usize,
    },
    /// A wildcard in a topic that a message is published on (MQTT-3.3.2-2).
    #[error("{topic:?} has a wildcard at byte {position}; wildcards are for subscribing, a message needs one topic")]
    Wildcard {
        /// The text as it was given.
        topic: String,
        /// Where the wildcard is.
        position: usize,
    },
    /// `#` shares its level or is not last (MQTT-4.7.1-2).
    #[error("in {filter:?}, # must be the whole last level, as in \"sensor/#\"")]
    MisplacedHash {
        /// The text as it was given.
        filter: String,
    },
    /// `+` shares its level (MQTT-4.7.1-3).
    #[error("in {filter:?}, + must be a whole level, as in \"sensor/+/read\"")]
    MisplacedPlus {
        /// The text as it was given.
        filter: String,
    },
    /// More levels than AWS IoT Core takes.
    #[error("AWS IoT Core takes at most {limit} levels, and {topic:?} has {actual}")]
    TooManyLevels {
        /// The topic or filter.
        topic: String,
        /// The most levels allowed.
        limit: usize,
        /// The levels it has.
        actual: usize,
    },
}

/// A topic that a message can be published on: 1 to 256 bytes, no wildcard, no control character. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Topic(Arc<str>);

impl Topic {
    /// The topic as it is sent.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the topic belongs to the server (`$aws/…`, `$SYS/…`): no filter that begins with a wildcard reaches it.
    pub fn is_reserved(&self) -> bool {
        self.0.starts_with('$')
    }

    /// Checks the number of levels that AWS IoT Core takes. Other brokers have no such limit, so it is no part of
    /// parsing.
    ///
    /// # Errors
    /// [`TopicError::TooManyLevels`].
    pub fn check_aws_levels(&self) -> Result<(), TopicError> {
        check_aws_levels(&self.0)
    }
}

impl FromStr for Topic {
    type Err = TopicError;

    fn from_str(text: &str) -> Result<Self, TopicError> {
        check_text(text)?;
        match text.find(['+', '#']) {
            Some(position) => Err(TopicError::Wildcard { topic: text.to_owned(), position }),
            None => Ok(Self(text.into())),
        }
    }
}

/// What a subscription selects: a topic in which `+` stands for one level and a last `#` for all that follow.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TopicFilter(Arc<str>);

impl TopicFilter {
    /// The filter as it is sent.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the filter selects `topic` (MQTT 3.1.1, section 4.7).
    pub fn matches(&self, topic: &Topic) -> bool {
        if topic.is_reserved() && self.0.starts_with(['+', '#']) {
            return false;
        }
        let mut wanted = self.0.split('/');
        let mut given = topic.0.split('/');
        loop {
            match (wanted.next(), given.next()) {
                // Also when the topic ended one level before: `sensor/#` selects `sensor`.
                (Some("#"), _) | (None, None) => return true,
                (Some("+"), Some(_)) => {}
                (Some(level), Some(same)) if level == same => {}
                _ => return false,
            }
        }
    }

    /// Checks the number of levels that AWS IoT Core takes.
    ///
    /// # Errors
    /// [`TopicError::TooManyLevels`].
    pub fn check_aws_levels(&self) -> Result<(), TopicError> {
        check_aws_levels(&self.0)
    }
}

impl FromStr for TopicFilter {
    type Err = TopicError;

    fn from_str(text: &str) -> Result<Self, TopicError> {
        check_text(text)?;
        let last = text.split('/').count() - 1;
        for (index, level) in text.split('/').enumerate() {
            if level.contains('#') && (level != "#" || index != last) {
                return Err(TopicError::MisplacedHash { filter: text.to_owned() });
            }
            if level.contains('+') && level != "+" {
                return Err(TopicError::MisplacedPlus { filter: text.to_owned() });
            }
        }
        Ok(Self(text.into()))
    }
}

fn check_text(text: &str) -> Result<(), TopicError> {
    if text.is_empty() {
        return Err(TopicError::Empty);
    }
    if text.len() > MAX_BYTES {
        return Err(TopicError::TooLong { limit: MAX_BYTES, actual: text.len() });
    }
    match text.find(char::is_control) {
        Some(position) => Err(TopicError::ControlCharacter { topic: text.to_owned(), position }),
        None => Ok(()),
    }
}

fn check_aws_levels(text: &str) -> Result<(), TopicError> {
    let uncounted = if text.starts_with("$aws/rules/") { BASIC_INGEST_LEVELS } else { 0 };
    let actual = text.split('/').count().saturating_sub(uncounted);
    if actual > AWS_MAX_LEVELS {
        return Err(TopicError::TooManyLevels { topic: text.to_owned(), limit: AWS_MAX_LEVELS, actual });
    }
    Ok(())
}

macro_rules! text_conversions {
    ($name:ident) => {
        impl TryFrom<String> for $name {
            type Error = TopicError;

            fn try_from(text: String) -> Result<Self, TopicError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.0.as_ref().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_conversions!(Topic);
text_conversions!(TopicFilter);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn topic(text: &str) -> Topic {
        text.parse().unwrap()
    }

    fn filter(text: &str) -> TopicFilter {
        text.parse().unwrap()
    }

    #[test]
    fn filters_select_what_the_standard_says() {
        for (wanted, given, selected) in [
            // MQTT 3.1.1, 4.7.1.2
            ("sport/tennis/player1/#", "sport/tennis/player1", true),
            ("sport/tennis/player1/#", "sport/tennis/player1/ranking", true),
            ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true),
            ("sport/#", "sport", true),
            ("#", "anything/at/all", true),
            // 4.7.1.3
            ("sport/tennis/+", "sport/tennis/player1", true),
            ("sport/tennis/+", "sport/tennis/player1/ranking", false),
            ("sport/+", "sport", false),
            ("sport/+", "sport/", true),
            ("+/+", "/finance", true),
            ("/+", "/finance", true),
            ("+", "/finance", false),
            ("+/tennis/#", "sport/tennis", true),
            // 4.7.2
            ("#", "$SYS/broker/load", false),
            ("+/monitor/Clients", "$SYS/monitor/Clients", false),
            ("$SYS/#", "$SYS/broker/load", true),
            ("$SYS/monitor/+", "$SYS/monitor/Clients", true),
            // 4.7.3: case, spaces and a leading slash are told apart
            ("ACCOUNTS", "accounts", false),
            ("Accounts payable", "Accounts payable", true),
            ("/finance", "finance", false),
            // the guide's example (C-A3), and the one answer that differs from it
            ("sensor/#", "sensor/", true),
            ("sensor/#", "sensor/id-123", true),
            ("sensor/#", "sensor/group-a/id-123", true),
            ("sensor/#", "sensor", true),
        ] {
            assert_eq!(filter(wanted).matches(&topic(given)), selected, "{wanted} on {given}");
        }
    }

    #[test]
    fn a_message_needs_a_topic_without_wildcards() {
        assert_eq!(
            "sensor/+/read".parse::<Topic>(),
            Err(TopicError::Wildcard { topic: "sensor/+/read".to_owned(), position: 7 })
        );
        assert_eq!("".parse::<Topic>(), Err(TopicError::Empty));
        assert!(matches!("a\0b".parse::<Topic>(), Err(TopicError::ControlCharacter { position: 1, .. })));
        assert!(matches!("a\u{7f}".parse::<Topic>(), Err(TopicError::ControlCharacter { position: 1, .. })));
    }

    #[test]
    fn a_topic_of_256_bytes_passes_and_one_of_257_is_refused() {
        assert!("x".repeat(256).parse::<Topic>().is_ok());
        assert_eq!("é".repeat(129).parse::<Topic>(), Err(TopicError::TooLong { limit: 256, actual: 258 }));
        assert!(matches!("x".repeat(257).parse::<TopicFilter>(), Err(TopicError::TooLong { .. })));
    }

    #[test]
    fn wildcards_must_be_whole_levels() {
        for text in ["sport/tennis#", "sport/tennis/#/ranking", "#/a", "##"] {
            assert!(matches!(text.parse::<TopicFilter>(), Err(TopicError::MisplacedHash { .. })), "{text}");
        }
        for text in ["sport+", "+sport/a", "a/++"] {
            assert!(matches!(text.parse::<TopicFilter>(), Err(TopicError::MisplacedPlus { .. })), "{text}");
        }
    }

    #[test]
    fn aws_takes_eight_levels_and_does_not_count_the_basic_ingest_prefix() {
        assert!(topic("1/2/3/4/5/6/7/8").check_aws_levels().is_ok());
        assert!(matches!(
            topic("1/2/3/4/5/6/7/8/9").check_aws_levels(),
            Err(TopicError::TooManyLevels { actual: 9, .. })
        ));
        assert!(topic("$aws/rules/archive/1/2/3/4/5/6/7/8").check_aws_levels().is_ok());
        assert!(filter("1/2/3/4/5/6/7/8/#").check_aws_levels().is_err());
    }

    #[test]
    fn topics_keep_their_text_through_json() {
        let json = serde_json::to_string(&filter("margay/+/#")).unwrap();
        assert_eq!(json, "\"margay/+/#\"");
        assert!(serde_json::from_str::<TopicFilter>("\"a#\"").is_err());
    }

    /// Section 4.7 said once more, over whole lists of levels.
    fn reference(filter: &str, topic: &str) -> bool {
        let wanted: Vec<&str> = filter.split('/').collect();
        let given: Vec<&str> = topic.split('/').collect();
        let hidden = given[0].starts_with('$') && (wanted[0] == "+" || wanted[0] == "#");
        let (open, fixed) = match wanted.split_last() {
            Some((&"#", parent)) => (true, parent),
            _ => (false, wanted.as_slice()),
        };
        let long_enough = if open { given.len() >= fixed.len() } else { given.len() == fixed.len() };
        !hidden && long_enough && fixed.iter().zip(&given).all(|(want, have)| *want == "+" || want == have)
    }

    fn level() -> impl Strategy<Value = &'static str> {
        prop_oneof![Just("a"), Just("b"), Just(""), Just("$a"), Just("é")]
    }

    fn any_topic() -> impl Strategy<Value = String> {
        proptest::collection::vec(level(), 1..5)
            .prop_map(|levels| levels.join("/"))
            .prop_filter("empty", |t| !t.is_empty())
    }

    fn any_filter() -> impl Strategy<Value = String> {
        let level = prop_oneof![3 => level(), 2 => Just("+")];
        (proptest::collection::vec(level, 0..5), any::<bool>())
            .prop_map(|(mut levels, open)| {
                if open {
                    levels.push("#");
                }
                levels.join("/")
            })
            .prop_filter("empty", |text| !text.is_empty())
    }

    proptest! {
        #[test]
        fn matching_agrees_with_a_naive_reading_of_the_standard(wanted in any_filter(), given in any_topic()) {
            prop_assert_eq!(filter(&wanted).matches(&topic(&given)), reference(&wanted, &given), "{} on {}", wanted, given);
        }

        #[test]
        fn no_text_makes_the_parsers_panic(text in any::<String>()) {
            if let Ok(topic) = text.parse::<Topic>() {
                prop_assert_eq!(topic.as_str(), text.as_str());
                prop_assert!(filter(&text).matches(&topic));
            }
            let _ = text.parse::<TopicFilter>();
        }
    }
}
