//! Connectors: prebuilt modules that a group configures with string parameters (contract A1). This version has one of its
//! own, [`image_classifier`]; of V1's it has none, and says so.

use crate::document::Notes;
use crate::group::{Connector, Group, IsolationMode};
use crate::problem::{Accepted, Document, Problems};

pub mod image_classifier;

use image_classifier::ImageClassifier;

/// V1's connectors that may run without a container (contract H11).
const WITHOUT_CONTAINER: [&str; 2] = ["IoTSiteWise", "DockerApplicationDeployment"];

/// Reads the parameters of every connector of `group` that this version has.
///
/// # Errors
/// Every problem of the connectors, at least one of which refuses the group.
pub fn read(group: &Group) -> Result<Accepted<Vec<ImageClassifier>>, Problems> {
    let notes = Notes::of(Document::Group);
    let mut classifiers = Vec::new();
    for connector in &group.connectors {
        if connector.arn.name() == image_classifier::NAME {
            classifiers.extend(image_classifier::read(connector, group, &notes));
        } else {
            note_foreign(connector, group, &notes);
        }
    }
    notes.conclude(Some(classifiers))
}

/// A connector that this version does not have: V1's rule for it, and that it does nothing here.
fn note_foreign(connector: &Connector, group: &Group, notes: &Notes) {
    let name = connector.arn.name();
    let (path, shown) = (connector.path_of("ConnectorArn"), connector.shown_arn());
    let contained = group.default_isolation == IsolationMode::GreengrassContainer;
    if !contained && !WITHOUT_CONTAINER.contains(&name) {
        let rule = "is not supported when the group's default isolation is NoContainer";
        notes.error(&path, shown.clone(), rule, "write GreengrassContainer in DefaultConfig, or take it out");
    }
    let hint = if name.starts_with("ImageClassification") {
        format!("use {}, which takes its model from S3", image_classifier::NAME)
    } else {
        "take it out, or leave it without effect".to_owned()
    };
    notes.warning(&path, shown, "is a connector that this version does not have", hint);
}

#[cfg(test)]
mod tests;
