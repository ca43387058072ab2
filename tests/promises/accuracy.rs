//! The accuracy that models/README.md states is the program's own: the committed packages are run over the committed
//! held-out frames, and every count must come out as it is written there.
//!
//! The front-end and the int8 kernels give the same bytes on every instruction set; sums of floats differ by some 1e-5.
//! There is room for it: no frame's first two classes lie nearer to each other than 0.0013 with the float model, and no
//! first probability nearer to the threshold than 0.0004.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde::Deserialize;

use crate::support::program;

/// The least probability with which a frame counts as answered, as in both packages' manifests.
const THRESHOLD: f32 = 0.5;

/// Right answers, and the frames that they are out of, by the table's row.
type Counts = BTreeMap<String, (usize, usize)>;

/// What the program says of a frame.
struct Answer {
    label: String,
    probability: f32,
}

/// A package's part of confusion.json, from which the picture in the README is drawn.
#[derive(Debug, Default, PartialEq, Deserialize)]
struct Score {
    taken_for: BTreeMap<String, BTreeMap<String, usize>>,
    answered: usize,
    answered_rightly: usize,
}

/// What each committed frame shows, by its file name.
fn truth() -> BTreeMap<String, String> {
    serde_json::from_str(&fs::read_to_string("models/signs/frames/truth.json").unwrap()).unwrap()
}

/// What `margay classify` says of the frames, in the order of their names.
fn answers(package: &str, truth: &BTreeMap<String, String>) -> Vec<Answer> {
    let archive = format!("models/signs/{package}-1.0.0.tar.gz");
    let frames: Vec<String> = truth.keys().map(|name| format!("models/signs/frames/{name}")).collect();
    let mut arguments = vec!["classify", "--json", "--top-k", "1", "--model", &archive];
    arguments.extend(frames.iter().map(String::as_str));
    let output = program::run(&arguments);
    program::assert_code(&output, 0);
    let lines: Vec<serde_json::Value> =
        String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.iter().map(|line| line["picture"].as_str().unwrap()).eq(&frames), "a line a frame, in their order");
    lines
        .iter()
        .map(|line| &line["predictions"][0])
        .map(|best| Answer {
            label: best["label"].as_str().unwrap().to_owned(),
            probability: best["probability"].as_f64().unwrap() as f32,
        })
        .collect()
}

fn score(truth: &[&str], answers: &[Answer]) -> Score {
    let mut score = Score::default();
    for (&shown, answer) in truth.iter().zip(answers) {
        let row = score.taken_for.entry(shown.to_owned()).or_default();
        *row.entry(answer.label.clone()).or_default() += 1;
        if answer.probability >= THRESHOLD {
            score.answered += 1;
            score.answered_rightly += usize::from(answer.label == shown);
        }
    }
    score
}

/// The rows that the table should have.
fn counts(score: &Score) -> Counts {
    let mut counts: Counts = score
        .taken_for
        .iter()
        .map(|(shown, row)| (shown.clone(), (row.get(shown).copied().unwrap_or_default(), row.values().sum())))
        .collect();
    let all = counts.values().fold((0, 0), |sum, row| (sum.0 + row.0, sum.1 + row.1));
    counts.insert("**all**".to_owned(), all);
    counts.insert("answered at 0.5 or more".to_owned(), (score.answered_rightly, score.answered));
    counts
}

/// The rows of the README's table, in the column that a package's name heads.
fn stated(package: &str) -> Counts {
    let readme = fs::read_to_string("models/README.md").unwrap();
    let mut rows = readme
        .lines()
        .skip_while(|line| !line.starts_with("| class | "))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>());
    let column = rows.next().unwrap().iter().position(|&head| head == format!("`{package}`")).unwrap();
    rows.skip(1)
        .take_while(|row| row.len() > column)
        .map(|row| {
            let (right, total) = row[column].split_once(" / ").unwrap();
            (row[0].to_owned(), (right.parse().unwrap(), total.parse().unwrap()))
        })
        .collect()
}

/// Whether the answers, held against `truth`, give what README and confusion.json say; if not, the rows that differ.
fn check(package: &str, truth: &[&str], answers: &[Answer]) -> Result<(), String> {
    let found = score(truth, answers);
    let (counted, stated) = (counts(&found), stated(package));
    let rows: BTreeSet<&String> = counted.keys().chain(stated.keys()).collect();
    let differing: Vec<String> = rows
        .into_iter()
        .filter(|row| counted.get(*row) != stated.get(*row))
        .map(|row| format!("{row}: {:?} counted, {:?} in models/README.md", counted.get(row), stated.get(row)))
        .collect();
    if !differing.is_empty() {
        return Err(differing.join("\n"));
    }
    let mut committed: BTreeMap<String, Score> =
        serde_json::from_str(&fs::read_to_string("models/signs/confusion.json").unwrap()).unwrap();
    match committed.remove(package) {
        Some(committed) if committed == found => Ok(()),
        committed => Err(format!("{found:?} counted, {committed:?} in confusion.json")),
    }
}

fn the_stated_accuracy_is_the_programs(package: &str) {
    let truth = truth();
    assert!(truth.len() >= 400, "{} frames", truth.len());
    let answers = answers(package, &truth);
    let shown: Vec<&str> = truth.values().map(String::as_str).collect();
    check(package, &shown, &answers).unwrap_or_else(|difference| panic!("{package}:\n{difference}"));

    // The same check fails on shuffled labels, and on one label that is wrong: it is the model that knows.
    let mut shuffled = shown.clone();
    shuffled.rotate_left(1);
    assert!(check(package, &shuffled, &answers).is_err(), "{package} passes with shuffled labels");
    let mut one_wrong = shown.clone();
    one_wrong[0] = shown.iter().find(|&&label| label != shown[0]).unwrap();
    assert!(check(package, &one_wrong, &answers).is_err(), "{package} passes with a wrong label");
}

#[test]
fn the_float_model_is_as_accurate_as_its_description_says() {
    the_stated_accuracy_is_the_programs("road-signs");
}

#[test]
fn the_int8_model_is_as_accurate_as_its_description_says() {
    the_stated_accuracy_is_the_programs("road-signs-int8");
}
