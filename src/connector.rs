//! Connectors: prebuilt modules that a group configures with string parameters (contract A1). This version has one of its
//! own, [`image_classifier`], and two of V1's, [`image_classification`] and [`ml_feedback`]; of the others it says that
//! they do nothing here.

use crate::document::Notes;
use crate::feedback::FeedbackSettings;
use crate::group::{Connector, Group, IsolationMode};
use crate::problem::{Accepted, Document, Problems};

pub mod image_classification;
pub mod image_classifier;
pub mod ml_feedback;

use image_classification::ClassificationService;
use image_classifier::ImageClassifier;

/// V1's connectors that may run without a container (contract H11).
const WITHOUT_CONTAINER: [&str; 2] = ["IoTSiteWise", "DockerApplicationDeployment"];

/// The connectors of a group that this version has.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Connectors {
    /// Classifiers of cameras' frames; a group has at most one (contract A1).
    pub image_classifiers: Vec<ImageClassifier>,
    /// Local inference services for functions.
    pub services: Vec<ClassificationService>,
    /// Where samples go.
    pub feedback: Option<FeedbackSettings>,
}

/// Reads the parameters of every connector of `group` that this version has.
///
/// # Errors
/// Every problem of the connectors, at least one of which refuses the group.
pub fn read(group: &Group) -> Result<Accepted<Connectors>, Problems> {
    let notes = Notes::of(Document::Group);
    let mut found = Connectors::default();
    let feedback = group.connectors.iter().find(|connector| connector.arn.name() == ml_feedback::NAME);
    // Absent, refused or read: the services refer to it.
    let feedback = feedback.map(|connector| ml_feedback::read(connector, group, &notes));
    for connector in &group.connectors {
        match connector.arn.name() {
            image_classifier::NAME => found.image_classifiers.extend(image_classifier::read(connector, group, &notes)),
            ml_feedback::NAME => {}
            name if image_classification::NAMES.contains(&name) => {
                let feedback = feedback.as_ref().map(Option::as_ref);
                found.services.extend(image_classification::read(connector, group, feedback, &notes));
            }
            _ => note_foreign(connector, group, &notes),
        }
    }
    refuse_same_services(&found.services, group, &notes);
    found.feedback = feedback.flatten();
    notes.conclude(Some(found))
}

/// Functions name services, so no two have one name.
fn refuse_same_services(services: &[ClassificationService], group: &Group, notes: &Notes) {
    for (position, later) in services.iter().enumerate() {
        if services[..position].iter().any(|earlier| earlier.service == later.service)
            && let Some(connector) = group.connectors.iter().find(|connector| connector.arn == later.arn)
        {
            let path = connector.path_of("Parameters.LocalInferenceServiceName");
            let rule = "is the name of another connector's service, too";
            notes.error(&path, Some(format!("{:?}", later.service)), rule, "give each service a name of its own");
        }
    }
}

/// A connector that this version does not have: V1's rule for it, and that it does nothing here.
fn note_foreign(connector: &Connector, group: &Group, notes: &Notes) {
    if !WITHOUT_CONTAINER.contains(&connector.arn.name()) {
        refuse_without_container(connector, group, notes);
    }
    let (path, shown) = (connector.path_of("ConnectorArn"), connector.shown_arn());
    let hint = "take it out, or leave it without effect";
    notes.warning(&path, shown, "is a connector that this version does not have", hint);
}

/// Whether the group's default isolation allows the connector (contract A1).
fn refuse_without_container(connector: &Connector, group: &Group, notes: &Notes) -> bool {
    let contained = group.default_isolation == IsolationMode::GreengrassContainer;
    if !contained {
        let rule = "is not supported when the group's default isolation is NoContainer";
        let hint = "write GreengrassContainer in DefaultConfig, or take it out";
        notes.error(&connector.path_of("ConnectorArn"), connector.shown_arn(), rule, hint);
    }
    contained
}

/// Whether `text` matches `^[a-zA-Z0-9][a-zA-Z0-9-]{1,62}$`: the id of a feedback configuration (B-32), the name of a
/// local inference service (B-30).
fn is_configuration_id(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (2..=63).contains(&text.len()) && text.bytes().all(allowed) && !text.starts_with('-')
}

#[cfg(test)]
mod machine_learning_tests;
#[cfg(test)]
mod tests;
