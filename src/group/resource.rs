//! Resources: what functions and connectors may be given access to (B-01).

use crate::document::{Field, Object, Unknown};
use crate::name::{ResourceId, ResourceName};

use super::code::refuse_resources;
use super::local::{LocalDevice, LocalVolume};
use super::model::{ModelSource, S3Model};
use super::placed::{Declared, Placed, read_list, refuse_repeated};

/// A group has up to 50 resources (B-01).
const RESOURCE_LIMIT: usize = 50;
const VOLUME: &str = "LocalVolumeResourceData";
const DEVICE: &str = "LocalDeviceResourceData";
const MODEL: &str = "S3MachineLearningModelResourceData";
const SECRET: &str = "SecretsManagerSecretResourceData";
/// V1's key for a source that the guide shows in its console only; the key is the API reference's.
const TRAINING_JOB: &str = "SageMakerMachineLearningModelResourceData";

/// Something that functions and connectors may be given access to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// The id by which functions and connectors refer to it.
    pub id: ResourceId,
    /// Its name, for people.
    pub name: ResourceName,
    /// What it is.
    pub data: ResourceData,
}

impl Resource {
    /// The model package that it is, if it is one.
    pub fn model(&self) -> Option<&S3Model> {
        match &self.data {
            ResourceData::S3Model(model) => Some(model),
            _ => None,
        }
    }
}

/// What a resource is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResourceData {
    /// A file or folder of the host.
    LocalVolume(LocalVolume),
    /// A device file of the host.
    LocalDevice(LocalDevice),
    /// A model package in S3.
    S3Model(S3Model),
    /// A secret in AWS Secrets Manager; this version has no secrets manager.
    Secret(Secret),
}

impl ResourceData {
    /// The name that the guide's messages use (B-08); for secrets, which it has no name for, one like the others.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::LocalVolume(_) => "Local.Volume",
            Self::LocalDevice(_) => "Local.Device",
            Self::S3Model(S3Model { source: ModelSource::TrainingJob(_), .. }) => "ML_Model.SageMaker.Job",
            Self::S3Model(_) => "ML_Model.S3_Object",
            Self::Secret(_) => "SecretsManager.Secret",
        }
    }
}

/// A secret in AWS Secrets Manager (B-40).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    /// The secret's ARN.
    pub arn: String,
    /// Labels of its versions beside `AWSCURRENT`.
    pub staging_labels: Vec<String>,
}

/// The resources of a group, while the rules between them and functions are checked.
#[derive(Debug)]
pub(super) struct Resources {
    pub(super) valid: Vec<Placed<Resource>>,
    pub(super) declared: Declared<ResourceId>,
}

pub(super) fn read_all(top: &mut Object<'_>, virtual_hosted_s3: bool) -> Resources {
    let mut definition = top.field("ResourceDefinitionVersion").section();
    let listed = definition.field("Resources");
    let count = listed.count().unwrap_or(0);
    if count > RESOURCE_LIMIT {
        listed.refuse(format!("has at most {RESOURCE_LIMIT} resources, and this one lists {count}"), "take some out");
    }
    let mut declared = Declared::new();
    let valid = read_list(&mut definition, "Resources", |object| {
        let id = object.field("Id").required("write an id, by which functions refer to it").parsed::<ResourceId>();
        refuse_resources(object);
        declared.extend(id.clone());
        let name = object.field("Name").required("write a name").parsed::<ResourceName>();
        let container = object.field("ResourceDataContainer").required("write what the resource is");
        let data = read_data(&container, virtual_hosted_s3);
        Some(Resource { id: id?, name: name?, data: data? })
    });
    definition.finish(Unknown::Warn);
    refuse_repeated(&valid, ("Id", |resource: &Resource| Some(&resource.id)), top.notes());
    refuse_repeated(&valid, ("ResourceDataContainer", secret_arn), top.notes());
    Resources { valid, declared }
}

/// A secret may be referenced only once in a group (B-40).
fn secret_arn(resource: &Resource) -> Option<&String> {
    match &resource.data {
        ResourceData::Secret(secret) => Some(&secret.arn),
        _ => None,
    }
}

fn read_data(field: &Field<'_>, virtual_hosted_s3: bool) -> Option<ResourceData> {
    let mut container = field.object()?;
    let held: Vec<&str> =
        [VOLUME, DEVICE, MODEL, SECRET, TRAINING_JOB].into_iter().filter(|key| container.has(key)).collect();
    if held.len() > 1 || (held.is_empty() && container.is_empty()) {
        let rule = format!("holds exactly one of {VOLUME}, {DEVICE}, {MODEL}, {TRAINING_JOB} and {SECRET}");
        field.refuse(rule, "describe one thing a resource");
    }
    let volume = container.field(VOLUME).object().map(LocalVolume::read);
    let device = container.field(DEVICE).object().map(LocalDevice::read);
    let model = container.field(MODEL).object().map(|model| S3Model::read(model, virtual_hosted_s3));
    let secret = container.field(SECRET).object().map(Secret::read);
    let job = container.field(TRAINING_JOB).object().map(S3Model::read_training_job);
    let known = !held.is_empty();
    container.finish(if known { Unknown::Warn } else { Unknown::Refuse });
    match (volume, device, model, secret) {
        (Some(volume), ..) => volume.map(ResourceData::LocalVolume),
        (_, Some(device), ..) => device.map(ResourceData::LocalDevice),
        (_, _, Some(model), _) => model.map(ResourceData::S3Model),
        _ if job.is_some() => job.flatten().map(ResourceData::S3Model),
        (.., secret) => secret.flatten().map(ResourceData::Secret),
    }
}

impl Secret {
    fn read(mut object: Object<'_>) -> Option<Self> {
        let arn = object.field("ARN").required("write the secret's ARN");
        if arn.is_present() {
            arn.warn("is a secret, and this version has no secrets manager", "take the resource out");
        }
        let arn = arn.text();
        let labels = object.field("AdditionalStagingLabelsToDownload").elements();
        let staging_labels = labels.iter().filter_map(|label| label.text()).map(str::to_owned).collect();
        object.finish(Unknown::Warn);
        Some(Self { arn: arn?.to_owned(), staging_labels })
    }
}
