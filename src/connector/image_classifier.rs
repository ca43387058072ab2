//! The connector `MargayImageClassifier`: one camera, one model, predictions on one topic. Its parameters are strings, as
//! those of V1's connectors are (B-29); what they refer to must be in the group. Unknown parameters are refused, because
//! the connector is ours.

use std::path::{Path, PathBuf};

use margay_inference::thumbnail::{MAX_SIDE, MIN_SIDE};
use margay_inference::{MAX_THREADS, View};

use crate::arn::ConnectorArn;
use crate::classifier::HealthSettings;
use crate::classifier::policy::PolicySettings;
use crate::document::{Field, Notes, Object, Unknown};
use crate::group::{Connector, Group, ModelSource, Party, Resource, RunAs, S3Model};
use crate::name::{CameraName, ResourceId};
use crate::topic::Topic;
use crate::units::{ByteSize, FramesPerSecond, Probability};

mod health;
mod policy;
mod settings;
mod sources;
mod view;

use sources::read_camera;
pub use sources::{Camera, Command, CommandCamera, DeviceCamera, Picture, VolumeCamera};

/// The connector's name in its ARN.
pub const NAME: &str = "MargayImageClassifier";
/// The one version there is.
const VERSION: u32 = 1;

/// `CameraName` by default.
const CAMERA: &str = "camera";
/// `FramesPerSecond` by default.
const FRAMES_PER_SECOND: &str = "5";
/// `TopK` by default: the guide's first application publishes the top five (B-23).
const TOP_K: u64 = 5;
/// More classes than any payload has room for.
const TOP_K_LIMIT: u64 = 1000;
/// `MemoryLimitKB` by default: 512 MiB hold the largest of the guide's models, ResNet-50, and its frames.
const MEMORY_KB: u64 = 512 * 1024;
/// Below 16 MiB, V1's default for any function, no model loads.
const LEAST_MEMORY_KB: u64 = 16 * 1024;
/// What the connector is told, validated against its group.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageClassifier {
    /// The connector, as subscriptions name it.
    pub arn: ConnectorArn,
    /// The machine learning resource (`MLModelResourceId`).
    pub model_resource: ResourceId,
    /// Where the resource's package is.
    pub model_source: ModelSource,
    /// Where the model appears in the inference sandbox (`MLModelDestinationPath`).
    pub model_destination: PathBuf,
    /// The camera's name (`CameraName`).
    pub camera_name: CameraName,
    /// Where its frames come from (`CameraResourceId` or `CameraSource`).
    pub camera: Camera,
    /// How often it is asked for a frame (`FramesPerSecond`).
    pub frames_per_second: FramesPerSecond,
    /// Whether a folder or file begins again after its last frame (`Repeat`).
    pub repeat: bool,
    /// Where predictions are published (`Topic`; by default `margay/<thing>/<camera>/predictions`).
    pub topic: Topic,
    /// Where a message asks for a prediction (`TriggerTopic`), if anywhere.
    pub trigger_topic: Option<Topic>,
    /// Which frames become messages, and what these tell (`TopK`, `Publish` and what goes with it).
    pub policy: PolicySettings,
    /// The longer side of a picture in each message, in pixels (`ThumbnailPixels`), if one is wanted.
    pub thumbnail: Option<u32>,
    /// Classes below it are left out, all but the best one (`Threshold`; by default what the package says).
    pub threshold: Option<Probability>,
    /// Which part of the camera's picture matters, and how it is mounted (`Region`, `Rotation`, `Mirror`).
    pub view: View,
    /// The memory limit of each of its workers (`MemoryLimitKB`).
    pub memory_limit: ByteSize,
    /// Threads of its model (`Threads`; by default what was measured, or what leaves a core for the rest).
    pub threads: Option<usize>,
    /// Whom its workers run as, where the group says it; never root.
    pub run_as: RunAs,
    /// From when on the camera is ill (the parameters that begin with `Health`).
    pub health: HealthSettings,
}

impl ImageClassifier {
    /// Whether `other` is the same but for where its model comes from: a running classifier can go on as it.
    pub fn differs_only_in_model_source(&self, other: &Self) -> bool {
        Self { model_source: other.model_source.clone(), ..self.clone() } == *other
    }
}

/// Reads the parameters of `connector`; `None` if one is refused.
pub(super) fn read(connector: &Connector, group: &Group, notes: &Notes) -> Option<ImageClassifier> {
    let mut parameters = Object::at(connector.path_of("Parameters"), &connector.parameters, notes);
    refuse_version(connector, notes);
    let model = read_model(parameters.field("MLModelResourceId"), parameters.field("MLModelDestinationPath"), group);
    let camera = read_camera(&mut parameters, group);
    let health = health::read_health(&mut parameters);
    let camera_name = defaulted(&parameters.field("CameraName"), CAMERA);
    let frames_per_second = defaulted(&parameters.field("FramesPerSecond"), FRAMES_PER_SECOND);
    let repeat = parameters.field("Repeat").boolean().unwrap_or(false);
    let topic_field = parameters.field("Topic");
    let topic = camera_name.as_ref().and_then(|camera| read_topic(&topic_field, camera, group));
    let policy = policy::read(&mut parameters);
    let trigger_field = parameters.field("TriggerTopic");
    let asked = policy.as_ref().map(|policy| policy.when);
    let trigger_topic = policy::read_trigger_topic(&trigger_field, asked, camera_name.as_ref(), group, topic.as_ref());
    let thumbnail = read_thumbnail(&parameters.field("ThumbnailPixels"));
    let threshold = parameters.field("Threshold");
    let threshold = if threshold.is_present() { Some(threshold.parsed()) } else { None };
    let view = view::read(&mut parameters);
    let memory = parameters.field("MemoryLimitKB").integer(LEAST_MEMORY_KB..=u64::from(u32::MAX), "KB");
    let threads = parameters.field("Threads").integer(1..=MAX_THREADS as u64, "threads");
    parameters.finish(Unknown::Refuse);

    let (model_resource, model) = model?;
    let classifier = ImageClassifier {
        arn: connector.arn.clone(),
        model_resource,
        model_source: model.source.clone(),
        model_destination: model.destination.clone(),
        camera_name: camera_name?,
        camera: camera?,
        frames_per_second: frames_per_second?,
        repeat,
        topic: topic?,
        trigger_topic: trigger_topic?,
        policy: policy?,
        thumbnail: thumbnail?,
        threshold: threshold.map_or(Some(None), |read| read.map(Some))?,
        view: view?,
        memory_limit: ByteSize::from_kib(memory.unwrap_or(MEMORY_KB)),
        threads: threads.and_then(|threads| usize::try_from(threads).ok()),
        run_as: unprivileged(group),
        health: health?,
    };
    warn_without_route(&classifier, group, &topic_field);
    policy::warn_about_requests(&classifier, group, &trigger_field);
    Some(classifier)
}

fn refuse_version(connector: &Connector, notes: &Notes) {
    let version = connector.arn.version();
    if version != VERSION {
        let rule = format!("is version {version} of {NAME}, of which this program has version {VERSION}");
        notes.error(&connector.path_of("ConnectorArn"), connector.shown_arn(), rule, "write …/versions/1");
    }
}

/// The field, or `default` where it is absent; `None` if it is refused.
fn defaulted<T>(field: &Field<'_>, default: &str) -> Option<T>
where
    T: std::str::FromStr,
    T::Err: std::error::Error,
{
    if field.is_present() { field.parsed() } else { default.parse().ok() }
}

/// The resource that `field` names, which the group has to have.
fn read_resource<'g>(field: &Field<'_>, group: &'g Group) -> Option<&'g Resource> {
    let id = field.parsed::<ResourceId>()?;
    let resource = group.resource(&id);
    if resource.is_none() {
        field.refuse("names no resource of this group", "write the Id of one in ResourceDefinitionVersion");
    }
    resource
}

/// The machine learning resource that the fields name, and its destination path as a check.
pub(super) fn read_model<'g>(id: Field<'_>, path: Field<'_>, group: &'g Group) -> Option<(ResourceId, &'g S3Model)> {
    let id = id.required("write the Id of a machine learning resource");
    let path = path.required("write the DestinationPath of that resource");
    let resource = read_resource(&id, group);
    let path_text = path.text();
    let resource = resource?;
    let Some(model) = resource.model() else {
        let rule = format!("is a resource of type {}, and a model is one of S3", resource.data.type_name());
        id.refuse(rule, "write the Id of an S3MachineLearningModelResourceData resource");
        return None;
    };
    if model.destination != Path::new(path_text?) {
        let rule = format!("is not the resource's DestinationPath, {}", model.destination.display());
        path.refuse(rule, "write the same path in both places");
        return None;
    }
    Some((resource.id.clone(), model))
}

/// The topic; by default one that carries the names of the thing and the camera.
fn read_topic(field: &Field<'_>, camera: &CameraName, group: &Group) -> Option<Topic> {
    if !field.is_present() {
        let thing = group.core.as_ref()?.thing_arn.thing();
        return format!("margay/{thing}/{camera}/predictions").parse().ok();
    }
    read_own_topic(field)
}

/// A topic that the connector may use as its own.
fn read_own_topic(field: &Field<'_>) -> Option<Topic> {
    let topic = field.parsed::<Topic>()?;
    if topic.is_reserved() {
        field.refuse("begins with $, and such topics belong to the broker", "write another topic");
        return None;
    }
    if let Err(error) = topic.check_aws_levels() {
        field.warn(error.to_string(), "use fewer levels if the broker is AWS IoT");
    }
    Some(topic)
}

/// `Some(None)` where no thumbnail is wanted, `None` where the field is refused.
fn read_thumbnail(field: &Field<'_>) -> Option<Option<u32>> {
    if !field.is_present() {
        return Some(None);
    }
    let side = field.integer(u64::from(MIN_SIDE)..=u64::from(MAX_SIDE), "pixels")?;
    u32::try_from(side).ok().map(Some)
}

/// The group's default identity, which runs the core's own parts too. A worker that parses models and pictures
/// never runs as root, so its numbers are left out.
pub(super) fn unprivileged(group: &Group) -> RunAs {
    let not_root = |number: Option<u32>| number.filter(|number| *number != 0);
    let RunAs { uid, gid } = group.default_run_as;
    RunAs { uid: not_root(uid), gid: not_root(gid) }
}

/// Messages that no subscription names go nowhere; whoever forgets it waits for predictions in vain.
fn warn_without_route(classifier: &ImageClassifier, group: &Group, field: &Field<'_>) {
    let source = Party::Connector(classifier.arn.clone());
    // To a function is somewhere, too: what the function makes of them is its own.
    let routed = group.subscriptions_from(&source).any(|subscription| subscription.subject.matches(&classifier.topic));
    if !routed {
        let rule = format!("no subscription takes predictions on {} from the connector", classifier.topic);
        field.warn(rule, "add one with this ConnectorArn as Source, and cloud or a function as Target");
    }
}
