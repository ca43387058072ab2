//! What the classifier connector can stand for: functions and V1 connectors that have a model, the camera that they read,
//! and the topic on which their subscribers wait.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::arn::{ConnectorArn, ThingArn};
use crate::connector::image_classifier;
use crate::group::{Connector, Function, Group, Party, Resource, ResourceData};
use crate::name::ResourceId;
use crate::topic::Topic;

/// V1's ML Image Classification connector, whose name ends in the platform (B-30).
const V1_CLASSIFIER: &str = "ImageClassification";
/// The devices of the Pi's first camera interface (B-22), which today's kernels do not have.
const FIRST_PI_CAMERA: [&str; 2] = ["/dev/vchiq", "/dev/vcsm"];

/// Somebody who classified pictures, as far as the group tells.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Candidate {
    /// Who, as the report names it.
    pub(super) who: String,
    /// The model.
    pub(super) model: ResourceId,
    /// Where the model appears.
    pub(super) destination: PathBuf,
    /// Where the pictures come from.
    pub(super) camera: Camera,
    /// Where the predictions went.
    pub(super) topic: Option<Topic>,
}

/// Where pictures come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Camera {
    /// A camera of V4L2.
    Device(ResourceId),
    /// A folder of pictures.
    Folder(ResourceId),
    /// The Pi's first camera interface.
    FirstPi,
    /// Nothing that the group names.
    Unknown,
}

impl Candidate {
    /// Whether it could run, were its model packed.
    pub(super) fn is_complete(&self) -> bool {
        matches!(self.camera, Camera::Device(_) | Camera::Folder(_))
    }

    /// What its owner has to say, where the group does not.
    pub(super) fn camera_question(&self) -> &'static str {
        match self.camera {
            Camera::Device(_) | Camera::Folder(_) => "",
            Camera::FirstPi => {
                "it read the Pi's first camera interface (vchiq), which today's kernels do not have: connect a camera of \
                 V4L2 and name it"
            }
            Camera::Unknown => "no resource of it is a camera: name the one that it read",
        }
    }

    /// The connector's parameters; with `/dev/video0`'s resource where the camera is not known.
    pub(super) fn parameters(&self) -> Value {
        let mut parameters = json!({
            "MLModelResourceId": self.model, "MLModelDestinationPath": self.destination,
            "CameraResourceId": match &self.camera {
                Camera::Device(id) | Camera::Folder(id) => id.as_str(),
                Camera::FirstPi | Camera::Unknown => "camera",
            },
        });
        if let Some(topic) = &self.topic {
            parameters["Topic"] = topic.as_str().into();
        }
        if matches!(self.camera, Camera::Folder(_)) {
            // V1's functions read their folders over and over.
            parameters["Repeat"] = "true".into();
        }
        parameters
    }

    /// What to put into the group document by hand.
    pub(super) fn snippet(&self, arn: &ConnectorArn, thing: &ThingArn) -> Value {
        let mut snippet = json!({ "Connectors": [self.connector("classifier", arn)],
            "Subscriptions": [self.subscription("predictions", arn, thing)] });
        if !self.is_complete() {
            snippet["Resources"] = json!([{ "Id": "camera", "Name": "camera", "ResourceDataContainer": {
                "LocalDeviceResourceData": { "SourcePath": "/dev/video0",
                    "GroupOwnerSetting": { "AutoAddGroupOwner": true } } } }]);
        }
        snippet
    }

    /// The connector's entry.
    pub(super) fn connector(&self, id: &str, arn: &ConnectorArn) -> Value {
        json!({ "Id": id, "ConnectorArn": arn.to_string(), "Parameters": self.parameters() })
    }

    /// The subscription that takes its predictions to the cloud.
    pub(super) fn subscription(&self, id: &str, arn: &ConnectorArn, thing: &ThingArn) -> Value {
        let subject = match &self.topic {
            Some(topic) => topic.as_str().to_owned(),
            None => format!("margay/{}/#", thing.thing()),
        };
        json!({ "Id": id, "Source": arn.to_string(), "Target": "cloud", "Subject": subject })
    }
}

/// The classifier connector's ARN in the region of `thing`.
pub(super) fn connector_arn(thing: &ThingArn) -> Option<ConnectorArn> {
    let (partition, region, name) = (thing.partition(), thing.region(), image_classifier::NAME);
    format!("arn:{partition}:greengrass:{region}::/connectors/{name}/versions/1").parse().ok()
}

/// Everybody in `group` who classified pictures; V1's connector first, because it says so itself. `picture_folders` are
/// the sources of volumes that hold pictures.
pub(super) fn candidates(group: &Group, picture_folders: &BTreeSet<PathBuf>) -> Vec<Candidate> {
    let look = Look { group, picture_folders };
    let connectors = group.connectors.iter().filter(|connector| is_v1_classifier(connector));
    let functions = group.functions.iter().flat_map(|function| look.of_function(function));
    connectors.filter_map(|connector| look.of_connector(connector)).chain(functions).collect()
}

/// Whether `connector` is V1's image classifier.
pub(super) fn is_v1_classifier(connector: &Connector) -> bool {
    connector.arn.name().starts_with(V1_CLASSIFIER)
}

struct Look<'l> {
    group: &'l Group,
    picture_folders: &'l BTreeSet<PathBuf>,
}

impl Look<'_> {
    /// One for each model that is attached to `function`.
    fn of_function(&self, function: &Function) -> Vec<Candidate> {
        let camera = self.camera(function);
        let models = self.attached(function).filter_map(|resource| Some((resource.id.clone(), resource.model()?)));
        let candidate = |(model, data): (ResourceId, &crate::group::S3Model)| Candidate {
            who: format!("function {}:{}", function.arn.name(), function.arn.qualifier()),
            model,
            destination: data.destination.clone(),
            camera: camera.clone(),
            topic: self.topic(function),
        };
        models.map(candidate).collect()
    }

    /// V1's connector answers functions, so that the camera and the topic are those of the one function with a camera.
    fn of_connector(&self, connector: &Connector) -> Option<Candidate> {
        let model = connector.parameters.get("MLModelResourceId").and_then(Value::as_str)?.parse().ok()?;
        let destination = self.group.resource(&model)?.model()?.destination.clone();
        let with_camera = |function: &&Function| self.camera(function) != Camera::Unknown;
        let mut asking = self.group.functions.iter().filter(with_camera);
        let asking = asking.next().filter(|_| asking.next().is_none());
        Some(Candidate {
            who: format!("connector {}", connector.arn.name()),
            model,
            destination,
            camera: asking.map_or(Camera::Unknown, |function| self.camera(function)),
            topic: asking.and_then(|function| self.topic(function)),
        })
    }

    fn attached(&self, function: &Function) -> impl Iterator<Item = &Resource> {
        let ids: Vec<ResourceId> = function.attachments.iter().map(|attachment| attachment.resource.clone()).collect();
        self.group.resources.iter().filter(move |resource| ids.contains(&resource.id))
    }

    fn camera(&self, function: &Function) -> Camera {
        let is_camera = |path: &Path| path.starts_with("/dev/v4l") || path.to_string_lossy().starts_with("/dev/video");
        let mut folder = None;
        let mut first_pi = false;
        for resource in self.attached(function) {
            match &resource.data {
                ResourceData::LocalDevice(device) if is_camera(&device.source) => {
                    return Camera::Device(resource.id.clone());
                }
                ResourceData::LocalDevice(device) => {
                    first_pi |= FIRST_PI_CAMERA.iter().any(|first| device.source.to_string_lossy().starts_with(first));
                }
                ResourceData::LocalVolume(volume) if self.picture_folders.contains(&volume.source) => {
                    folder.get_or_insert(resource.id.clone());
                }
                _ => {}
            }
        }
        match folder {
            Some(folder) => Camera::Folder(folder),
            None if first_pi => Camera::FirstPi,
            None => Camera::Unknown,
        }
    }

    /// The first topic on which the function published to the cloud; a subject with wildcards is none.
    fn topic(&self, function: &Function) -> Option<Topic> {
        let source = Party::Function(function.arn.clone());
        let mut to_cloud = self.group.subscriptions_from(&source).filter(|one| one.target == Party::Cloud);
        to_cloud.find_map(|one| one.subject.as_str().parse::<Topic>().ok().filter(|topic| !topic.is_reserved()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::Host;

    /// A group with one function that has the model and `attached`, and publishes on `subjects`.
    fn group(attached: &[(&str, Value)], subjects: &[&str]) -> Group {
        let arn = "arn:aws:lambda:eu-central-1:123456789012:function:count:1";
        let id = |position: usize| format!("local-{position}");
        let policy = |id: &str| json!({ "ResourceId": id, "Permission": "ro" });
        let mut resources = vec![json!({ "Id": "m", "Name": "m", "ResourceDataContainer": {
            "S3MachineLearningModelResourceData": { "S3Uri": "s3://models/m.zip", "DestinationPath": "/m" } } })];
        let mut policies = vec![policy("m")];
        for (position, (key, data)) in attached.iter().enumerate() {
            let id = id(position);
            resources.push(json!({ "Id": id, "Name": id, "ResourceDataContainer": { *key: data } }));
            policies.push(policy(&id));
        }
        let subscriptions = subjects.iter().enumerate().map(|(position, subject)| {
            json!({ "Id": format!("s{position}"), "Source": arn, "Subject": subject, "Target": "cloud" })
        });
        let document = json!({
            "CoreDefinitionVersion": { "Cores": [
                { "Id": "core", "ThingArn": "arn:aws:iot:eu-central-1:123456789012:thing/core-1" }] },
            "ResourceDefinitionVersion": { "Resources": resources },
            "FunctionDefinitionVersion": { "Functions": [{ "Id": "f", "FunctionArn": arn, "FunctionConfiguration": {
                "MemorySize": 16384, "Environment": { "ResourceAccessPolicies": policies } } }] },
            "SubscriptionDefinitionVersion": { "Subscriptions": subscriptions.collect::<Vec<_>>() }
        });
        let host = Host { thing_arn: None, allow_functions_to_run_as_root: false, virtual_hosted_s3: false };
        Group::parse(&document.to_string(), host).unwrap_or_else(|problems| panic!("{problems}")).document
    }

    fn only(group: &Group, pictures: &[&str]) -> Candidate {
        let pictures = pictures.iter().map(PathBuf::from).collect();
        let mut found = candidates(group, &pictures);
        assert_eq!(found.len(), 1);
        found.remove(0)
    }

    fn device(path: &str) -> (&'static str, Value) {
        ("LocalDeviceResourceData", json!({ "SourcePath": path }))
    }

    fn volume(path: &str) -> (&'static str, Value) {
        ("LocalVolumeResourceData", json!({ "SourcePath": path, "DestinationPath": path }))
    }

    #[test]
    fn a_camera_goes_before_a_folder_of_pictures_and_both_before_none() {
        let all = group(&[volume("/data"), volume("/pictures"), device("/dev/nvmap"), device("/dev/video1")], &[]);
        assert_eq!(only(&all, &["/pictures"]).camera, Camera::Device("local-3".parse().unwrap()));
        let folder = group(&[volume("/data"), volume("/pictures")], &[]);
        let candidate = only(&folder, &["/pictures"]);
        assert_eq!(candidate.camera, Camera::Folder("local-1".parse().unwrap()));
        assert_eq!(candidate.parameters()["Repeat"], "true");
        assert_eq!(only(&folder, &[]).camera, Camera::Unknown);
        let pi = only(&group(&[device("/dev/vcsm"), device("/dev/vchiq")], &[]), &[]);
        assert!(pi.camera == Camera::FirstPi && !pi.is_complete() && pi.camera_question().contains("vchiq"));
    }

    #[test]
    fn the_topic_is_the_first_that_can_be_published_on() {
        let topic = |subjects: &[&str]| only(&group(&[], subjects), &[]).topic.map(|topic| topic.as_str().to_owned());
        assert_eq!(topic(&["cars/#", "/cars/count", "cars/other"]).as_deref(), Some("/cars/count"));
        assert_eq!(topic(&["$aws/things/core-1/shadow/update", "+/cars"]), None);
    }
}
