//! Whether a function's user has what the group grants the function on files and devices of the host (B-06, B-08). It is
//! asked when a group is deployed, as V1 asked it: a miss fails the deployment, with the guide's text.
//!
//! What is looked at is the resource itself and its permission bits. The folders above it do not matter, because it is
//! mounted into the container; and neither does being root, because no function has a capability. A file that has an
//! access control list is left to the function to find out.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use margay_sandbox::{Account, group_named};

use super::account;
use super::settings::{Attached, Settings};
use crate::group::{GroupOwner, IsolationMode, ResourceData};

/// Where the kernel keeps the access control list of a file (acl(5)).
const ACCESS_LIST: &str = "system.posix_acl_access";

/// A bit of a permission triple (inode(7)).
const READ: u32 = 4;
const WRITE: u32 = 2;
const SEARCH: u32 = 1;

/// Something that a function is granted and would not get.
#[derive(Debug, thiserror::Error)]
pub enum Miss {
    /// Its user and groups may not do that with the file.
    #[error(
        "{user} or [{}] don't have {permission} permission on the file: {} ({function}; the file is {found}: {hint})",
        groups.join(" "), path.display()
    )]
    Denied {
        /// The function's user, by name where it has one.
        user: String,
        /// Its groups, by name where they have one.
        groups: Vec<String>,
        /// `ro` or `rw`.
        permission: &'static str,
        /// The source of the resource.
        path: PathBuf,
        /// The function's ARN.
        function: String,
        /// The file's permissions and owners.
        found: String,
        /// What to do about it.
        hint: String,
    },
    /// The source cannot be looked at.
    #[error("the file {} of resource {resource} cannot be granted to {function}: {source}", path.display())]
    Unreadable {
        /// The resource.
        resource: String,
        /// Its source.
        path: PathBuf,
        /// The function's ARN.
        function: String,
        /// Why not.
        source: io::Error,
    },
    /// `GroupOwner` names no group of this host.
    #[error("resource {resource} names the GroupOwner {group:?}, and this device has no such group: groupadd {group}")]
    NoGroup {
        /// The resource.
        resource: String,
        /// The name.
        group: String,
    },
}

/// Everything that `settings` grants and the function would not get. A function that cannot run is not asked about.
pub fn misses(settings: &Settings) -> Vec<Miss> {
    let runs = settings.function.isolation == IsolationMode::GreengrassContainer && settings.code.is_dir();
    if !runs {
        return Vec::new();
    }
    let (groups, mut misses) = groups(settings);
    misses.extend(settings.resources.iter().filter_map(|attached| denied(settings, attached, &groups)));
    misses
}

/// The groups of its processes: its own, and those that resources add.
fn groups(settings: &Settings) -> (Vec<u32>, Vec<Miss>) {
    let mut groups = vec![settings.account.gid];
    let mut misses = Vec::new();
    for attached in &settings.resources {
        let added = match local(attached) {
            Some((path, GroupOwner::Automatic)) => fs::metadata(path).ok().map(|found| found.gid()),
            Some((_, GroupOwner::Named(name))) => {
                let found = group_named(name).ok();
                let resource = || attached.resource.id.to_string();
                misses.extend(found.is_none().then(|| Miss::NoGroup { resource: resource(), group: name.clone() }));
                found
            }
            Some((_, GroupOwner::None)) => None,
            None => attached.resource.model().and_then(|model| model.owner).map(|owner| owner.gid),
        };
        groups.extend(added.filter(|id| !groups.contains(id)));
    }
    (groups, misses)
}

/// The source and the group rule of a local resource.
fn local(attached: &Attached) -> Option<(&Path, &GroupOwner)> {
    match &attached.resource.data {
        ResourceData::LocalVolume(volume) => Some((&volume.source, &volume.group_owner)),
        ResourceData::LocalDevice(device) => Some((&device.source, &device.group_owner)),
        ResourceData::S3Model(_) | ResourceData::Secret(_) => None,
    }
}

fn denied(settings: &Settings, attached: &Attached, groups: &[u32]) -> Option<Miss> {
    let (path, owner) = local(attached)?;
    let function = settings.arn().to_owned();
    let found = match fs::metadata(path) {
        Ok(found) => found,
        Err(source) => {
            let resource = attached.resource.id.to_string();
            return Some(Miss::Unreadable { resource, path: path.to_owned(), function, source });
        }
    };
    let needed = needed(attached.writable, found.is_dir());
    let file = FileOwner::of(&found);
    if file.grants(settings.account, groups) & needed == needed || has_access_list(path) {
        return None;
    }
    let by_its_group = (file.mode >> 3) & needed == needed && *owner != GroupOwner::Automatic;
    let hint = match by_its_group {
        true => "set GroupOwnerSetting.AutoAddGroupOwner to true",
        false => "change its owner or permissions with chown and chmod",
    };
    Some(Miss::Denied {
        user: account::user_name(settings.account.uid),
        groups: groups.iter().map(|id| account::group_name(*id)).collect(),
        permission: if attached.writable { "rw" } else { "ro" },
        path: path.to_owned(),
        function,
        found: file.to_string(),
        hint: hint.to_owned(),
    })
}

/// The bits that reading, or reading and writing takes; what lies in a folder takes searching it.
fn needed(writable: bool, is_folder: bool) -> u32 {
    READ | if writable { WRITE } else { 0 } | if is_folder { SEARCH } else { 0 }
}

fn has_access_list(path: &Path) -> bool {
    rustix::fs::getxattr(path, ACCESS_LIST, &mut [0_u8; 0][..]).is_ok_and(|length| length > 0)
}

/// Whose a file is, and who may do what with it.
#[derive(Debug, Clone, Copy)]
struct FileOwner {
    uid: u32,
    gid: u32,
    /// The permission bits alone.
    mode: u32,
    /// The letter by which ls(1) says what it is.
    kind: &'static str,
}

impl FileOwner {
    fn of(found: &Metadata) -> Self {
        let kind = match found.file_type() {
            kind if kind.is_dir() => "d",
            kind if kind.is_char_device() => "c",
            kind if kind.is_block_device() => "b",
            _ => "-",
        };
        Self { uid: found.uid(), gid: found.gid(), mode: found.mode() & 0o777, kind }
    }

    /// The one triple that counts for a process without capabilities (path_resolution(7)).
    fn grants(self, account: Account, groups: &[u32]) -> u32 {
        let shift = match () {
            () if account.uid == self.uid => 6,
            () if groups.contains(&self.gid) => 3,
            () => 0,
        };
        (self.mode >> shift) & 7
    }
}

impl fmt::Display for FileOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind)?;
        for place in (0..9).rev() {
            let set = self.mode >> place & 1 == 1;
            let letter = [b'x', b'w', b'r'][place % 3] as char;
            write!(f, "{}", if set { letter } else { '-' })?;
        }
        write!(f, " of {} and group {}", account::user_name(self.uid), account::group_name(self.gid))
    }
}

/// What is wrong with all functions of a group, as the guide prints it (B-08).
#[derive(Debug, thiserror::Error)]
#[error("group config is invalid:{}", listed(.0))]
pub struct Misses(pub Vec<Miss>);

/// One on the line, several on a line each.
fn listed(misses: &[Miss]) -> String {
    let lines: BTreeSet<String> = misses.iter().map(ToString::to_string).collect();
    let lines: Vec<String> = lines.into_iter().collect();
    match lines.as_slice() {
        [one] => format!(" {one}"),
        several => format!("\n    {}", several.join("\n    ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who asks: a function of user 900 and group 901, with group 44 added by a resource.
    const ACCOUNT: Account = Account { uid: 900, gid: 901 };
    const GROUPS: [u32; 2] = [901, 44];

    #[test]
    fn the_first_triple_that_fits_the_function_decides_as_in_the_kernel() {
        let grants = |uid, gid, mode| FileOwner { uid, gid, mode, kind: "-" }.grants(ACCOUNT, &GROUPS);
        assert_eq!(grants(900, 44, 0o467), READ, "the owner has what the owner has, not what the group has");
        assert_eq!(grants(0, 44, 0o746), READ, "a group that a resource added counts, and others' bits do not");
        assert_eq!(grants(0, 901, 0o660), READ | WRITE);
        assert_eq!(grants(0, 0, 0o775), READ | SEARCH);
        assert_eq!(grants(0, 0, 0o770), 0);
    }

    #[test]
    fn a_folder_is_readable_for_those_who_may_search_it() {
        assert_eq!(needed(false, false), 4);
        assert_eq!(needed(true, false), 6);
        assert_eq!((needed(false, true), needed(true, true)), (5, 7));
    }

    #[test]
    fn a_files_permissions_are_shown_as_ls_shows_them() {
        let owner = FileOwner { uid: 0, gid: 0, mode: 0o640, kind: "-" };
        assert_eq!(owner.to_string(), "-rw-r----- of root and group root");
        assert!(FileOwner { mode: 0o755, kind: "d", ..owner }.to_string().starts_with("drwxr-xr-x of "));
    }

    #[test]
    fn several_misses_stand_below_the_guides_first_line() {
        let miss = |group: &str| Miss::NoGroup { resource: "r".to_owned(), group: group.to_owned() };
        assert!(Misses(vec![miss("a")]).to_string().starts_with("group config is invalid: resource r names"));
        let text = Misses(vec![miss("b"), miss("a"), miss("a")]).to_string();
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(text.starts_with("group config is invalid:\n    resource r names the GroupOwner \"a\""), "{text}");
    }
}
