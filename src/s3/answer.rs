//! S3's error documents: XML of which only `<Code>`, `<Message>` and `<Region>` matter.
//!
//! A reader for those three elements by hand: bounded, without entities beyond XML's five, and content to find nothing.

/// The largest error document read, in bytes.
pub(super) const MAX_DOCUMENT: usize = 16 * 1024;

/// The longest code or message kept, in characters.
const MAX_TEXT: usize = 300;

/// What S3 said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ErrorDocument {
    /// The error's name, such as `NoSuchKey`.
    pub(super) code: Option<String>,
    /// Its explanation.
    pub(super) message: Option<String>,
    /// Where the bucket lies, if the error is that it was asked for elsewhere.
    pub(super) region: Option<String>,
}

impl ErrorDocument {
    /// Reads `body`, which may be anything.
    pub(super) fn read(body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(&body[..body.len().min(MAX_DOCUMENT)]);
        let Some((_, error)) = text.split_once("<Error>") else { return Self::default() };
        Self { code: element(error, "Code"), message: element(error, "Message"), region: element(error, "Region") }
    }
}

/// The text of the first element `name`, which has no attributes and no children in S3's documents.
fn element(text: &str, name: &str) -> Option<String> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    let (content, _) = rest.split_once('<')?;
    let shown: String = unescape(content).chars().filter(|c| !c.is_control()).take(MAX_TEXT).collect();
    (!shown.is_empty()).then_some(shown)
}

/// Replaces XML's predefined entities (XML 1.0, section 4.6); `&amp;` last, so that nothing is replaced twice.
fn unescape(text: &str) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&apos;", "'").replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> (Option<String>, Option<String>) {
        let document = ErrorDocument::read(body.as_bytes());
        (document.code, document.message)
    }

    #[test]
    fn code_and_message_of_s3s_document_are_found() {
        let body = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>NoSuchKey</Code><Message>The specified \
                    key does not exist.</Message><Key>a</Key><RequestId>1</RequestId></Error>";
        let (code, message) = read(body);
        assert_eq!(code.as_deref(), Some("NoSuchKey"));
        assert_eq!(message.as_deref(), Some("The specified key does not exist."));
    }

    #[test]
    fn escaped_text_is_unescaped_once_and_control_characters_are_dropped() {
        let (_, message) = read("<Error><Message>a &lt;b&gt; &amp;lt; &quot;c&apos;\u{1b}[0m</Message></Error>");
        assert_eq!(message.as_deref(), Some("a <b> &lt; \"c'[0m"));
    }

    #[test]
    fn other_documents_say_nothing() {
        for body in ["", "<html><Code>x</Code></html>", "<Error>", "<Error><Code>", "<Error><Code></Code></Error>"] {
            assert_eq!(read(body), (None, None), "{body}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_body_breaks_the_reader(body in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
            ErrorDocument::read(&body);
        }

        #[test]
        fn any_code_written_by_a_server_is_read_back(code in "[A-Za-z0-9]{1,60}", message in "[ -;=?-~&&[^&]]{1,80}") {
            let body = format!("<Error><Code>{code}</Code><Message>{message}</Message></Error>");
            proptest::prop_assert_eq!(read(&body), (Some(code), Some(message)));
        }
    }
}
