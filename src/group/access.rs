//! Which resources a function may use and how (B-07), and the rules between functions and resources that keep it from
//! more (B-04, B-05, B-08, B-15, B-17).

use std::path::Path;

use crate::document::{Field, Notes, Unknown};
use crate::name::ResourceId;

use super::execution::IsolationMode;
use super::function::Function;
use super::local::LocalVolume;
use super::model::S3Model;
use super::placed::Placed;
use super::resource::{Resource, ResourceData, Resources};

/// A function has at most 10 resources (B-07).
const ATTACHMENT_LIMIT: usize = 10;

/// What may be done with a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Permission {
    /// `ro`.
    ReadOnly,
    /// `rw`.
    ReadWrite,
}

impl Permission {
    pub(super) const NAMES: [(&'static str, Self); 2] = [("ro", Self::ReadOnly), ("rw", Self::ReadWrite)];

    /// The name in documents and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ReadOnly => "ro",
            Self::ReadWrite => "rw",
        }
    }
}

/// An element of `ResourceAccessPolicies`: a resource that is attached to a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// The resource.
    pub resource: ResourceId,
    /// What the function may do with it; absent where it has what the resource's owner has.
    pub permission: Option<Permission>,
}

impl Attachment {
    /// The list; `None` if an element is refused, so that no rule is checked against a part of it.
    pub(super) fn read_all(list: &Field<'_>) -> Option<Vec<Self>> {
        let elements = list.elements();
        if elements.len() > ATTACHMENT_LIMIT {
            let rule = format!("has at most {ATTACHMENT_LIMIT} resources, and this one lists {}", elements.len());
            list.refuse(rule, "take some out");
        }
        let read: Vec<Option<Self>> = elements.iter().map(Self::read).collect();
        read.into_iter().collect()
    }

    fn read(element: &Field<'_>) -> Option<Self> {
        let mut policy = element.object()?;
        let resource = policy.field("ResourceId").required("write the Id of a resource").parsed::<ResourceId>();
        let field = policy.field("Permission");
        let permission = field.choice(&Permission::NAMES);
        let refused = field.is_present() && permission.is_none();
        policy.finish(Unknown::Warn);
        resource.filter(|_| !refused).map(|resource| Self { resource, permission })
    }
}

/// Checks every function against the resources of its group.
pub(super) fn check(functions: &[Placed<Function>], resources: &Resources, notes: &Notes) {
    for function in functions {
        Check { function: &function.entity, path: &function.path, notes }.all(resources);
    }
}

/// Why an attachment is refused, and what to do.
struct Refusal {
    rule: String,
    hint: &'static str,
}

fn refused(rule: impl Into<String>, hint: &'static str) -> Option<Refusal> {
    Some(Refusal { rule: rule.into(), hint })
}

/// One function under check.
struct Check<'c> {
    function: &'c Function,
    path: &'c str,
    notes: &'c Notes,
}

impl Check<'_> {
    fn all(&self, resources: &Resources) {
        let find = |id: &ResourceId| resources.valid.iter().map(|placed| &placed.entity).find(|found| found.id == *id);
        for (position, attachment) in self.function.attachments.iter().enumerate() {
            let refusals = match find(&attachment.resource) {
                Some(resource) => self.attachment(attachment, resource),
                None if resources.declared.contains(&attachment.resource) => Vec::new(),
                None => vec![refused("names no resource of this group", "add it to ResourceDefinitionVersion")],
            };
            let place = format!("{}[{position}]", self.function.attachments_place);
            for refusal in refusals.into_iter().chain([self.repeated(position)]).flatten() {
                self.notes.error(&place, Some(format!("\"{}\"", attachment.resource)), refusal.rule, refusal.hint);
            }
        }
        let attached = self.function.attachments.iter().filter_map(|attachment| find(&attachment.resource));
        let models: Vec<&S3Model> = attached.filter_map(Resource::model).collect();
        self.nested_destinations(&models);
        for placed in &resources.valid {
            self.implicit_access(&placed.entity, &models);
        }
    }

    fn repeated(&self, position: usize) -> Option<Refusal> {
        let attachments = &self.function.attachments;
        let again = attachments[..position].iter().any(|earlier| earlier.resource == attachments[position].resource);
        if again { refused("is attached to this function already", "attach each resource once") } else { None }
    }

    fn attachment(&self, attachment: &Attachment, resource: &Resource) -> Vec<Option<Refusal>> {
        match &resource.data {
            ResourceData::LocalVolume(volume) => {
                vec![self.isolation(resource), local_permission(attachment), volume_permission(attachment, volume)]
            }
            ResourceData::LocalDevice(_) => vec![self.isolation(resource), local_permission(attachment)],
            ResourceData::S3Model(model) => vec![self.model(attachment, model)],
            ResourceData::Secret(_) => vec![secret_permission(attachment)],
        }
    }

    /// B-07, B-08, V8.
    fn isolation(&self, resource: &Resource) -> Option<Refusal> {
        if self.function.isolation == IsolationMode::GreengrassContainer {
            return None;
        }
        let rule = format!(
            "Function {} refers to resource of type {} that is not allowed in IsolationMode=NoContainer.",
            self.function.arn,
            resource.data.type_name()
        );
        refused(rule, "run the function in a container, or detach the resource")
    }

    /// B-17, errors 2 to 4. Without a container, the owner's permission is the function's.
    fn model(&self, attachment: &Attachment, model: &S3Model) -> Option<Refusal> {
        let arn = &self.function.arn;
        let id = &attachment.resource;
        let owner = model.owner.map(|owner| owner.permission);
        match (self.function.isolation, attachment.permission, owner) {
            (IsolationMode::NoContainer, Some(permission), _) => {
                let rule = format!(
                    "NoContainer function cannot configure permission when attaching Machine Learning resources. \
                     {arn} refers to Machine Learning resource {id} with permission {} in resource access policy.",
                    permission.as_str()
                );
                refused(rule, "remove Permission")
            }
            (_, None, None) => {
                let rule = format!(
                    "Function {arn} refers to Machine Learning resource {id} with missing permission in both \
                     ResourceAccessPolicy and resource OwnerSetting."
                );
                refused(rule, "write Permission here, or OwnerSetting on the resource")
            }
            (_, Some(permission), Some(owner)) if permission > owner => {
                let rule = format!(
                    "Function {arn} refers to Machine Learning resource {id} with permission \"rw\", while resource \
                     owner setting GroupPermission only allows \"ro\"."
                );
                refused(rule, "write ro here, or rw on the resource")
            }
            _ => None,
        }
    }

    /// B-17, error 5: without a container, models are linked into one folder of the function.
    fn nested_destinations(&self, models: &[&S3Model]) {
        let nested = |a: &Path, b: &Path| a.starts_with(b) || b.starts_with(a);
        let meets_an_earlier_one = |(position, model): (usize, &&S3Model)| {
            models[..position].iter().any(|other| nested(&other.destination, &model.destination))
        };
        let any_nested = models.iter().enumerate().any(meets_an_earlier_one);
        if self.function.isolation == IsolationMode::NoContainer && any_nested {
            let rule =
                format!("NoContainer Function {} refers to resources of nested destination path.", self.function.arn);
            self.notes.error(self.path, None, rule, "specify separate destination paths for the resources");
        }
    }

    /// B-15, B-17, error 6: a process in a model's owner group reads the model without being allowed to here. The group
    /// may come from `RunAs` (V13, not checked for root), or from another model that is attached (V14).
    fn implicit_access(&self, resource: &Resource, models: &[&S3Model]) {
        let Some(owner) = resource.model().and_then(|model| model.owner) else { return };
        if self.function.attachments.iter().any(|attachment| attachment.resource == resource.id) {
            return;
        }
        let run_as = self.function.run_as;
        let by_identity = run_as.gid == Some(owner.gid) && run_as.uid != Some(0);
        let by_model = models.iter().any(|model| model.owner.is_some_and(|other| other.gid == owner.gid));
        if by_identity || by_model {
            let rule = format!(
                "Lambda {} gains access to resource {} by sharing the same group owner id",
                self.function.arn, resource.id
            );
            self.notes.error(self.path, None, rule, "use a different OS group, or attach the resource to the function");
        }
    }
}

fn local_permission(attachment: &Attachment) -> Option<Refusal> {
    match attachment.permission {
        None => refused("is a local resource, for which Permission is required", "write ro or rw"),
        Some(_) => None,
    }
}

/// B-04, B-05, V3, V4.
fn volume_permission(attachment: &Attachment, volume: &LocalVolume) -> Option<Refusal> {
    match attachment.permission {
        Some(Permission::ReadWrite) if volume.is_proc() => {
            refused("is a volume in /proc, which is granted read-only", "write ro")
        }
        Some(Permission::ReadOnly) if volume.is_shared_memory() => {
            refused("is the volume /dev/shm, which a container mounts with rw only", "write rw")
        }
        _ => None,
    }
}

/// Secrets are read-only (B-40).
fn secret_permission(attachment: &Attachment) -> Option<Refusal> {
    match attachment.permission {
        Some(Permission::ReadOnly) => None,
        _ => refused("is a secret, for which Permission is ro", "write ro"),
    }
}
