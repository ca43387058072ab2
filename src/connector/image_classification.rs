//! V1's ML Image Classification connector (B-30): a local inference service for functions, which ask it by the machine
//! learning SDK. Three names for three kinds of device, two versions; here each of them runs on every device.

use std::path::PathBuf;
use std::time::Duration;

use crate::arn::{ConnectorArn, TrainingJobArn};
use crate::classifier::{Running, WorkerIdentity};
use crate::document::{Field, Notes, Object, Unknown};
use crate::feedback::FeedbackSettings;
use crate::group::{Connector, Group, ModelSource, RunAs};
use crate::inference_service::ServiceSettings;
use crate::name::ResourceId;
use crate::units::ByteSize;

use super::image_classifier::{read_model, unprivileged};
use super::{is_configuration_id, refuse_without_container};

/// The connector for NVIDIA's Jetson TX2, which has a parameter of its own.
const JETSON: &str = "ImageClassificationAarch64JTX2";

/// The connector's names.
pub const NAMES: [&str; 3] = [JETSON, "ImageClassificationx86-64", "ImageClassificationARMv7"];

/// Its versions. The second knows the feedback connector.
const VERSIONS: [u32; 2] = [1, 2];

/// Below it no model of the guide loads: 16 MB, V1's default for any function.
const LEAST_MEMORY: u64 = 16 << 20;

/// A local inference service, validated against its group.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassificationService {
    /// The connector, as the group names it.
    pub arn: ConnectorArn,
    /// What functions call the service (`LocalInferenceServiceName`).
    pub service: String,
    /// Until when a request has its answer, in seconds (`LocalInferenceServiceTimeoutSeconds`).
    pub timeout_seconds: u64,
    /// The service's memory (`LocalInferenceServiceMemoryLimitKB`).
    pub memory_limit: ByteSize,
    /// The machine learning resource (`MLModelResourceId`).
    pub model_resource: ResourceId,
    /// Where the resource's package is.
    pub model_source: ModelSource,
    /// Where the model appears in the service's sandbox (`MLModelDestinationPath`).
    pub model_destination: PathBuf,
    /// The feedback configuration for what is classified (`MLFeedbackConnectorConfigId`), if any.
    pub feedback: Option<String>,
    /// Whom the service runs as, where the group says it; never root.
    pub run_as: RunAs,
}

/// Reads the parameters of `connector`; `None` if one is refused. `feedback` is the group's feedback connector, and is
/// `None` where its own parameters are refused.
pub(super) fn read(
    connector: &Connector,
    group: &Group,
    feedback: Option<Option<&FeedbackSettings>>,
    notes: &Notes,
) -> Option<ClassificationService> {
    let version = connector.arn.version();
    let contained = refuse_without_container(connector, group, notes);
    if !VERSIONS.contains(&version) {
        let rule = format!("is version {version} of {}, which has versions 1 and 2", connector.arn.name());
        notes.error(&connector.path_of("ConnectorArn"), connector.shown_arn(), rule, "write …/versions/2");
    }
    let mut parameters = Object::at(connector.path_of("Parameters"), &connector.parameters, notes);
    // The guide's page on version 1 prints the parameter's name this way, and its example the other.
    let misprinted = version == 1 && parameters.has("MLModelErrorId") && !parameters.has("MLModelResourceId");
    let resource = parameters.field(if misprinted { "MLModelErrorId" } else { "MLModelResourceId" });
    let destination = parameters.field("MLModelDestinationPath");
    let model = read_model(resource, destination, group);
    let job = parameters.field("MLModelSageMakerJobArn").required("write the ARN of the training job");
    let agrees = check_job(&job, model.as_ref().map(|(_, model)| &model.source));
    let service = read_service(&parameters.field("LocalInferenceServiceName").required("write a name of your own"));
    let timeout =
        natural(&parameters.field("LocalInferenceServiceTimeoutSeconds").required("write seconds"), "seconds");
    let memory_field = parameters.field("LocalInferenceServiceMemoryLimitKB").required("write KB");
    let memory = natural(&memory_field, "KB").map(ByteSize::from_kib);
    if memory.is_some_and(|memory| memory.bytes() < LEAST_MEMORY) {
        memory_field.warn("is little: no model of the guide loads below 16384 KB", "write 500000, as the guide does");
    }
    let accelerated = connector.arn.name() != JETSON
        || read_acceleration(&parameters.field("GPUAcceleration").required("write CPU or GPU")).is_some();
    let feedback = read_feedback(&parameters.field("MLFeedbackConnectorConfigId"), version, feedback);
    parameters.finish(Unknown::Warn);
    let (model_resource, model) = model?;
    (contained && agrees && accelerated && VERSIONS.contains(&version)).then_some(())?;
    Some(ClassificationService {
        arn: connector.arn.clone(),
        service: service?,
        timeout_seconds: timeout?,
        memory_limit: memory?,
        model_resource,
        model_source: model.source.clone(),
        model_destination: model.destination.clone(),
        feedback: feedback?,
        run_as: unprivileged(group),
    })
}

/// Whether the job is one, and the one of the resource where that names a job. The guide's pattern has `training-job/`,
/// its examples and its policy `training-job:`; both are read. A model that was packed anew comes from S3 by its own
/// address, and the job is only its history.
fn check_job(field: &Field<'_>, source: Option<&ModelSource>) -> bool {
    let Some(text) = field.text() else { return false };
    let written = text.replacen(":training-job:", ":training-job/", 1);
    let Ok(job) = written.parse::<TrainingJobArn>() else {
        let rule = "is not arn:aws:sagemaker:REGION:ACCOUNT:training-job/NAME";
        field.refuse(rule, "write the ARN of the training job that made the model");
        return false;
    };
    match source {
        Some(ModelSource::TrainingJob(theirs)) if *theirs != job => {
            let rule = format!("is not the resource's SageMakerJobArn, {theirs}");
            field.refuse(rule, "write the same job in both places");
            false
        }
        _ => true,
    }
}

fn read_service(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    if is_configuration_id(text) {
        return Some(text.to_owned());
    }
    field.refuse(
        "is not 2 to 63 letters, digits and hyphens, beginning with a letter or digit ([a-zA-Z0-9][a-zA-Z0-9-]{1,62})",
        "write for example imageClassification",
    );
    None
}

/// `[1-9][0-9]*`, as far as a device can count it.
fn natural(field: &Field<'_>, unit: &str) -> Option<u64> {
    let text = field.text()?;
    let number =
        text.parse::<u32>().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0'));
    if number.is_none() {
        let rule = format!("is no whole number of {unit} from 1 to {}, without leading zeros ([1-9][0-9]*)", u32::MAX);
        field.refuse(rule, "write a number in that range");
    }
    number.map(u64::from)
}

/// Which engine runs a model is measured on the device, so neither answer changes anything.
fn read_acceleration(field: &Field<'_>) -> Option<()> {
    let gpu = field.choice(&[("CPU", false), ("GPU", true)])?;
    if gpu {
        field.warn(
            "does not choose what the model runs on: the fastest engine that was measured does, ONNX Runtime's CUDA or \
             TensorRT where the device has it",
            "run `margay model tune` on the device",
        );
    }
    Some(())
}

/// `Some(None)` where nothing is said.
fn read_feedback(
    field: &Field<'_>,
    version: u32,
    connector: Option<Option<&FeedbackSettings>>,
) -> Option<Option<String>> {
    if !field.is_present() || field.is_empty_text() {
        return Some(None);
    }
    if version == 1 {
        field.warn("is a parameter of version 2, and has no effect in version 1", "write …/versions/2 as ConnectorArn");
        return Some(None);
    }
    let id = field.text()?;
    if !is_configuration_id(id) {
        let rule = "is not the id of a feedback configuration (^$|^[a-zA-Z0-9][a-zA-Z0-9-]{1,62}$)";
        field.refuse(rule, "write an id of FeedbackConfigurationMap");
        return None;
    }
    match connector {
        None => {
            field
                .refuse("needs the connector MLFeedback, which the group does not have", "add it, or leave this empty");
            None
        }
        Some(Some(settings)) if !settings.configurations.contains_key(id) => {
            let rule = "is no feedback configuration of the group's MLFeedback connector";
            field.refuse(rule, "write an id of its FeedbackConfigurationMap");
            None
        }
        // What is wrong with the other connector is said there.
        _ => Some(Some(id.to_owned())),
    }
}

impl ClassificationService {
    /// What the service is started with; whoever starts it adds the package and the engine.
    pub fn settings(&self) -> ServiceSettings {
        let default = WorkerIdentity::default();
        let RunAs { uid, gid } = self.run_as;
        ServiceSettings {
            connector: self.arn.name().to_owned(),
            name: self.service.clone(),
            timeout: Duration::from_secs(self.timeout_seconds),
            memory_limit: self.memory_limit.bytes(),
            destination: self.model_destination.clone(),
            identity: WorkerIdentity { uid: uid.unwrap_or(default.uid), gid: gid.unwrap_or(default.gid) },
            package: PathBuf::new(),
            digest: String::new(),
            running: Running::default(),
        }
    }
}
