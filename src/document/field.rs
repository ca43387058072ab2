//! One field of a document, and the readings that V1 tolerates: numbers and truth values may be written as strings
//! (contract E7), flags as `"yes"` and `"no"`.

use std::error::Error;
use std::ops::RangeInclusive;
use std::str::FromStr;

use serde_json::Value;

use super::{Notes, Object, shown};
use crate::causes::explain;

/// A field that may be absent. Each reading takes it, notes a mistake at its path, and returns `None` if the field is
/// absent or mistaken.
#[derive(Debug)]
pub struct Field<'d> {
    path: String,
    value: Option<&'d Value>,
    notes: &'d Notes,
    hint: Option<&'static str>,
    secret: bool,
    in_absent_object: bool,
}

impl<'d> Field<'d> {
    pub(super) fn new(path: String, value: Option<&'d Value>, notes: &'d Notes) -> Self {
        Self { path, value, notes, hint: None, secret: false, in_absent_object: false }
    }

    /// The field `key` of an object that is not there.
    pub(super) fn of_absent_object(path: String, notes: &'d Notes) -> Self {
        Self { in_absent_object: true, ..Self::new(path, None, notes) }
    }

    /// Where the field stands.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What to do if the field turns out to be mistaken, instead of what the reading would say.
    pub fn hint(mut self, hint: &'static str) -> Self {
        self.hint = Some(hint);
        self
    }

    /// Keeps the value out of every problem.
    pub fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    /// Notes an error if the field is absent from its object. Where the object itself is absent, that is the problem.
    pub fn required(self, hint: &'static str) -> Self {
        self.required_as("is required", hint)
    }

    /// The same, in the guide's words.
    pub fn required_as(self, rule: &str, hint: &'static str) -> Self {
        if self.value.is_none() && !self.in_absent_object {
            self.notes.error(&self.path, None, rule, hint);
        }
        self
    }

    /// Notes that the value breaks `rule`; `hint` stands back behind the one given before.
    pub fn refuse(&self, rule: impl Into<String>, hint: &str) {
        self.notes.error(&self.path, self.shown(), rule, self.hint.unwrap_or(hint));
    }

    /// Notes what the writer of this value should know.
    pub fn warn(&self, rule: impl Into<String>, hint: impl Into<String>) {
        self.notes.warning(&self.path, self.shown(), rule, hint);
    }

    /// The value as a problem shows it.
    pub fn shown(&self) -> Option<String> {
        self.value.filter(|_| !self.secret).map(shown)
    }

    /// What stands there, as it is.
    pub fn value(&self) -> Option<&'d Value> {
        self.value
    }

    /// Whether the field is there.
    pub fn is_present(&self) -> bool {
        self.value.is_some()
    }

    /// Whether the field is the empty string.
    pub fn is_empty_text(&self) -> bool {
        self.value.and_then(Value::as_str).is_some_and(str::is_empty)
    }

    /// A string.
    pub fn text(&self) -> Option<&'d str> {
        let text = self.value?.as_str();
        if text.is_none() {
            self.refuse("is a string", "write it in quotes");
        }
        text
    }

    /// A string, or a number or truth value as the string it would be written as: connectors' parameters are strings,
    /// and the guide's examples sometimes pass bare numbers (contract A1).
    pub fn scalar(&self) -> Option<String> {
        match self.value? {
            Value::String(text) => Some(text.clone()),
            scalar @ (Value::Number(_) | Value::Bool(_)) => Some(scalar.to_string()),
            _ => {
                self.refuse("is a string", "write it in quotes");
                None
            }
        }
    }

    /// A string that `T` can be parsed from.
    pub fn parsed<T>(&self) -> Option<T>
    where
        T: FromStr,
        T::Err: Error,
    {
        let parsed = self.text()?.parse::<T>();
        parsed.map_err(|error| self.refuse(explain(&error), "correct it")).ok()
    }

    /// A whole number in `range`, or a string of its digits. `unit` ends the sentence, such as `seconds`.
    pub fn integer(&self, range: RangeInclusive<u64>, unit: &str) -> Option<u64> {
        let number = number(self.value?).filter(|number| range.contains(number));
        if number.is_none() {
            let (least, most) = range.into_inner();
            let space = if unit.is_empty() { "" } else { " " };
            self.refuse(
                format!("is a whole number from {least} to {most}{space}{unit}"),
                "write a number in that range",
            );
        }
        number
    }

    /// A TCP port in `range`.
    pub fn port(&self, range: RangeInclusive<u16>) -> Option<u16> {
        let (least, most) = range.into_inner();
        self.integer(u64::from(least)..=u64::from(most), "").and_then(|port| u16::try_from(port).ok())
    }

    /// A TCP port out of the two that the guide allows.
    pub fn port_of(&self, allowed: [u16; 2]) -> Option<u16> {
        let number = number(self.value?);
        let port = allowed.into_iter().find(|&port| number == Some(u64::from(port)));
        if port.is_none() {
            self.refuse(format!("is {} or {}", allowed[0], allowed[1]), "write one of them");
        }
        port
    }

    /// A number, whole or not; never a string of one.
    pub fn number(&self) -> Option<f64> {
        let number = self.value?.as_f64();
        if number.is_none() {
            self.refuse("is a finite number", "write one, without quotes");
        }
        number
    }

    /// `true` or `false`, or the string of either.
    pub fn boolean(&self) -> Option<bool> {
        let truth = match self.value? {
            Value::Bool(truth) => Some(*truth),
            Value::String(text) => text.parse().ok(),
            _ => None,
        };
        if truth.is_none() {
            self.refuse("is true or false", "write one of them");
        }
        truth
    }

    /// `"yes"` or `"no"`, V1's way of writing some flags; a JSON truth value is understood too.
    pub fn yes_no(&self) -> Option<bool> {
        let truth = match self.value? {
            Value::Bool(truth) => Some(*truth),
            Value::String(text) if text == "yes" => Some(true),
            Value::String(text) if text == "no" => Some(false),
            _ => None,
        };
        if truth.is_none() {
            self.refuse("is \"yes\" or \"no\"", "write one of them");
        }
        truth
    }

    /// One of `choices`, by its name.
    pub fn choice<T: Copy>(&self, choices: &[(&str, T)]) -> Option<T> {
        let text = self.text()?;
        let chosen = choices.iter().find(|(name, _)| *name == text).map(|&(_, choice)| choice);
        if chosen.is_none() {
            let names: Vec<&str> = choices.iter().map(|&(name, _)| name).collect();
            self.refuse(format!("is one of {}", names.join(", ")), "write one of them");
        }
        chosen
    }

    /// An object.
    pub fn object(&self) -> Option<Object<'d>> {
        match self.value?.as_object() {
            Some(entries) => Some(Object::new(self.path.clone(), Some(entries), self.notes)),
            None => {
                self.refuse("is an object", "write {…}");
                None
            }
        }
    }

    /// An object; where there is none it reads like an empty one.
    pub fn section(&self) -> Object<'d> {
        self.object().unwrap_or_else(|| Object::new(self.path.clone(), None, self.notes))
    }

    /// How many elements the list has, if it is one; notes nothing.
    pub fn count(&self) -> Option<usize> {
        self.value?.as_array().map(Vec::len)
    }

    /// The elements of a list, each a field with its position in the path.
    pub fn elements(&self) -> Vec<Field<'d>> {
        let Some(value) = self.value else { return Vec::new() };
        let Some(items) = value.as_array() else {
            self.refuse("is a list", "write […]");
            return Vec::new();
        };
        let element = |(position, item)| Field::new(format!("{}[{position}]", self.path), Some(item), self.notes);
        items.iter().enumerate().map(element).collect()
    }

    /// A list of objects; elements that are none are noted and left out.
    pub fn objects(&self) -> Vec<Object<'d>> {
        self.elements().iter().filter_map(Field::object).collect()
    }
}

/// A whole number, or a string of its digits.
fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => digits(text),
        _ => None,
    }
}

/// Plain digits: no sign, no space, no point.
fn digits(text: &str) -> Option<u64> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::problem::{Document, Problems};

    fn read<T>(value: &Value, reading: impl FnOnce(Field<'_>) -> Option<T>) -> (Option<T>, Problems) {
        let notes = Notes::of(Document::Config);
        let found = reading(Field::new("key".to_owned(), Some(value), &notes));
        (found, notes.into_problems())
    }

    #[test]
    fn numbers_may_be_strings_of_digits() {
        for value in [json!(512), json!("512")] {
            assert_eq!(read(&value, |field| field.integer(1..=1024, "KB")).0, Some(512));
        }
        for value in [json!("-1"), json!(-1), json!(1.5), json!(""), json!("+5"), json!(2000), json!([1]), json!(1e30)]
        {
            let (found, problems) = read(&value, |field| field.integer(1..=1024, "KB"));
            assert!(found.is_none() && problems.refuse(), "{value}");
        }
    }

    #[test]
    fn truth_may_be_a_string_and_flags_are_yes_or_no() {
        assert_eq!(read(&json!("true"), |field| field.boolean()).0, Some(true));
        assert_eq!(read(&json!(false), |field| field.boolean()).0, Some(false));
        assert_eq!(read(&json!("no"), |field| field.yes_no()).0, Some(false));
        assert_eq!(read(&json!(true), |field| field.yes_no()).0, Some(true));
        assert!(read(&json!("yes"), |field| field.boolean()).1.refuse());
        assert!(read(&json!("yes/no"), |field| field.yes_no()).1.refuse());
    }

    #[test]
    fn a_problem_names_the_path_the_value_and_the_cause() {
        let (_, problems) = read(&json!("arn:aws:iot:US:1:thing/a"), |field| field.parsed::<crate::arn::ThingArn>());
        let line = problems.to_string();
        assert!(line.starts_with("error: config.json: key = \"arn:aws:iot:US:1:thing/a\": the ARN's region"), "{line}");
        assert!(line.contains("a region is written with lower-case letters"), "{line}");
    }

    #[test]
    fn a_secret_is_in_no_problem() {
        let (_, problems) = read(&json!(123_456), |field| field.secret().text().map(str::len));
        assert!(problems.refuse() && !problems.to_string().contains("123456"));
    }

    #[test]
    fn the_elements_of_a_list_carry_their_position() {
        let (_, problems) = read(&json!([{}, 5, {}]), |field| Some(field.objects().len()));
        assert!(problems.to_string().contains("key[1] = 5: is an object"), "{problems}");
    }
}
