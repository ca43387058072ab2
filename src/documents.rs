//! The two documents that an operator writes, read together: `config.json` and the group document, with the connectors
//! that it configures and the rules between the two. [`check`] is pure; [`load`] and [`load_group`] read the files.

mod fuzz;

use std::path::Path;

pub use self::fuzz::fuzz_group_document;
use crate::config::{self, Config};
use crate::connector::image_classification::ClassificationService;
use crate::connector::{self, Connectors, image_classifier::ImageClassifier};
use crate::document::{LoadError, Notes, read_file};
use crate::feedback::FeedbackSettings;
use crate::group::{self, Group, Host, Party};
use crate::mqtt::jobs::FILTER_COUNT;
use crate::mqtt::link::MAX_SUBSCRIPTIONS;
use crate::problem::{Accepted, Document, Problems};
use crate::topic::TopicFilter;

/// A group document that can be deployed.
#[derive(Debug, Clone, PartialEq)]
pub struct Deployable {
    /// The group.
    pub group: Group,
    /// Its connectors that classify images; a group has at most one (contract A1).
    pub image_classifiers: Vec<ImageClassifier>,
    /// Its connectors that are local inference services.
    pub services: Vec<ClassificationService>,
    /// Its feedback connector.
    pub feedback: Option<FeedbackSettings>,
}

/// What reading both documents came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The configuration, unless it is refused.
    pub config: Option<Config>,
    /// The group, unless it is refused or was not found because the configuration is.
    pub deployable: Option<Deployable>,
    /// Every problem of both.
    pub problems: Problems,
}

/// Checks both documents. `root` is V1's greengrass-root, to which relative paths of the configuration refer.
pub fn check(config_text: &str, root: &Path, group_text: &str) -> Report {
    let mut problems = Problems::default();
    let config = settle(Config::parse(config_text, root), &mut problems);
    let deployable = settle(check_group(group_text, config.as_ref()), &mut problems);
    Report { config, deployable, problems }
}

/// Checks a group document, against the core's configuration where there is one.
///
/// # Errors
/// Every problem of the document, at least one of which refuses it.
pub fn check_group(text: &str, config: Option<&Config>) -> Result<Accepted<Deployable>, Problems> {
    let Accepted { document: group, mut warnings } = Group::parse(text, host(config))?;
    let connectors = connector::read(&group);
    let between = config.map_or(Ok(()), |config| check_credentials(config, &group));
    match (connectors, between) {
        (Ok(Accepted { document: connectors, warnings: more }), Ok(())) => {
            let Connectors { image_classifiers, services, feedback } = connectors;
            warnings.append(more);
            warnings.append(config.map(|config| check_room(config, &group)).unwrap_or_default());
            Ok(Accepted { document: Deployable { group, image_classifiers, services, feedback }, warnings })
        }
        (connectors, between) => {
            let mut problems = warnings;
            problems.append(connectors.map_or_else(|refused| refused, |accepted| accepted.warnings));
            problems.append(between.err().unwrap_or_default());
            Err(problems)
        }
    }
}

fn host(config: Option<&Config>) -> Host<'_> {
    Host {
        thing_arn: config.map(|config| &config.core_thing.thing_arn),
        // Without a configuration, its refusal is problem enough.
        allow_functions_to_run_as_root: config.is_none_or(|config| config.runtime.allow_functions_to_run_as_root),
        virtual_hosted_s3: config.is_none_or(|config| config.s3.is_virtual_hosted_over_tls()),
    }
}

/// A package in S3 is fetched with the role alias's credentials.
fn check_credentials(config: &Config, group: &Group) -> Result<(), Problems> {
    if config.credentials.is_some() || !group.resources.iter().any(|resource| resource.model().is_some()) {
        return Ok(());
    }
    let notes = Notes::of(Document::Config);
    let rule = "is required, because the group has machine learning resources, which are fetched from S3";
    notes.error("margay.credentials", None, rule, "name the credentials provider's endpoint and the roleAlias");
    notes.conclude(Some(())).map(|_| ())
}

/// A connection has room for so many subscriptions, of which Jobs take theirs first.
fn check_room(config: &Config, group: &Group) -> Problems {
    let from_cloud = group.subscriptions_from(&Party::Cloud).map(|subscription| subscription.subject.clone());
    let asked = TopicFilter::uncovered(&from_cloud.collect::<Vec<_>>()).len();
    let room = MAX_SUBSCRIPTIONS - if config.jobs.is_some() { FILTER_COUNT } else { 0 };
    if asked <= room {
        return Problems::default();
    }
    let notes = Notes::of(Document::Group);
    let rule = format!(
        "has {asked} subjects to ask the cloud for, and the connection has room for {room} beside those of margay.jobs: \
         the last ones are not asked for"
    );
    notes.warning("SubscriptionDefinitionVersion.Subscriptions", None, rule, "join some with a wildcard");
    notes.conclude(Some(())).map_or_else(|refused| refused, |accepted| accepted.warnings)
}

fn settle<T>(outcome: Result<Accepted<T>, Problems>, problems: &mut Problems) -> Option<T> {
    match outcome {
        Ok(Accepted { document, warnings }) => {
            problems.append(warnings);
            Some(document)
        }
        Err(refused) => {
            problems.append(refused);
            None
        }
    }
}

/// Reads and checks both files; `group_path` stands in for the one that the configuration names.
///
/// # Errors
/// [`LoadError::Read`] if a file cannot be read; what is wrong with its content is in the report.
pub fn load(config_path: &Path, group_path: Option<&Path>) -> Result<Report, LoadError> {
    let mut problems = Problems::default();
    let config = settle(read_content(config::load(config_path))?, &mut problems);
    let named = config.as_ref().map(|config| config.directories.group_document.as_path());
    let deployable = match group_path.or(named) {
        Some(path) => settle(read_content(load_group(path, config.as_ref()))?, &mut problems),
        None => None,
    };
    Ok(Report { config, deployable, problems })
}

/// Reads and checks the group document in the file `path`.
///
/// # Errors
/// If the file cannot be read, or says something that is refused.
pub fn load_group(path: &Path, config: Option<&Config>) -> Result<Accepted<Deployable>, LoadError> {
    let text = read_file(Document::Group, path, group::SIZE_LIMIT)?;
    let refused = |source| LoadError::Refused { document: Document::Group, path: path.to_owned(), source };
    check_group(&text, config).map_err(refused)
}

/// Tells a file that cannot be read from one that is refused.
fn read_content<T>(loaded: Result<Accepted<T>, LoadError>) -> Result<Result<Accepted<T>, Problems>, LoadError> {
    match loaded {
        Ok(accepted) => Ok(Ok(accepted)),
        Err(LoadError::Refused { source, .. }) => Ok(Err(source)),
        Err(unreadable @ LoadError::Read { .. }) => Err(unreadable),
    }
}

#[cfg(test)]
mod tests;
