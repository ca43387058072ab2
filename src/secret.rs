//! Values that must never reach a log, a document or a screen.

use std::fmt;

/// A secret string: it has no `Display`, no `Serialize`, and a `Debug` that shows only its length.
///
/// The text is reached through [`Secret::expose`] alone, so that a reader can find every place that uses it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one call that sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret(<{} characters elided>)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_the_length_and_nothing_of_the_text() {
        let shown = format!("{:?}", Secret::new("wJalrXUtnFEMI"));
        assert_eq!(shown, "Secret(<13 characters elided>)");
    }
}
