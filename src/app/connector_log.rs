//! The logs of V1's connectors at V1's place (B-29, contract A5), `var/log/user/REGION/aws/NAME.log`: what the core says of
//! a connector, with the level and the space of functions' logs. Each line begins with the name of the service, where the
//! connector has one (B-30).
//!
//! An event is a connector's if it has a field `connector` with the name in the connector's ARN. It goes into the core's own
//! log as well.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use tracing::Metadata;
use tracing::level_filters::LevelFilter;

use super::functions::log_limits;
use super::log_line::{CONNECTOR, Line, OURS, as_filter};
use crate::clock::Clock;
use crate::group::Group;
use crate::log_file::LogFile;

/// Whose functions V1's connectors were.
const ACCOUNT: &str = "aws";

/// The files of the connectors of the group that runs; none until a group has some.
#[derive(Debug, Clone, Default)]
pub(super) struct ConnectorLogs(Arc<RwLock<Open>>);

#[derive(Debug, Default)]
struct Open {
    place: Option<(PathBuf, Arc<dyn Clock>)>,
    files: BTreeMap<String, LogFile>,
    level: Option<LevelFilter>,
}

impl ConnectorLogs {
    /// Files of groups are made below `logs` from now on.
    pub(super) fn open(&self, logs: &Path, clock: Arc<dyn Clock>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).place = Some((logs.join("user"), clock));
    }

    /// Takes the connectors of `group`, and its loggers for functions.
    pub(super) fn configure(&self, group: &Group) {
        let mut open = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let Some((folder, clock)) = open.place.clone() else { return };
        let (space, level) = log_limits(&group.loggers);
        let files = group.connectors.iter().map(|connector| {
            let (arn, name) = (connector.arn.to_string(), connector.arn.name());
            let region = arn.split(':').nth(3).unwrap_or_default();
            let path = folder.join(region).join(ACCOUNT).join(format!("{name}.log"));
            (name.to_owned(), LogFile::new(path, space, level, clock.clone()))
        });
        open.files = files.collect();
        open.level = (!open.files.is_empty()).then(|| as_filter(level));
    }

    /// The most detailed level of which it takes events.
    pub(super) fn level(&self) -> LevelFilter {
        self.0.read().unwrap_or_else(PoisonError::into_inner).level.unwrap_or(LevelFilter::OFF)
    }

    /// Whether an event is to be written.
    pub(super) fn wants(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.level()
            && metadata.target().starts_with(OURS)
            && metadata.fields().field(CONNECTOR).is_some()
    }

    /// Writes a wanted event into its connector's file.
    pub(super) fn write(&self, line: Line) {
        let Some(connector) = line.connector.clone() else { return };
        let open = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = open.files.get(&connector) {
            let source = line.service.clone().unwrap_or(connector);
            // The same event goes to standard error; to say here that the disk refuses would come back to this place.
            let _ = file.write(line.level, &source, &line.text());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::system_log::SystemLog;
    use crate::clock::SystemClock;
    use crate::group::Host;
    use serde_json::json;
    use tracing_subscriber::layer::SubscriberExt;

    const CONNECTOR: &str = "arn:aws:greengrass:eu-central-1::/connectors/MLFeedback/versions/1";

    fn group() -> Group {
        let thing = "arn:aws:iot:eu-central-1:123456789012:thing/core";
        let certificate = "arn:aws:iot:eu-central-1:123456789012:cert/1";
        let document = json!({
            "CoreDefinitionVersion": { "Cores": [
                { "Id": "core", "ThingArn": thing, "CertificateArn": certificate, "SyncShadow": false }] },
            "ConnectorDefinitionVersion": { "Connectors": [
                { "Id": "feedback", "ConnectorArn": CONNECTOR, "Parameters": {} }] },
        });
        let host = Host { thing_arn: None, allow_functions_to_run_as_root: false, virtual_hosted_s3: true };
        Group::parse(&document.to_string(), host).unwrap().document
    }

    #[test]
    fn what_is_said_of_a_connector_is_in_v1s_file_for_it_under_the_name_of_its_service() {
        let folder = tempfile::tempdir().unwrap();
        let log = SystemLog::default();
        let subscriber = tracing_subscriber::registry().with(log.layer());
        tracing::subscriber::with_default(subscriber, || {
            log.open(folder.path(), Arc::new(SystemClock::new()));
            tracing::warn!(connector = "MLFeedback", "before there is a group");
            log.configure(&group());
            tracing::warn!(connector = "MLFeedback", number = 3, "kept");
            tracing::warn!(connector = "MLFeedback", service = "parts", "kept");
            tracing::warn!(connector = "Twilio", "of a connector that the group does not have");
            tracing::debug!(connector = "MLFeedback", "below the level");
            tracing::warn!("of the core");
        });
        let text = std::fs::read_to_string(folder.path().join("user/eu-central-1/aws/MLFeedback.log")).unwrap();
        let lines: Vec<&str> = text.lines().map(|line| line.split_once("][").unwrap().1).collect();
        let expected = [
            "WARN]-MLFeedback,kept connector=MLFeedback number=3",
            "WARN]-parts,kept connector=MLFeedback service=parts",
        ];
        assert_eq!(lines, expected);
        assert_eq!(std::fs::read_dir(folder.path().join("user/eu-central-1/aws")).unwrap().count(), 1);
    }
}
