//! V1's ML Feedback connector: which samples go where (B-32).

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde_json::{Map, Value};

use crate::document::{Field, Notes, Object, Unknown};
use crate::feedback::{self, Configuration, FeedbackSettings, Strategy};
use crate::group::{Connector, Group, Party};
use crate::name::is_old_bucket;

use super::{is_configuration_id, refuse_without_container};

/// The connector's name in its ARN.
pub const NAME: &str = feedback::CONNECTOR;

/// Its one version.
const VERSION: u32 = 1;

/// Configurations of a connector: more than any group has use for.
const MOST_CONFIGURATIONS: usize = 256;

/// What files of these types are called.
const EXTENSIONS: [(&str, &[&str]); 4] = [
    ("image/jpeg", &["jpg", "jpeg"]),
    ("image/png", &["png"]),
    ("application/json", &["json"]),
    ("audio/ogg", &["ogg", "oga"]),
];

/// A request's number, whose place in a key is checked with it.
const ANY_ID: &str = "00000000-0000-0000-0000-000000000000";

/// Reads the parameters of `connector`; `None` if one is refused.
pub(super) fn read(connector: &Connector, group: &Group, notes: &Notes) -> Option<FeedbackSettings> {
    let contained = refuse_without_container(connector, group, notes);
    let version = connector.arn.version();
    if version != VERSION {
        let rule = format!("is version {version} of {NAME}, which has version {VERSION}");
        notes.error(&connector.path_of("ConnectorArn"), connector.shown_arn(), rule, "write …/versions/1");
    }
    let mut parameters = Object::at(connector.path_of("Parameters"), &connector.parameters, notes);
    let map = parameters.field("FeedbackConfigurationMap").required("write a JSON document as a string");
    let configurations = read_map(&map, notes);
    let request_limit = read_limit(&parameters.field("RequestLimit"));
    parameters.finish(Unknown::Warn);
    warn_without_route(connector, group, notes);
    (contained && version == VERSION).then_some(())?;
    Some(FeedbackSettings {
        arn: connector.arn.clone(),
        configurations: configurations?,
        request_limit: request_limit?,
    })
}

/// `Some(None)` for the empty string, and where nothing is said.
fn read_limit(field: &Field<'_>) -> Option<Option<u16>> {
    if !field.is_present() || field.is_empty_text() {
        return Some(None);
    }
    let text = field.text()?;
    let number = text.parse::<u16>().ok().filter(|_| text.len() <= 3 && text.bytes().all(|byte| byte.is_ascii_digit()));
    if number.is_none() {
        field.refuse("is not empty and no number from 0 to 999 (^$|^[0-9]{1,3}$)", "write for example 10");
    }
    number.map(Some)
}

fn read_map(field: &Field<'_>, notes: &Notes) -> Option<BTreeMap<String, Configuration>> {
    let text = field.text()?;
    let mut reader = serde_json::Deserializer::from_str(text);
    let parsed = reader.deserialize_map(Entries).and_then(|entries| reader.end().map(|()| entries));
    let entries: Vec<(String, Value)> = match parsed {
        Ok(entries) => entries,
        Err(error) => {
            field.refuse(format!("is no JSON object of feedback configurations: {error}"), "correct the JSON");
            return None;
        }
    };
    if entries.is_empty() || entries.len() > MOST_CONFIGURATIONS {
        let rule = format!("has {} feedback configurations, and 1 to {MOST_CONFIGURATIONS} are taken", entries.len());
        field.refuse(rule, "describe at least one");
        return None;
    }
    let count = entries.len();
    let read =
        entries.iter().filter_map(|(id, body)| Some((id.clone(), read_configuration(field.path(), id, body, notes)?)));
    let configurations: BTreeMap<_, _> = read.collect();
    // One that is left out is refused, or was there twice.
    if configurations.len() < count {
        let mut ids: Vec<&str> = entries.iter().map(|(id, _)| id.as_str()).collect();
        ids.sort_unstable();
        for pair in ids.windows(2).filter(|pair| pair[0] == pair[1]) {
            notes.error(
                &format!("{}.{}", field.path(), pair[0]),
                None,
                "is there twice",
                "give each configuration an id of its own",
            );
        }
        return None;
    }
    Some(configurations)
}

fn read_configuration(path: &str, id: &str, body: &Value, notes: &Notes) -> Option<Configuration> {
    let shown: String = id.chars().take(64).collect();
    let path = format!("{path}.{shown}");
    let valid = is_configuration_id(id);
    if !valid {
        let rule = "is no id: 2 to 63 letters, digits and hyphens, beginning with a letter or digit \
                    (^[a-zA-Z0-9][a-zA-Z0-9-]{1,62}$)";
        notes.error(&path, None, rule, "write for example MyConfig0");
    }
    let Some(entries) = body.as_object() else {
        notes.error(&path, None, "is no object", "write {\"s3-bucket-name\": …, \"content-type\": …}");
        return None;
    };
    let mut object = Object::at(path, entries, notes);
    let bucket = read_bucket(&object.field("s3-bucket-name").required("write the bucket's name"));
    let content_type = read_content_type(&object.field("content-type").required("write for example image/jpeg"));
    let prefix_field = object.field("s3-prefix");
    let prefix = prefix_field.text().map(str::to_owned);
    let extension = read_extension(&object.field("file-ext"), content_type.as_deref());
    let strategy = read_strategy(&object.field("sampling-strategy"), notes);
    object.finish(Unknown::Warn);
    let configuration = Configuration {
        bucket: bucket?,
        content_type: content_type?,
        prefix,
        extension: extension?,
        strategy: strategy?,
    };
    let has_dots = |prefix: &str| prefix.split('/').any(|part| matches!(part, "." | ".."));
    let is_odd = configuration.prefix.as_deref().is_some_and(|prefix| has_dots(prefix) || prefix.starts_with('/'));
    if is_odd || configuration.object(ANY_ID).is_err() {
        let rule = "makes no key: it does not begin with a slash, has no parts . and .., no control characters, and at most \
                    900 bytes";
        prefix_field.refuse(rule, "write for example DeviceA");
        return None;
    }
    valid.then_some(configuration)
}

fn read_bucket(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    if is_old_bucket(text) {
        return Some(text.to_owned());
    }
    let rule = r"is no bucket's name (^[a-zA-Z0-9\.\-_]{3,63}$)";
    field.refuse(rule, "write 3 to 63 letters, digits, periods, hyphens and underscores");
    None
}

/// RFC 9110, section 8.3.1: two tokens with a slash between them, and parameters behind.
fn read_content_type(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    let is_token = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
    };
    let kind = text.split(';').next().unwrap_or_default().trim_end();
    let valid = kind.split_once('/').is_some_and(|(kind, sub)| is_token(kind) && is_token(sub));
    if valid && text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) && text.len() <= 255 {
        return Some(text.to_owned());
    }
    field.refuse("is no content type", "write for example image/jpeg");
    None
}

/// `Some(None)` where nothing is said.
fn read_extension(field: &Field<'_>, content_type: Option<&str>) -> Option<Option<String>> {
    if !field.is_present() {
        return Some(None);
    }
    let text = field.text()?;
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'));
    if !plain || text.len() > 32 {
        field.refuse("is no file extension of at most 32 letters and digits", "write for example jpg");
        return None;
    }
    let usual = EXTENSIONS.iter().find(|(kind, _)| Some(*kind) == content_type).map(|(_, usual)| usual);
    if usual.is_some_and(|usual| !usual.contains(&text.trim_start_matches('.').to_ascii_lowercase().as_str())) {
        field.warn("is no usual extension of files of this content type", "write another, or another content-type");
    }
    Some(Some(text.to_owned()))
}

/// `Some(None)` where nothing is said: every sample. The guide calls it a JSON string, and writes objects; both are read.
fn read_strategy(field: &Field<'_>, notes: &Notes) -> Option<Option<Strategy>> {
    let Some(value) = field.value() else { return Some(None) };
    let parsed: Map<String, Value>;
    let entries = match value {
        Value::Object(entries) => entries,
        Value::String(text) => match serde_json::from_str(text) {
            Ok(entries) => {
                parsed = entries;
                &parsed
            }
            Err(error) => {
                field.refuse(format!("is no JSON object: {error}"), "write an object");
                return None;
            }
        },
        _ => {
            field.refuse("is no object", "write {\"strategy-name\": \"LEAST_CONFIDENCE\", \"threshold\": 0.4}");
            return None;
        }
    };
    let mut object = Object::at(field.path().to_owned(), entries, notes);
    let name = object.field("strategy-name").required("write RANDOM_SAMPLING, LEAST_CONFIDENCE, MARGIN or ENTROPY");
    let names = [("RANDOM_SAMPLING", 0), ("LEAST_CONFIDENCE", 1), ("MARGIN", 2), ("ENTROPY", 3)];
    let (rate, threshold) = (object.field("rate"), object.field("threshold"));
    let strategy = match name.choice(&names) {
        Some(0) => number(&rate.required("write a number from 0 to 1"), 1.0).map(|rate| Strategy::Random { rate }),
        Some(kind) => {
            let most = if kind == 3 { f64::MAX } else { 1.0 };
            let threshold = number(&threshold.required("write a number from 0"), most);
            threshold.map(|threshold| match kind {
                1 => Strategy::LeastConfidence { threshold },
                2 => Strategy::Margin { threshold },
                _ => Strategy::Entropy { threshold },
            })
        }
        None => None,
    };
    object.finish(Unknown::Warn);
    strategy.map(Some)
}

fn number(field: &Field<'_>, most: f64) -> Option<f64> {
    let number = field.number()?;
    if (0.0..=most).contains(&number) {
        return Some(number);
    }
    let range = if most > 1.0 { "at least 0.0" } else { "from 0.0 to 1.0" };
    field.refuse(format!("is no number {range}"), "write one");
    None
}

/// Messages that no subscription names go nowhere (B-34).
fn warn_without_route(connector: &Connector, group: &Group, notes: &Notes) {
    let source = Party::Connector(connector.arn.clone());
    if group.subscriptions_from(&source).next().is_none() {
        let rule = "no subscription takes what the connector says of samples anywhere";
        let hint = "add one with this ConnectorArn as Source and feedback/message/# as Subject";
        notes.warning(&connector.path_of("ConnectorArn"), connector.shown_arn(), rule, hint);
    }
}

/// The entries of a JSON object, in its order and with those that come twice.
struct Entries;

impl<'de> Visitor<'de> for Entries {
    type Value = Vec<(String, Value)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of feedback configurations by their ids")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            if entries.len() > MOST_CONFIGURATIONS {
                return Err(A::Error::custom(format!("more than {MOST_CONFIGURATIONS} feedback configurations")));
            }
            entries.push(entry);
        }
        Ok(entries)
    }
}
