//! What an import found: a row for each thing, with what becomes of it and what its owner has to decide.

use serde::Serialize;
use serde_json::Value;

/// What becomes of a part of a V1 deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It is taken over and does what it did.
    Works,
    /// It needs somebody's word, or somebody's hand.
    Decision,
    /// This version does not have it.
    WillNot,
}

impl Verdict {
    /// As the table shows it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Works => "works",
            Self::Decision => "decision",
            Self::WillNot => "will not",
        }
    }
}

/// A row of the report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    /// What becomes of it.
    pub verdict: Verdict,
    /// What it is, such as `function countCars:3`.
    pub subject: String,
    /// What was found, and what it means.
    pub says: String,
    /// The command to run next, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// A part of a document to edit and to put in, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snippet: Option<Value>,
}

impl Finding {
    /// A row without a command and a snippet.
    pub fn new(verdict: Verdict, subject: impl Into<String>, says: impl Into<String>) -> Self {
        Self { verdict, subject: subject.into(), says: says.into(), command: None, snippet: None }
    }

    /// Something that works.
    pub fn works(subject: impl Into<String>, says: impl Into<String>) -> Self {
        Self::new(Verdict::Works, subject, says)
    }

    /// Something to decide.
    pub fn decision(subject: impl Into<String>, says: impl Into<String>) -> Self {
        Self::new(Verdict::Decision, subject, says)
    }

    /// Something that will not work.
    pub fn will_not(subject: impl Into<String>, says: impl Into<String>) -> Self {
        Self::new(Verdict::WillNot, subject, says)
    }

    /// The same with a command to run.
    #[must_use]
    pub fn with_command(mut self, command: impl Into<String>) -> Self {
        self.command = Some(command.into());
        self
    }

    /// The same with a part of a document to edit.
    #[must_use]
    pub fn with_snippet(mut self, snippet: Value) -> Self {
        self.snippet = Some(snippet);
        self
    }
}

/// `text` as a word of a shell's command line.
pub(super) fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-:=+,@".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_a_shell_would_split_or_expand_is_quoted() {
        assert_eq!(quoted("/greengrass/ggc/a-1.onnx"), "/greengrass/ggc/a-1.onnx");
        assert_eq!(quoted("/my models/$x"), "'/my models/$x'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }
}
