//! Starting a probe and reading what it found.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::{BufRead, BufReader, Read};
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use margay_sandbox::{Bind, Confinement, Exit, Plan, PlanParts, Sandboxed, launch};
use rustix::pipe::{PipeFlags, pipe_with};
use tempfile::TempDir;

/// Where the model appears in the worker.
pub const MODEL: &str = "/greengrass-machine-learning/model";

/// A folder with a model that every user may write, so that only the mount can keep one from it, beside a key.
pub struct Fixture {
    pub folder: TempDir,
}

impl Fixture {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("model");
        fs::create_dir(&model).unwrap();
        fs::write(model.join("model.onnx"), "the model").unwrap();
        fs::write(folder.path().join("private.key"), "the key").unwrap();
        for (path, mode) in [(folder.path(), 0o777), (&model, 0o777)] {
            fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        }
        for file in [model.join("model.onnx"), folder.path().join("private.key")] {
            fs::set_permissions(file, Permissions::from_mode(0o666)).unwrap();
        }
        Self { folder }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A plan for a probe with the model, to be varied.
    pub fn parts(&self, questions: &[&str]) -> PlanParts {
        PlanParts {
            name: "probe".to_owned(),
            arguments: arguments(questions),
            binds: vec![Bind::read_only(self.path().join("model"), MODEL)],
            ..PlanParts::default()
        }
    }
}

pub fn arguments(questions: &[&str]) -> Vec<String> {
    ["probe"].iter().chain(questions).map(|text| (*text).to_owned()).collect()
}

/// A running probe with its standard output.
pub struct Probe {
    pub sandboxed: Sandboxed,
    output: BufReader<File>,
}

impl Probe {
    pub fn start(parts: PlanParts, descriptors: Vec<(OwnedFd, RawFd)>) -> Self {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let error_output = writer.try_clone().unwrap();
        let standard = vec![(writer, 1), (error_output, 2)];
        let plan = Plan::new(parts).unwrap();
        let sandboxed = launch(&plan, standard.into_iter().chain(descriptors).collect()).unwrap();
        Self { sandboxed, output: BufReader::new(File::from(reader)) }
    }

    /// The next line of its output.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Waits for its end; the rest of its output.
    pub fn finish(mut self) -> (Answers, Exit) {
        let mut text = String::new();
        self.output.read_to_string(&mut text).unwrap();
        (Answers::parse(&text), self.sandboxed.wait())
    }
}

/// What a probe answered to each question.
#[derive(Debug)]
pub struct Answers(BTreeMap<String, String>);

impl Answers {
    fn parse(text: &str) -> Self {
        Self(
            text.lines().filter_map(|line| line.split_once(" = ")).map(|(q, a)| (q.to_owned(), a.to_owned())).collect(),
        )
    }

    pub fn to(&self, question: &str) -> &str {
        self.0.get(question).unwrap_or_else(|| panic!("no answer to {question:?} in {self:?}"))
    }
}

/// Starts a probe, lets it answer, and says how far it was contained.
pub fn ask(parts: PlanParts) -> (Answers, Confinement) {
    let probe = Probe::start(parts, Vec::new());
    let confinement = probe.sandboxed.confinement();
    let (answers, exit) = probe.finish();
    assert!(exit.is_success(), "{exit}: {answers:?}");
    (answers, confinement)
}
