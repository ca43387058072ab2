//! Where the control group hierarchies are mounted and where the core stands in them.
//!
//! Parses `/proc/self/mountinfo` and `/proc/self/cgroup` (proc(5), cgroups(7)); touches nothing.

use std::path::{Path, PathBuf};

use super::{Controller, Version};

/// One mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hierarchy {
    pub version: Version,
    /// The folder of the core's own group.
    pub own: PathBuf,
    /// The mount point: the root, or the part of it that this container sees.
    pub mount_point: PathBuf,
    /// Version 1: the controllers of the hierarchy. Version 2 lists them in a file.
    controllers: Vec<String>,
}

impl Hierarchy {
    /// Whether a hierarchy of version 1 is this controller's.
    pub fn has(&self, controller: Controller) -> bool {
        self.controllers.iter().any(|name| name == controller.name())
    }
}

/// Every hierarchy that is mounted and that the core belongs to.
pub(crate) fn hierarchies(mountinfo: &str, membership: &str) -> Vec<Hierarchy> {
    mountinfo.lines().filter_map(|line| hierarchy(line, membership)).collect()
}

fn hierarchy(line: &str, membership: &str) -> Option<Hierarchy> {
    let (mount, source) = line.split_once(" - ")?;
    let mut mount = mount.split(' ').skip(3);
    let (root, mount_point) = (mount.next()?, PathBuf::from(mount.next()?));
    let mut source = source.split(' ');
    let kind = source.next()?;
    let options = source.nth(1)?;
    let (version, controllers) = match kind {
        "cgroup2" => (Version::Two, Vec::new()),
        "cgroup" => (Version::One, options.split(',').map(str::to_owned).collect()),
        _ => return None,
    };
    let path = own_path(version, &controllers, membership)?;
    // A container may see a part of the hierarchy, while the membership still names the whole path.
    let below = Path::new(path).strip_prefix(root).or_else(|_| Path::new(path).strip_prefix("/")).ok()?;
    Some(Hierarchy { version, own: mount_point.join(below), mount_point, controllers })
}

/// The core's path in a hierarchy: `0::/path` for version 2, `4:memory:/path` for version 1.
fn own_path<'a>(version: Version, controllers: &[String], membership: &'a str) -> Option<&'a str> {
    membership.lines().find_map(|line| {
        let (names, path) = line.split_once(':')?.1.split_once(':')?;
        let same = match version {
            Version::Two => names.is_empty(),
            Version::One => names.split(',').any(|name| !name.is_empty() && controllers.iter().any(|own| own == name)),
        };
        same.then_some(path)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_found_lies_below_its_mount_point(
            root in "(/[a-z]{1,3}){0,2}",
            own in "(/[a-z]{1,3}){0,3}",
            noise in any::<String>(),
        ) {
            let line = format!("35 24 0:30 {root}/ /sys/fs/cgroup rw - cgroup2 cgroup2 rw");
            for found in hierarchies(&format!("{line}\n{noise}"), &format!("0::{own}/\n{noise}")) {
                prop_assert!(found.own.starts_with(&found.mount_point));
            }
        }
    }

    const HYBRID: &str = "\
30 23 0:26 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
31 30 0:27 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
32 30 0:28 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
33 30 0:29 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";

    #[test]
    fn a_hybrid_host_has_a_hierarchy_for_each_controller_and_one_for_the_rest() {
        let membership = "4:memory:/system.slice/margay.service\n2:cpu,cpuacct:/\n0::/\n";
        let found = hierarchies(HYBRID, membership);
        assert_eq!(found.len(), 3);
        assert!(found[0].has(Controller::Memory) && !found[0].has(Controller::Pids));
        assert_eq!(found[0].own, Path::new("/sys/fs/cgroup/memory/system.slice/margay.service"));
        assert_eq!((found[2].version, found[2].own.as_path()), (Version::Two, Path::new("/sys/fs/cgroup/unified")));
    }

    #[test]
    fn version_two_alone_is_found_at_its_mount_point() {
        let mountinfo = "35 24 0:30 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate";
        let found = hierarchies(mountinfo, "0::/system.slice/margay.service\n");
        assert_eq!(found[0].own, Path::new("/sys/fs/cgroup/system.slice/margay.service"));
    }

    #[test]
    fn a_container_that_sees_only_its_part_is_placed_in_that_part() {
        let mountinfo = "35 24 0:30 /docker/ab /sys/fs/cgroup/memory ro shared:9 - cgroup cgroup rw,memory";
        let found = hierarchies(mountinfo, "4:memory:/docker/ab/inner\n");
        assert_eq!(found[0].own, Path::new("/sys/fs/cgroup/memory/inner"));
    }

    #[test]
    fn lines_that_are_no_hierarchies_are_passed_over() {
        assert!(hierarchies("garbage\n1 2 3\n22 1 8:1 / / rw - ext4 /dev/sda1 rw\n", "0::/\n").is_empty());
    }
}
