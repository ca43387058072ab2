//! What is wrong with a specification: the field, its value, the rule.

/// One rule that a specification breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {value}, but {rule}")]
pub struct SpecProblem {
    /// Dotted path of the field, for example `input.std`.
    pub field: &'static str,
    /// The value found there.
    pub value: String,
    /// The rule, as the rest of a sentence.
    pub rule: String,
}

impl SpecProblem {
    /// The breach of a rule by the value of a field.
    #[must_use]
    pub fn new(field: &'static str, value: impl ToString, rule: impl Into<String>) -> Self {
        Self { field, value: value.to_string(), rule: rule.into() }
    }
}
