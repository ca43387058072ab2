//! What will be written, decided from what was read: pure.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::candidate::{self, Candidate};
use super::group_form::text;
use super::models::{Outcome, Package};
use super::report::{Finding, quoted};
use super::survey::Survey;
use super::{Obstacle, Obstacles, rows, settings};
use crate::arn::{ConnectorArn, ThingArn};
use crate::connector::image_classifier;
use crate::documents;
use crate::group::ModelSource;
use crate::name::{ResourceId, S3Uri};
use crate::package::Sha256Digest;
use crate::problem::Problems;

/// Where packages lie in the output.
pub(super) const PACKAGES: &str = "packages";
/// The configuration in the output.
pub(super) const CONFIG_FILE: &str = "config.json";
/// Put behind the name of V1's archive, so that nothing of V1's is replaced and no core fetches the old one.
const KEY_SUFFIX: &str = "-margay";

/// What will be written, and what is to be said of it.
#[derive(Debug)]
pub struct Plan {
    /// The configuration; absent where only definitions were joined.
    pub(super) config: Option<Value>,
    /// The group document.
    pub(super) group: Value,
    /// The packages, each for its resource.
    pub(super) deposits: Vec<Deposit>,
    /// A row for everything that was found.
    pub findings: Vec<Finding>,
}

/// A package for the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Deposit {
    pub(super) resource: ResourceId,
    /// Where it belongs in S3, and where the group looks for it.
    pub(super) origin: S3Uri,
    /// Where it was made.
    pub(super) archive: PathBuf,
    /// Its name in the output.
    pub(super) file: String,
    pub(super) bytes: u64,
    pub(super) digest: Sha256Digest,
}

/// Decides what becomes of what `survey` found; `output` is the folder that it will be written to.
///
/// # Errors
/// The documents would be refused.
pub fn plan(survey: &Survey, output: &Path) -> Result<Plan, Obstacles> {
    let mut findings = survey.findings.clone();
    let needs_credentials = survey.group.resources.iter().any(|resource| resource.model().is_some());
    let config = survey
        .settings
        .as_ref()
        .map(|settings| settings::carried_over(settings, survey.additions.as_ref(), needs_credentials, &mut findings));
    if config.is_some() {
        findings.push(stop_v1());
    }
    let mut draft = Draft { survey, group: survey.document.clone(), deposits: Vec::new(), findings };
    draft.place_models(output);
    draft.ask_for_signatures(config.as_ref(), output);
    let chosen = draft.place_classifier();
    rows::group(survey, chosen.as_ref(), &mut draft.findings);
    let Draft { group, deposits, mut findings, .. } = draft;
    check(config.as_ref(), &group, output, &mut findings)?;
    findings.sort_by_key(|finding| finding.verdict);
    Ok(Plan { config, group, deposits, findings })
}

/// The group document in the making.
struct Draft<'s> {
    survey: &'s Survey,
    group: Value,
    deposits: Vec<Deposit>,
    findings: Vec<Finding>,
}

impl Draft<'_> {
    /// Points every resource whose model is packed to where the package belongs.
    fn place_models(&mut self, output: &Path) {
        let survey = self.survey;
        for resource in &survey.group.resources {
            let Some(model) = resource.model() else { continue };
            let subject = format!("model {}", resource.id);
            match survey.models.get(&resource.id) {
                Some(Outcome::Package(package)) => self.place_model(&resource.id, &model.source, package, output),
                Some(Outcome::Decide { why, command }) => {
                    let says = format!("{why}. Then import again, with --model {0}={0}.tar.gz", resource.id);
                    let finding = Finding::decision(subject, says);
                    self.findings.push(match command {
                        Some(command) => finding.with_command(command),
                        None => finding,
                    });
                }
                Some(Outcome::Cannot { why }) => self.findings.push(Finding::will_not(subject, why)),
                None => {
                    let source = &model.source;
                    let says = format!("no folder on this disk is its own: it is fetched from {source}, as V1 did");
                    let command = format!("margay check --online --config {}", config_path(output));
                    self.findings.push(Finding::decision(subject, says).with_command(command));
                }
            }
        }
    }

    fn place_model(&mut self, resource: &ResourceId, source: &ModelSource, package: &Package, output: &Path) {
        let subject = format!("model {resource}");
        let Some(origin) = self.origin(source, package.suffix) else {
            let says = "is packed, and no bucket is named for it: import again with --bucket".to_owned();
            self.findings.push(Finding::decision(subject, says));
            return;
        };
        let listed = self.group.pointer_mut("/ResourceDefinitionVersion/Resources").and_then(Value::as_array_mut);
        let entry = listed.into_iter().flatten().find(|entry| text(entry, "Id") == resource.as_str());
        if let Some(container) = entry.and_then(|entry| entry.get_mut("ResourceDataContainer")) {
            point_to(container, &origin);
        }
        let file = format!("{}{}", resource.as_str().replace(':', "-"), package.suffix);
        let says = format!(
            "{}, {} bytes, {}: in the store, so that it runs without S3",
            package.name, package.bytes, package.digest
        );
        self.findings.push(Finding::works(subject.clone(), says));
        if let Some(assumed) = package.assumed {
            self.findings.push(Finding::decision(subject.clone(), assumed));
        }
        let archive = output.join(PACKAGES).join(&file).display().to_string();
        let says =
            format!("the group looks for it at {origin}, where it is not yet; until then its deployment says retrying");
        let command = format!("margay model push {} {origin} --config {}", quoted(&archive), config_path(output));
        self.findings.push(Finding::decision(subject, says).with_command(command));
        self.deposits.push(Deposit {
            resource: resource.clone(),
            origin,
            archive: package.archive.clone(),
            file,
            bytes: package.bytes,
            digest: package.digest,
        });
    }

    /// Where a package belongs: beside V1's, under another name.
    fn origin(&self, source: &ModelSource, suffix: &str) -> Option<S3Uri> {
        let (bucket, key) = match source {
            ModelSource::S3(uri) => (Some(uri.bucket().to_owned()), uri.key().to_owned()),
            ModelSource::TrainingJob(job) => {
                let core = self.survey.group.core.as_ref();
                // SageMaker's own default bucket.
                let bucket = core.map(|core| format!("sagemaker-{}-{}", job.region(), core.thing_arn.account()));
                (bucket, job.name().to_owned())
            }
            ModelSource::File(path) => (None, path.to_string_lossy().into_owned()),
        };
        let stem = [".tar.gz", ".zip"].iter().find_map(|ending| key.strip_suffix(ending)).unwrap_or(&key);
        let stem = stem.strip_suffix(KEY_SUFFIX).unwrap_or(stem);
        let bucket = self.survey.bucket.clone().or(bucket)?;
        format!("s3://{bucket}/{stem}{KEY_SUFFIX}{suffix}").parse().ok()
    }

    /// What is imported is nobody's by a signature; a core that asks for one takes the pushed package only with it.
    fn ask_for_signatures(&mut self, config: Option<&Value>, output: &Path) {
        let policy = config.and_then(|config| config.pointer("/margay/packages/signatures")).and_then(Value::as_str);
        if policy != Some("required") {
            return;
        }
        for deposit in &self.deposits {
            let archive = output.join(PACKAGES).join(&deposit.file).display().to_string();
            let says = "this core asks for signatures, and the package has none: it runs, because you put it into the \
                        store; sign it before you push it";
            let command = format!("margay model sign --key FLEET.key {}", quoted(&archive));
            let subject = format!("model {}", deposit.resource);
            self.findings.push(Finding::decision(subject, says).with_command(command));
        }
    }

    /// Puts the classifier in the place of the first who has a packed model and a camera; offers it to the others.
    fn place_classifier(&mut self) -> Option<Candidate> {
        let survey = self.survey;
        let thing = &survey.group.core.as_ref()?.thing_arn;
        let arn = candidate::connector_arn(thing)?;
        if survey.group.connectors.iter().any(|connector| connector.arn.name() == image_classifier::NAME) {
            return None;
        }
        let candidates = candidate::candidates(&survey.group, &survey.picture_folders);
        let is_packed = |one: &&Candidate| self.deposits.iter().any(|deposit| deposit.resource == one.model);
        let chosen = candidates.iter().find(|one| one.is_complete() && is_packed(one)).cloned();
        for candidate in candidates.iter().filter(|one| Some(*one) != chosen.as_ref()) {
            let finding = self.offer(candidate, chosen.is_some(), &arn, thing);
            self.findings.push(finding);
        }
        if let Some(chosen) = &chosen {
            self.put_in(chosen, &arn, thing);
        }
        chosen
    }

    fn offer(&self, candidate: &Candidate, is_taken: bool, arn: &ConnectorArn, thing: &ThingArn) -> Finding {
        let mut reasons = Vec::new();
        if !self.deposits.iter().any(|deposit| deposit.resource == candidate.model) {
            reasons.push(format!("its model {} is not packed yet", candidate.model));
        }
        if !candidate.is_complete() {
            reasons.push(candidate.camera_question().to_owned());
        }
        if is_taken {
            reasons.push("this version has one classifier a group, and another one is it".to_owned());
        }
        if candidate.topic.is_none() {
            reasons
                .push("no subscription names one topic of it to the cloud: the default topic would be used".to_owned());
        }
        let says = format!("the classifier can stand for it; {}", reasons.join("; "));
        Finding::decision(candidate.who.clone(), says).with_snippet(candidate.snippet(arn, thing))
    }

    fn put_in(&mut self, chosen: &Candidate, arn: &ConnectorArn, thing: &ThingArn) {
        let connector = chosen.connector(&self.unused("margay-classifier"), arn);
        let subscription = chosen.subscription(&self.unused("margay-predictions"), arn, thing);
        append(&mut self.group, ("ConnectorDefinitionVersion", "Connectors"), connector);
        append(&mut self.group, ("SubscriptionDefinitionVersion", "Subscriptions"), subscription);
        let camera = chosen.parameters()["CameraResourceId"].as_str().unwrap_or_default().to_owned();
        let topic = chosen.topic.as_ref().map_or("the default topic".to_owned(), |topic| topic.as_str().to_owned());
        let says =
            format!("stands for {}: model {}, camera {camera}, predictions on {topic}", chosen.who, chosen.model);
        self.findings.push(Finding::works("classifier", says));
        let says = "subscribers receive Margay's JSON in place of what the function wrote: docs/topics-and-payloads.md";
        self.findings.push(Finding::decision("classifier", says));
    }

    /// `wanted`, or with a number behind it where an entity of the group has that id.
    fn unused(&self, wanted: &str) -> String {
        let text = self.group.to_string();
        let is_free = |id: &String| !text.contains(&format!("\"{id}\""));
        let numbered = (2..).map(|number| format!("{wanted}-{number}"));
        std::iter::once(wanted.to_owned()).chain(numbered).find(is_free).unwrap_or_default()
    }
}

/// Two connections of one client id throw each other out (contract G1).
fn stop_v1() -> Finding {
    let says = "has to be stopped for good before this core starts: both connect under the thing's name";
    Finding::decision("V1's daemon", says).with_command("sudo systemctl disable --now greengrass")
}

fn config_path(output: &Path) -> String {
    quoted(&output.join(CONFIG_FILE).display().to_string())
}

/// Makes a machine learning resource one of S3 at `origin`; its destination and owner stay.
fn point_to(container: &mut Value, origin: &S3Uri) {
    let Some(held) = container.as_object() else { return };
    let data = held.iter().find(|(key, _)| key.ends_with("MachineLearningModelResourceData"));
    let Some(mut data) = data.and_then(|(_, data)| data.as_object().cloned()) else { return };
    data.remove("SageMakerJobArn");
    data.insert("S3Uri".to_owned(), origin.to_string().into());
    *container = json!({ "S3MachineLearningModelResourceData": data });
}

/// Puts `entry` behind the others of a list, which is made where it is not.
fn append(document: &mut Value, (part, list): (&str, &str), entry: Value) {
    if document.get(part).is_none_or(Value::is_null) {
        document[part] = json!({});
    }
    let held = &mut document[part][list];
    match held.as_array_mut() {
        Some(entries) => entries.push(entry),
        None => *held = json!([entry]),
    }
}

/// Reads what will be written as `margay check` will, and keeps its warnings.
fn check(config: Option<&Value>, group: &Value, output: &Path, findings: &mut Vec<Finding>) -> Result<(), Obstacles> {
    let refused = |problems: Problems| Obstacles(vec![Obstacle::Refused { path: output.to_owned(), problems }]);
    let problems = match config {
        Some(config) => documents::check(&config.to_string(), output, &group.to_string()).problems,
        None => match documents::check_group(&group.to_string(), None) {
            Ok(accepted) => accepted.warnings,
            Err(problems) => problems,
        },
    };
    if problems.refuse() {
        return Err(refused(problems));
    }
    let warnings = problems.warnings().count();
    let says = format!("margay check accepts what is written, with {warnings} warnings that it lists");
    findings.push(Finding::works("documents", says));
    Ok(())
}
