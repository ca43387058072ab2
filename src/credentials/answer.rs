//! The credentials provider's documents: `{"credentials":{"accessKeyId","secretAccessKey","sessionToken",
//! "expiration"}}` with status 200, `{"message"}` with others.
//!
//! A problem is reported without a byte of the document, because a document that is wrong in one place holds secrets
//! in the others.

use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::secret::Secret;

/// The largest document read, in bytes; a real one has about two thousand.
pub(super) const MAX_DOCUMENT: usize = 64 * 1024;

/// The longest message of the provider that is shown, in characters.
const MAX_MESSAGE: usize = 300;

/// What the provider gave.
pub(super) struct Granted {
    pub(super) access_key_id: String,
    pub(super) secret_access_key: Secret,
    pub(super) session_token: Secret,
    pub(super) expiration: OffsetDateTime,
}

#[derive(Deserialize)]
struct Document {
    credentials: Fields,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields {
    access_key_id: String,
    secret_access_key: String,
    session_token: String,
    expiration: String,
}

/// Reads the document of a 200.
pub(super) fn granted(body: &[u8]) -> Result<Granted, &'static str> {
    let Document { credentials } = serde_json::from_slice(body)
        .map_err(|_| "it is not a credentials document with accessKeyId, secretAccessKey, sessionToken, expiration")?;
    let printable = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    if !printable(&credentials.access_key_id) || !printable(&credentials.secret_access_key) {
        return Err("its access key is empty or not printable ASCII");
    }
    if !printable(&credentials.session_token) {
        return Err("its session token is empty or not printable ASCII");
    }
    let expiration = OffsetDateTime::parse(&credentials.expiration, &Rfc3339)
        .map_err(|_| "its expiration is not a date of RFC 3339")?;
    Ok(Granted {
        access_key_id: credentials.access_key_id,
        secret_access_key: Secret::new(credentials.secret_access_key),
        session_token: Secret::new(credentials.session_token),
        expiration,
    })
}

/// Reads the message of a refusal, or the refusal itself where it has none: proxies and portals answer in HTML.
pub(super) fn message(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Refused {
        #[serde(alias = "Message")]
        message: String,
    }
    let message = match serde_json::from_slice(body) {
        Ok(Refused { message }) => message,
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    };
    let shown: String = message.chars().filter(|c| !c.is_control()).take(MAX_MESSAGE).collect();
    (!shown.is_empty()).then_some(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUIDES_EXAMPLE: &str = r#"{"credentials":{"accessKeyId":"ASIAJAKDHYFVFZCETC4A","secretAccessKey":"6RcojWDX0uWj3hRekTu/kOhXyyfqMU+T5U81LZzf","sessionToken":"AgoGb3JpZ2luEHIaCXVz==","expiration":"2018-01-18T09:18:06Z"}}"#;

    #[test]
    fn the_example_of_the_credentials_providers_guide_is_read() {
        let granted = granted(GUIDES_EXAMPLE.as_bytes()).ok().unwrap();
        assert_eq!(granted.access_key_id, "ASIAJAKDHYFVFZCETC4A");
        assert_eq!(granted.session_token.expose(), "AgoGb3JpZ2luEHIaCXVz==");
        assert_eq!(granted.expiration.unix_timestamp(), 1_516_267_086);
    }

    #[test]
    fn what_is_not_a_credentials_document_is_refused_without_showing_any_of_it() {
        let with = |from: &str, to: &str| GUIDES_EXAMPLE.replace(from, to);
        let cases = [
            "null".to_owned(),
            "{}".to_owned(),
            "<html>".to_owned(),
            with("sessionToken", "SessionToken"),
            with("2018-01-18T09:18:06Z", "tomorrow"),
            with("ASIAJAKDHYFVFZCETC4A", ""),
            with("ASIAJAKDHYFVFZCETC4A", "two words"),
            with("AgoGb3JpZ2luEHIaCXVz==", "a\\r\\nb"),
        ];
        for case in cases {
            let problem = granted(case.as_bytes()).err().unwrap_or_else(|| panic!("accepted {case}"));
            assert!(!problem.contains("6Rcoj"), "{problem}");
        }
    }

    #[test]
    fn a_refusals_message_is_shown_without_control_characters() {
        assert_eq!(message(br#"{"message":"Access Denied"}"#).as_deref(), Some("Access Denied"));
        assert_eq!(message(br#"{"message":"a\u001b[31mb\n"}"#).as_deref(), Some("a[31mb"));
        assert_eq!(message(b"<html>log in\r\n</html>").as_deref(), Some("<html>log in</html>"));
        assert_eq!(message(b""), None);
        let long = format!(r#"{{"message":"{}"}}"#, "x".repeat(5000));
        assert_eq!(message(long.as_bytes()).map(|shown| shown.len()), Some(MAX_MESSAGE));
    }

    proptest::proptest! {
        #[test]
        fn no_body_breaks_the_readers(body in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let _ = granted(&body);
            let _ = message(&body);
        }
    }
}
