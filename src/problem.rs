//! What is wrong with a document that an operator wrote: where, what stands there, which rule it breaks and what to do.
//! Reading a document collects every problem before it refuses, so that one run of `margay check` shows them all.

use std::fmt;

/// Whether a document with this problem can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The document is used; something in it has no effect, or not the one that its writer may expect.
    Warning,
    /// The document is refused.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// The documents that an operator writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Document {
    /// The core's configuration, V1's `config.json`.
    Config,
    /// The group document, V1's `group.json`.
    Group,
    /// The manifest of a model package, `model.toml`.
    Manifest,
    /// The document of an AWS IoT job.
    Job,
}

impl fmt::Display for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Config => "config.json",
            Self::Group => "group.json",
            Self::Manifest => "model.toml",
            Self::Job => "the job's document",
        })
    }
}

/// One thing that is wrong with a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Whether the document can be used in spite of it.
    pub severity: Severity,
    /// The document that it is in.
    pub document: Document,
    /// Where in the document: keys joined by periods, positions in brackets from 0, empty for the document itself.
    pub path: String,
    /// What stands there, shortened, in JSON; absent where nothing does, or where it is secret.
    pub value: Option<String>,
    /// The rule that it breaks; the guide's own text where the guide gives one.
    pub rule: String,
    /// What to do about it.
    pub hint: String,
}

impl fmt::Display for Problem {
    /// One line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.severity, self.document)?;
        if !self.path.is_empty() {
            write!(f, ": {}", self.path)?;
        }
        if let Some(value) = &self.value {
            write!(f, " = {value}")?;
        }
        write!(f, ": {} ({})", self.rule, self.hint)
    }
}

/// The problems of one reading, in the order in which they were met.
///
/// As an error it says that a document was refused; at least one of its problems is then a [`Severity::Error`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems {
    listed: Vec<Problem>,
}

impl Problems {
    /// The problems in `listed`.
    pub fn new(listed: Vec<Problem>) -> Self {
        Self { listed }
    }

    /// Whether one of them refuses the document.
    pub fn refuse(&self) -> bool {
        self.errors().next().is_some()
    }

    /// All of them.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.listed.iter()
    }

    /// Those that refuse the document.
    pub fn errors(&self) -> impl Iterator<Item = &Problem> {
        self.iter().filter(|problem| problem.severity == Severity::Error)
    }

    /// Those that do not.
    pub fn warnings(&self) -> impl Iterator<Item = &Problem> {
        self.iter().filter(|problem| problem.severity == Severity::Warning)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.listed.is_empty()
    }

    /// Adds `other`'s problems behind these.
    pub fn append(&mut self, other: Problems) {
        self.listed.extend(other.listed);
    }
}

impl fmt::Display for Problems {
    /// One line a problem.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, problem) in self.listed.iter().enumerate() {
            let separator = if position == 0 { "" } else { "\n" };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// A document that can be used, and what its writer should know about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Accepted<T> {
    /// What the document says.
    pub document: T,
    /// Problems that are all [`Severity::Warning`].
    pub warnings: Problems,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(severity: Severity) -> Problem {
        Problem {
            severity,
            document: Document::Config,
            path: "coreThing.keepAlive".to_owned(),
            value: Some("5".to_owned()),
            rule: "is a whole number from 30 to 1200".to_owned(),
            hint: "write one, in seconds".to_owned(),
        }
    }

    #[test]
    fn a_problem_is_one_line_that_says_where_what_why_and_what_to_do() {
        assert_eq!(
            problem(Severity::Error).to_string(),
            "error: config.json: coreThing.keepAlive = 5: is a whole number from 30 to 1200 (write one, in seconds)"
        );
    }

    #[test]
    fn only_an_error_refuses() {
        assert!(!Problems::new(vec![problem(Severity::Warning)]).refuse());
        let both = Problems::new(vec![problem(Severity::Warning), problem(Severity::Error)]);
        assert!(both.refuse());
        assert_eq!((both.errors().count(), both.warnings().count()), (1, 1));
        assert_eq!(both.to_string().lines().count(), 2);
    }
}
