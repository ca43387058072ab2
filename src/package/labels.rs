//! The names of the classes: where a manifest has them, and how a label file is written.
//!
//! A label file has one class a line, in the order of the model's classes. Where every line opens with a WordNet id,
//! as in `n01440764 tench, Tinca tinca` (V1's `synset.txt`, B-23), the ids are left out of the labels.

use margay_inference::Labels;

use super::{MAX_LABEL_CHARS, MAX_LABEL_FILE_BYTES, MAX_LABELS, PackagePath};
use crate::document::{Field, Object, Unknown};

/// Where the labels are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LabelSource {
    /// In a file of the package.
    File(PackagePath),
    /// In the manifest.
    Inline(Labels),
}

/// A label file that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LabelFileError {
    /// The file is larger than the limit.
    #[error("the file has {bytes} bytes, more than the limit of {MAX_LABEL_FILE_BYTES}")]
    TooLarge {
        /// Bytes of the file.
        bytes: usize,
    },
    /// There is no label.
    #[error("the file is empty: write one label a line, in the order of the model's classes")]
    Empty,
    /// There are more labels than the limit.
    #[error("the file has {lines} lines, more than the limit of {MAX_LABELS} labels")]
    TooMany {
        /// Lines of the file.
        lines: usize,
    },
    /// One line is no label.
    #[error("line {line} {rule}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// The rule that it breaks.
        rule: String,
    },
}

/// Reads a label file. Spaces around a label and blank lines at the end are ignored.
///
/// # Errors
/// [`LabelFileError`], with the line at fault.
pub fn parse_labels(text: &str) -> Result<Labels, LabelFileError> {
    if text.len() > MAX_LABEL_FILE_BYTES {
        return Err(LabelFileError::TooLarge { bytes: text.len() });
    }
    let lines: Vec<&str> = text.trim_start_matches('\u{feff}').trim_end().lines().map(str::trim).collect();
    if lines.len() > MAX_LABELS {
        return Err(LabelFileError::TooMany { lines: lines.len() });
    }
    let names: Option<Vec<&str>> = lines.iter().map(|line| without_synset(line)).collect();
    let names = names.unwrap_or(lines);
    for (index, name) in names.iter().enumerate() {
        check(name).map_err(|rule| LabelFileError::Line { line: index + 1, rule })?;
    }
    Labels::new(names).map_err(|_| LabelFileError::Empty)
}

/// The label behind a WordNet id: `n`, eight digits, a space.
fn without_synset(line: &str) -> Option<&str> {
    let (id, name) = line.split_once(' ')?;
    let digits = id.strip_prefix('n')?;
    (digits.len() == 8 && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| name.trim_start())
}

fn check(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("is blank: every class has a label".to_owned());
    }
    if name.chars().any(char::is_control) {
        return Err("has a control character".to_owned());
    }
    let chars = name.chars().count();
    if chars > MAX_LABEL_CHARS {
        return Err(format!("has {chars} characters, more than the limit of {MAX_LABEL_CHARS} for a label"));
    }
    Ok(())
}

/// Reads `[labels]`.
pub(super) fn read(manifest: &mut Object<'_>) -> Option<LabelSource> {
    let mut section = manifest.field("labels").required("add [labels] with file or names").object()?;
    let (file, names) = (section.field("file"), section.field("names"));
    let source = match (file.is_present(), names.is_present()) {
        (true, false) => file.parsed().map(LabelSource::File),
        (false, true) => inline(&names).map(LabelSource::Inline),
        _ => {
            let rule = "has either file or names";
            section.notes().error(section.path(), None, rule, "name a label file, or list the labels");
            None
        }
    };
    section.finish(Unknown::Refuse);
    source
}

fn inline(names: &Field<'_>) -> Option<Labels> {
    let elements = names.elements();
    if elements.len() > MAX_LABELS {
        names.refuse(format!("has at most {MAX_LABELS} labels"), "shorten it");
        return None;
    }
    let count = elements.len();
    let labels: Vec<&str> = elements.iter().filter_map(label).collect();
    if labels.len() < count {
        return None;
    }
    Labels::new(labels).map_err(|error| names.refuse(error.to_string(), "list at least one label")).ok()
}

fn label<'d>(element: &Field<'d>) -> Option<&'d str> {
    let text = element.text()?;
    check(text).map_err(|rule| element.refuse(rule, "correct the label")).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(text: &str) -> Vec<String> {
        parse_labels(text).unwrap().iter().map(str::to_owned).collect()
    }

    #[test]
    fn synset_ids_are_no_part_of_the_labels() {
        let text = "n01440764 tench, Tinca tinca\r\nn01443537 goldfish, Carassius auratus\r\n";
        assert_eq!(names(text), ["tench, Tinca tinca", "goldfish, Carassius auratus"]);
    }

    #[test]
    fn plain_lines_are_labels_even_where_one_looks_like_a_synset() {
        assert_eq!(names("n01440764 tench\nbackground\n\n"), ["n01440764 tench", "background"]);
        assert_eq!(names("\u{feff}stop\n give way "), ["stop", "give way"]);
    }

    #[test]
    fn a_file_that_is_no_list_of_labels_is_refused_with_its_line() {
        assert_eq!(parse_labels(" \n\n"), Err(LabelFileError::Empty));
        assert!(matches!(parse_labels("a\n\nb"), Err(LabelFileError::Line { line: 2, .. })));
        assert!(matches!(parse_labels("a\nb\0"), Err(LabelFileError::Line { line: 2, .. })));
        assert!(matches!(parse_labels(&"x".repeat(257)), Err(LabelFileError::Line { line: 1, .. })));
        let many = "a\n".repeat(MAX_LABELS + 1);
        assert!(matches!(parse_labels(&many), Err(LabelFileError::TooMany { lines }) if lines == MAX_LABELS + 1));
        let large = "a".repeat(MAX_LABEL_FILE_BYTES + 1);
        assert!(matches!(parse_labels(&large), Err(LabelFileError::TooLarge { .. })));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in ".{0,200}(\n.{0,20}){0,20}") {
            if let Ok(labels) = parse_labels(&text) {
                prop_assert!(labels.iter().all(|label| check(label).is_ok()));
            }
        }
    }
}
