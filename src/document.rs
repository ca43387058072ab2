//! Reading a JSON document field by field: every field knows its path, every mistake is noted there and reading goes on,
//! and the keys that nobody asked for are known at the end. It serves `config`, `group` and the connectors' parameters;
//! what a field means is theirs.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::problem::{Accepted, Document, Problem, Problems, Severity};

mod field;
mod file;
mod nearest;

pub use field::Field;
pub use file::{LoadError, read_file};

/// The most problems that are listed; a document that has more is no document for its reader.
const LISTED_LIMIT: usize = 256;
/// The most characters of a value that a problem shows.
const SHOWN_LIMIT: usize = 60;

/// The problems noted so far while a document is read.
#[derive(Debug)]
pub struct Notes {
    document: Document,
    problems: RefCell<Vec<Problem>>,
    unlisted: Cell<usize>,
    refused: Cell<bool>,
}

impl Notes {
    /// Nothing noted yet about `document`.
    pub fn of(document: Document) -> Self {
        Self { document, problems: RefCell::default(), unlisted: Cell::new(0), refused: Cell::new(false) }
    }

    /// Notes something that refuses the document. `value` is what stands at `path`, as [`shown`] renders it.
    pub fn error(&self, path: &str, value: Option<String>, rule: impl Into<String>, hint: impl Into<String>) {
        self.refused.set(true);
        self.note(Severity::Error, path, value, (rule.into(), hint.into()));
    }

    /// Notes something that the document's writer should know.
    pub fn warning(&self, path: &str, value: Option<String>, rule: impl Into<String>, hint: impl Into<String>) {
        self.note(Severity::Warning, path, value, (rule.into(), hint.into()));
    }

    fn note(&self, severity: Severity, path: &str, value: Option<String>, (rule, hint): (String, String)) {
        let mut problems = self.problems.borrow_mut();
        if problems.len() >= LISTED_LIMIT {
            self.unlisted.set(self.unlisted.get() + 1);
            return;
        }
        problems.push(Problem { severity, document: self.document, path: path.to_owned(), value, rule, hint });
    }

    /// What was read, if nothing refuses it. `document` is absent only where something was noted as an error.
    pub fn conclude<T>(self, document: Option<T>) -> Result<Accepted<T>, Problems> {
        let refused = self.refused.get();
        let problems = self.into_problems();
        match document {
            Some(document) if !refused => Ok(Accepted { document, warnings: problems }),
            _ => Err(problems),
        }
    }

    fn into_problems(self) -> Problems {
        let mut problems = self.problems.into_inner();
        let unlisted = self.unlisted.get();
        if unlisted > 0 {
            problems.push(Problem {
                severity: if self.refused.get() { Severity::Error } else { Severity::Warning },
                document: self.document,
                path: String::new(),
                value: None,
                rule: format!("has {unlisted} problems more than the {LISTED_LIMIT} listed"),
                hint: "mend those first".to_owned(),
            });
        }
        Problems::new(problems)
    }
}

/// Parses `text` of at most `limit` bytes as JSON; notes why it cannot be, under `failure`, the guide's text.
pub fn parse(text: &str, limit: usize, failure: &str, notes: &Notes) -> Option<Value> {
    if text.len() > limit {
        let rule = format!("has {} bytes, and is read up to {limit} bytes", text.len());
        notes.error("", None, rule, "take out what this core does not need");
        return None;
    }
    match serde_json::from_str(text) {
        Ok(value) => Some(value),
        Err(error) => {
            notes.error("", None, failure, format!("correct the JSON: {error}"));
            None
        }
    }
}

/// `value` as a problem shows it: JSON, shortened, and only its kind where it is a list or an object.
pub fn shown(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("a list of {}", items.len()),
        Value::Object(_) => "an object".to_owned(),
        scalar => shortened(&scalar.to_string()),
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN_LIMIT) {
        Some((end, _)) => format!("{}…", printable(&text[..end])),
        None => printable(text),
    }
}

/// `text` from outside as a message may show it: what a terminal would obey, or would write backwards, is replaced by
/// U+FFFD.
pub fn printable(text: &str) -> String {
    let is_plain = |c: char| matches!(c, '"' | '\'' | '\\') || c.escape_debug().count() == 1;
    text.chars().map(|c| if is_plain(c) { c } else { char::REPLACEMENT_CHARACTER }).collect()
}

/// What to make of a key that the program does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unknown {
    /// V1's part of a document may hold keys of other versions: a warning.
    Warn,
    /// Our own part: a typing error, refused.
    Refuse,
}

/// A JSON object that is being read. [`Object::finish`] ends it.
#[derive(Debug)]
pub struct Object<'d> {
    path: String,
    entries: Option<&'d Map<String, Value>>,
    notes: &'d Notes,
    known: BTreeSet<&'static str>,
}

impl<'d> Object<'d> {
    /// The whole document, which is to be an object.
    pub fn root(value: &'d Value, notes: &'d Notes) -> Option<Self> {
        Field::new(String::new(), Some(value), notes).object()
    }

    /// The object in `entries`, which stands at `path` of a document that was read before.
    pub fn at(path: String, entries: &'d Map<String, Value>, notes: &'d Notes) -> Self {
        Self::new(path, Some(entries), notes)
    }

    fn new(path: String, entries: Option<&'d Map<String, Value>>, notes: &'d Notes) -> Self {
        Self { path, entries, notes, known: BTreeSet::new() }
    }

    /// Where this object stands in the document.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Where `key` stands, or would stand, in the document.
    pub fn path_of(&self, key: &str) -> String {
        let key = shortened(key);
        if self.path.is_empty() { key } else { format!("{}.{key}", self.path) }
    }

    /// The notes that this reading adds to.
    pub fn notes(&self) -> &'d Notes {
        self.notes
    }

    /// Whether `key` stands in the document, with another value than `null`.
    pub fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    fn get(&self, key: &str) -> Option<&'d Value> {
        self.entries?.get(key).filter(|value| !value.is_null())
    }

    /// Whether there is no key at all.
    pub fn is_empty(&self) -> bool {
        self.entries.is_none_or(Map::is_empty)
    }

    /// The field under `key`, which is a known key from now on. `null` counts as absent.
    pub fn field(&mut self, key: &'static str) -> Field<'d> {
        self.known.insert(key);
        let path = self.path_of(key);
        match self.entries {
            Some(_) => Field::new(path, self.get(key), self.notes),
            None => Field::of_absent_object(path, self.notes),
        }
    }

    /// Makes `keys` known without reading them: keys of V1 that have no effect where they stand.
    pub fn ignore(&mut self, keys: &[&'static str]) {
        self.known.extend(keys);
    }

    /// All entries, each a field: for objects whose keys are data, such as environment variables.
    pub fn into_entries(self) -> impl Iterator<Item = (&'d str, Field<'d>)> {
        let Self { path, entries, notes, .. } = self;
        entries.into_iter().flatten().map(move |(key, value)| {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            (key.as_str(), Field::new(path, Some(value), notes))
        })
    }

    /// Ends the reading: notes every key that was never asked for. Their values are not shown, because a mistyped key
    /// may hold a secret.
    pub fn finish(self, unknown: Unknown) {
        let keys = self.entries.into_iter().flat_map(Map::keys);
        for key in keys.filter(|key| !self.known.contains(key.as_str())) {
            let path = self.path_of(key);
            let hint = match nearest::nearest(key, &self.known) {
                Some(known) => format!("did you mean {known}?"),
                None => "take it out, or see docs/ for the keys that are known".to_owned(),
            };
            match unknown {
                Unknown::Warn => self.notes.warning(&path, None, "is not a key that this version knows", hint),
                Unknown::Refuse => self.notes.error(&path, None, "is not a key that this version knows", hint),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn unknown_keys_are_noted_with_the_key_that_was_meant_and_without_their_value() {
        let value = json!({"slotUserPim": "1234", " principals": {}, "other": 1});
        let notes = Notes::of(Document::Config);
        let mut object = Object::root(&value, &notes).expect("an object");
        assert!(object.field("slotUserPin").text().is_none());
        assert!(object.field("principals").object().is_none());
        object.finish(Unknown::Warn);
        let shown = notes.into_problems().to_string();
        assert!(shown.contains("did you mean slotUserPin?") && shown.contains("did you mean principals?"), "{shown}");
        assert!(!shown.contains("1234"), "{shown}");
    }

    #[test]
    fn a_document_with_endless_problems_is_refused_with_a_bounded_list() {
        let notes = Notes::of(Document::Group);
        for _ in 0..1000 {
            notes.error("a", None, "is wrong", "mend it");
        }
        let problems = notes.conclude(Some(())).expect_err("it is refused");
        assert_eq!(problems.iter().count(), LISTED_LIMIT + 1);
        assert!(problems.to_string().contains("has 744 problems more"));
    }

    #[test]
    fn a_long_value_is_shortened_between_characters() {
        let text = "é".repeat(200);
        assert_eq!(shown(&Value::String(text)).chars().count(), SHOWN_LIMIT + 1);
        assert_eq!(shown(&json!([1, 2])), "a list of 2");
    }

    #[test]
    fn warnings_alone_do_not_refuse() {
        let notes = Notes::of(Document::Group);
        notes.warning("a", None, "is old", "nothing to do");
        let accepted = notes.conclude(Some(7)).expect("it is accepted");
        assert_eq!((accepted.document, accepted.warnings.iter().count()), (7, 1));
    }
}
