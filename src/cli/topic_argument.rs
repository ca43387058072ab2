//! Topics and filters on the command line: refused with the rule that they break, also where they are no text.

use std::ffi::OsString;
use std::fmt;
use std::str::FromStr;

use clap::builder::{OsStringValueParser, TypedValueParser};

use crate::topic::TopicError;

/// Why an argument is no topic.
#[derive(Debug, thiserror::Error)]
enum Refused {
    /// MQTT-1.5.3-1.
    #[error("a topic is UTF-8 text, and this one has other bytes: {}", given.display())]
    NotText { given: OsString },
    #[error(transparent)]
    Rule(#[from] TopicError),
}

/// Reads a [`Topic`](crate::topic::Topic) or a [`TopicFilter`](crate::topic::TopicFilter).
pub(super) fn parser<T>() -> impl TypedValueParser<Value = T>
where
    T: FromStr<Err = TopicError> + Clone + fmt::Debug + Send + Sync + 'static,
{
    OsStringValueParser::new().try_map(|given| {
        let text = given.into_string().map_err(|given| Refused::NotText { given })?;
        Ok::<T, Refused>(text.parse()?)
    })
}
