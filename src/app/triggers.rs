//! What a classifier does with the messages that reach it: one on its trigger topic asks for one prediction.

use serde_json::{Map, Value};

use crate::classifier::Classifier;
use crate::classifier::policy::{MAX_TRIGGER_ID, Trigger};
use crate::router::{Message, Target};
use crate::topic::Topic;

/// The largest request, in bytes: an id and some room beside it.
const MAX_REQUEST_BYTES: usize = 4096;

/// Why a message on the trigger topic is no request.
#[derive(Debug, thiserror::Error)]
enum RequestError {
    #[error("a request has {actual} bytes, and at most {MAX_REQUEST_BYTES} are read; send an id, or nothing")]
    TooLarge { actual: usize },
    #[error("a request is empty or a JSON object, such as {{\"id\": \"42\"}}")]
    NotJson(#[source] serde_json::Error),
    #[error("the id of a request is a string of 1 to {MAX_TRIGGER_ID} characters, none of them a control character")]
    Id,
}

/// A classifier at the end of its queue.
#[derive(Debug)]
pub(super) struct TriggerTarget {
    pub(super) classifier: Classifier,
    /// Where requests come; other messages have no meaning here.
    pub(super) topic: Topic,
}

impl Target for TriggerTarget {
    async fn take(&mut self, message: Message) {
        if message.topic != self.topic {
            tracing::debug!(topic = %message.topic, "a message for a classifier is on another topic than its triggers");
            return;
        }
        match read(&message.payload) {
            Ok(trigger) => {
                if let Err(error) = self.classifier.ask(trigger).await {
                    tracing::warn!(topic = %self.topic, %error, "a request for a prediction is not taken");
                }
            }
            Err(error) => {
                let error = crate::causes::explain(&error);
                tracing::warn!(topic = %self.topic, error, "a request for a prediction is not understood");
                self.classifier.refuse_trigger().await;
            }
        }
    }
}

/// Reads a request; members other than `id` are its sender's own affair.
fn read(payload: &[u8]) -> Result<Trigger, RequestError> {
    if payload.len() > MAX_REQUEST_BYTES {
        return Err(RequestError::TooLarge { actual: payload.len() });
    }
    if payload.is_empty() {
        return Ok(Trigger::default());
    }
    let mut request: Map<String, Value> = serde_json::from_slice(payload).map_err(RequestError::NotJson)?;
    let id = match request.remove("id") {
        None | Some(Value::Null) => None,
        Some(Value::String(id)) => Some(id),
        Some(_) => return Err(RequestError::Id),
    };
    let possible = |id: &String| (1..=MAX_TRIGGER_ID).contains(&id.chars().count()) && !id.contains(char::is_control);
    if id.as_ref().is_some_and(|id| !possible(id)) {
        return Err(RequestError::Id);
    }
    Ok(Trigger { id })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_request_is_empty_or_an_object_that_may_have_an_id() {
        let id = |payload: &str| read(payload.as_bytes()).unwrap().id;
        assert_eq!(id(""), None);
        assert_eq!(id("{}"), None);
        assert_eq!(id("{\"id\": null, \"who\": [1]}"), None);
        assert_eq!(id("{\"id\": \"door 7\"}").as_deref(), Some("door 7"));
        assert_eq!(id(&format!("{{\"id\": \"{}\"}}", "é".repeat(128))).map(|id| id.len()), Some(256));
    }

    #[test]
    fn what_is_no_request_is_refused_with_its_rule() {
        let long = format!("{{\"id\": \"{}\"}}", "x".repeat(129));
        let large = format!("{{\"id\": \"1\", \"rest\": \"{}\"}}", "x".repeat(5000));
        for (payload, rule) in [
            ("now", "a JSON object"),
            ("[]", "a JSON object"),
            ("[\"x\"]", "a JSON object"),
            ("{\"id\": 7}", "a string of 1 to 128 characters"),
            ("{\"id\": \"\"}", "1 to 128 characters"),
            ("{\"id\": \"a\\u0000\"}", "control character"),
            (long.as_str(), "1 to 128 characters"),
            (large.as_str(), "at most 4096 are read"),
        ] {
            let error = read(payload.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(rule), "{payload}: {error}");
        }
        assert!(read(b"\xff\xfe").is_err());
    }

    proptest! {
        #[test]
        fn no_payload_makes_the_reader_panic(payload in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(Trigger { id: Some(id) }) = read(&payload) {
                prop_assert!(id.chars().count() <= MAX_TRIGGER_ID);
            }
        }
    }
}
