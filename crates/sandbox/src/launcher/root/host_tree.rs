//! The host's root below a private layer: where users' functions run.
//!
//! Nothing is written to the host: the layer is memory, and every mount point is looked up in the new tree, so that a
//! symbolic link of the host cannot lead out of it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};

use super::mounting::Mounting;
use super::{GUARDED, make_folder, within};
use crate::launcher::landlock::Grant;
use crate::order::{During, Failure, Step};
use crate::plan::{Access, Device, HostTree};
use crate::walk::Walk;

/// What covers a hidden folder, and what covers a hidden file.
const COVER_OPTIONS: &str = "mode=755,size=4k,nr_inodes=64";
const EMPTY_FILE: &str = "/dev/null";

/// Room for sockets and lock files that programs expect to put there, in bytes.
const RUN_OPTIONS: &str = "mode=1777,size=1m";

/// Room for device nodes and links; nothing is written there.
const DEVICES_OPTIONS: &str = "mode=755,size=64k";

/// Shared memory and semaphores (shm_overview(7)); counts against the memory limit.
const SHARED_OPTIONS: &str = "mode=1777";

/// What holds for the root: the host's programs run there.
pub(super) const FLAGS: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV);

/// Links that programs expect in `/dev`.
const DEVICE_LINKS: [(&str, &str); 4] = [
    ("dev/fd", "/proc/self/fd"),
    ("dev/stdin", "/proc/self/fd/0"),
    ("dev/stdout", "/proc/self/fd/1"),
    ("dev/stderr", "/proc/self/fd/2"),
];

/// Mounts the tree below `staging`; gives where its root is.
pub(super) fn build(tree: &HostTree, staging: &Path) -> Result<PathBuf, Failure> {
    let at = |path: &Path| path.to_owned();
    let options = format!("mode=755,size={}", tree.writable_bytes);
    mount(Some("margay"), staging, Some("tmpfs"), GUARDED, Some(options.as_str())).during_at(Step::NewRoot, staging)?;
    let [upper, work, root] = ["upper", "work", "root"].map(|name| staging.join(name));
    for folder in [&upper, &work, &root] {
        make_folder(folder)?;
    }
    let options = format!("lowerdir=/,upperdir={},workdir={}", upper.display(), work.display());
    mount(Some("margay"), &root, Some("overlay"), FLAGS, Some(options.as_str()))
        .during_at(Step::Mount, Path::new("/"))?;
    own(&root, "run", RUN_OPTIONS)?;
    own(&root, "dev", DEVICES_OPTIONS)?;
    own(&root, "dev/shm", SHARED_OPTIONS)?;
    for (link, target) in DEVICE_LINKS {
        symlink(target, root.join(link)).during_at(Step::Mount, &at(Path::new(link)))?;
    }
    Ok(root)
}

fn own(root: &Path, name: &str, options: &str) -> Result<(), Failure> {
    let place = root.join(name);
    make_folder(&place)?;
    mount(Some("margay"), &place, Some("tmpfs"), GUARDED, Some(options)).during_at(Step::Mount, &place)
}

/// Covers what the plan hides and the host has.
pub(super) fn hide(tree: &HostTree, root: &Path) -> Result<(), Failure> {
    tree.hidden.iter().try_for_each(|path| cover(&within(root, path), path))
}

/// Covers it once more in a volume that contains it: `real` of the host, mounted at `place`.
pub(super) fn hide_within(tree: &HostTree, real: &Path, place: &Path) -> Result<(), Failure> {
    let inside = tree.hidden.iter().filter_map(|path| Some((path, path.strip_prefix(real).ok()?)));
    inside.into_iter().try_for_each(|(path, below)| cover(&place.join(below), path))
}

fn cover(place: &Path, path: &Path) -> Result<(), Failure> {
    let Ok(found) = fs::symlink_metadata(place) else { return Ok(()) };
    if found.is_dir() {
        return mount(Some("margay"), place, Some("tmpfs"), GUARDED, Some(COVER_OPTIONS)).during_at(Step::Mount, path);
    }
    let read_only = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY | GUARDED;
    mount(Some(EMPTY_FILE), place, None::<&str>, MsFlags::MS_BIND, None::<&str>).during_at(Step::Mount, path)?;
    mount(None::<&str>, place, None::<&str>, read_only, None::<&str>).during_at(Step::Mount, path)
}

/// A group document's volume that is, or lies in, what the tree hides is refused.
pub(super) fn refuse_hidden(tree: &HostTree, mountings: &[Mounting]) -> Result<(), Failure> {
    let is_hidden = |real: &PathBuf| tree.hidden.iter().any(|hidden| real.starts_with(hidden));
    match mountings.iter().find_map(|mounting| mounting.real.clone().filter(is_hidden)) {
        Some(path) => Err(Failure { step: Step::OpenSource, path: Some(path), errno: libc::EACCES }),
        None => Ok(()),
    }
}

/// What landlock allows in the tree. Rights add up on the way from the root, so that where a device may only be read, the
/// root's own must not hold in `/dev`: the folders below the root have them then, one by one.
pub(super) fn grants(devices: &[Device]) -> Vec<(PathBuf, Grant)> {
    let all = vec![(PathBuf::from("/"), Grant::Own)];
    if devices.iter().all(|device| device.access == Access::ReadWrite) {
        return all;
    }
    let Ok(entries) = fs::read_dir("/") else { return all };
    let folders = entries.flatten().map(|entry| entry.path()).filter(|path| path != Path::new("/dev"));
    let own = [("/", Grant::Frame), ("/dev/shm", Grant::ReadWrite), ("/run", Grant::Own), ("/tmp", Grant::Own)];
    folders.map(|path| (path, Grant::Own)).chain(own.map(|(path, grant)| (path.into(), grant))).collect()
}

/// Where `path` of the new tree lies below `root`, with the symbolic links of the tree followed inside it. Parts that do
/// not exist are taken as they are.
pub(super) fn resolve(root: &Path, path: &Path) -> Result<PathBuf, Failure> {
    let mut walk = Walk::along(path);
    let mut found = PathBuf::from("/");
    while let Some(part) = walk.next_part() {
        if part == ".." {
            found.pop();
            continue;
        }
        let next = found.join(&part);
        let Ok(target) = fs::read_link(within(root, &next)) else {
            found = next;
            continue;
        };
        if target.is_absolute() {
            found = PathBuf::from("/");
        }
        let endless = |errno| Failure { step: Step::Mount, path: Some(path.to_owned()), errno: errno as i32 };
        walk.follow(&target).map_err(endless)?;
    }
    Ok(within(root, &found))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_of_the_tree_leads_nowhere_but_into_the_tree() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::create_dir_all(root.join("run/inner")).unwrap();
        fs::create_dir(root.join("var")).unwrap();
        symlink("/run", root.join("var/run")).unwrap();
        symlink("../../../../../../run/inner", root.join("var/up")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        let at = |path: &str| resolve(root, Path::new(path)).unwrap();
        assert_eq!(at("/var/run/socket"), root.join("run/socket"));
        assert_eq!(at("/var/up/x"), root.join("run/inner/x"));
        assert_eq!(at("/models/a"), root.join("models/a"));
        assert_eq!(resolve(root, Path::new("/loop")).unwrap_err().errno, libc::ELOOP);
    }
}
