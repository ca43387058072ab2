//! Machine learning resources: model packages in S3 (B-10, B-15).

use std::path::PathBuf;

use crate::document::{Object, Unknown};
use crate::name::S3Uri;

use super::access::Permission;
use super::path::destination;

/// The guide's text for an owner that is not complete (B-17, error 1).
const INVALID_OWNER: &str = "InvalidMLModelOwner - GroupOwnerSetting is provided in ML model resource, but GroupOwner \
                             or GroupPermission is not present";

/// A model package in S3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Model {
    /// Where the package's content appears to functions and connectors.
    pub destination: PathBuf,
    /// The package: `.tar.gz` or `.zip`.
    pub uri: S3Uri,
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
    pub(super) fn read(mut object: Object<'_>) -> Option<Self> {
        let destination = destination(&object.field("DestinationPath").required("write the path in the container"));
        let field = object.field("S3Uri").required("write s3://bucket/key");
        let uri = field.parsed::<S3Uri>().filter(|uri| {
            let package = uri.key().ends_with(".tar.gz") || uri.key().ends_with(".zip");
            if !package {
                field.refuse("is a package of the format .tar.gz or .zip, and its key says so", "pack the model again");
            }
            package
        });
        let owner = read_owner(&mut object);
        object.finish(Unknown::Warn);
        Some(Self { destination: destination?, uri: uri?, owner: owner? })
    }
}

/// The owner, if there is one; `None` if it is refused.
fn read_owner(object: &mut Object<'_>) -> Option<Option<ModelOwner>> {
    let field = object.field("OwnerSetting");
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
