//! Machine learning resources: model packages in S3, named directly or by the training job that made them (B-10, B-15).

use std::fmt;
use std::path::PathBuf;

use crate::arn::TrainingJobArn;
use crate::document::{Field, Object, Unknown};
use crate::name::S3Uri;

use super::access::Permission;
use super::path::destination;

/// The guide's text for an owner that is not complete (B-17, error 1).
const INVALID_OWNER: &str = "InvalidMLModelOwner - GroupOwnerSetting is provided in ML model resource, but GroupOwner \
                             or GroupPermission is not present";

/// Where a model package comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelSource {
    /// The package itself: `.tar.gz` or `.zip`.
    S3(S3Uri),
    /// Whatever this training job of SageMaker left in S3.
    TrainingJob(TrainingJobArn),
    /// An archive on this device; only of functions' code.
    File(PathBuf),
}

impl fmt::Display for ModelSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::S3(uri) => uri.fmt(f),
            Self::TrainingJob(job) => job.fmt(f),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

/// A model package in S3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Model {
    /// Where the package's content appears to functions and connectors.
    pub destination: PathBuf,
    /// The package.
    pub source: ModelSource,
    /// Who may read it on the host; without one, only root.
    pub owner: Option<ModelOwner>,
}

/// The Linux group that a downloaded package belongs to, and what it may do with it (B-15).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelOwner {
    /// The group's number.
    pub gid: u32,
    /// What its members may do.
    pub permission: Permission,
}

impl S3Model {
    pub(super) fn read(mut object: Object<'_>, virtual_hosted_s3: bool) -> Option<Self> {
        let field = object.field("S3Uri").required("write s3://bucket/key");
        let uri = read_uri(&field, virtual_hosted_s3);
        Self::with(object, uri.map(ModelSource::S3))
    }

    pub(super) fn read_training_job(mut object: Object<'_>) -> Option<Self> {
        let field = object.field("SageMakerJobArn").required("write the ARN of the training job");
        let job = field.parsed::<TrainingJobArn>();
        Self::with(object, job.map(ModelSource::TrainingJob))
    }

    fn with(mut object: Object<'_>, source: Option<ModelSource>) -> Option<Self> {
        let destination = destination(&object.field("DestinationPath").required("write the path in the container"));
        let owner = read_owner(&mut object);
        object.finish(Unknown::Warn);
        Some(Self { destination: destination?, source: source?, owner: owner? })
    }
}

pub(super) fn read_uri(field: &Field<'_>, virtual_hosted_s3: bool) -> Option<S3Uri> {
    let uri = field.parsed::<S3Uri>()?;
    if !uri.key().ends_with(".tar.gz") && !uri.key().ends_with(".zip") {
        field.refuse("is a package of the format .tar.gz or .zip, and its key says so", "pack it again");
        return None;
    }
    if virtual_hosted_s3 && uri.bucket().contains('.') {
        let rule = "names a bucket with a period in it, which the certificate of S3's virtual-hosted addresses does not \
                    cover (B-10)";
        field.refuse(rule, "use another bucket, or write margay.s3.addressing \"path\"");
        return None;
    }
    Some(uri)
}

/// The owner, if there is one; `None` if it is refused.
fn read_owner(object: &mut Object<'_>) -> Option<Option<ModelOwner>> {
    // The guide's examples write the first, its text on a setting that is not complete the second: V1's API knew both.
    let (field, other) = (object.field("OwnerSetting"), object.field("ResourceDownloadOwnerSetting"));
    let field = match (field.is_present(), other.is_present()) {
        (true, true) => {
            other.refuse("is OwnerSetting by another name, which stands here too", "write one of them");
            return None;
        }
        (false, true) => other,
        _ => field,
    };
    if !field.is_present() {
        return Some(None);
    }
    let mut setting = field.object()?;
    if !setting.has("GroupOwner") || !setting.has("GroupPermission") {
        field.refuse(INVALID_OWNER, "define the missing property");
    }
    let gid = setting.field("GroupOwner").hint("write the number of an existing Linux group, as `getent group` shows");
    let gid = gid.integer(0..=u64::from(u32::MAX), "").and_then(|gid| u32::try_from(gid).ok());
    let permission = setting.field("GroupPermission").choice(&Permission::NAMES);
    setting.finish(Unknown::Warn);
    Some(Some(ModelOwner { gid: gid?, permission: permission? }))
}
