//! What a program that delivers frames is shown of the host.
//!
//! The program runs inside the capture worker's sandbox, as that worker's child: with its user, system-call list, memory
//! limit and process count, without a network, and gone when the worker is. Beside what every worker has it sees the
//! host's programs and libraries, read-only, and the nodes of its camera; which those are is looked up at each start,
//! because they come and go.

use std::fs;
use std::path::{Path, PathBuf};

use margay_camera::source::NamePattern;
use margay_sandbox::{Access, Bind, Content, Device, GroupRule};

/// Programs and libraries: on most systems the last three are links into the first.
const PROGRAMS: [&str; 4] = ["/usr", "/lib", "/lib64", "/bin"];

/// What libraries read to find each other and devices: Debian's alternatives, libcamera's settings, udev's database and
/// the kernel's list of devices. Folders of `/sys` one by one, because a user namespace may not bind the whole.
const READ: [&str; 9] = [
    "/etc/alternatives",
    "/etc/libcamera",
    "/etc/glvnd",
    "/run/udev",
    "/sys/bus",
    "/sys/class",
    "/sys/dev",
    "/sys/devices",
    "/sys/firmware/devicetree",
];

/// libcamera finds a camera's parts through media devices, and shares buffers through a heap.
const LIBCAMERA: &[&str] = &["/dev/media*", "/dev/video*", "/dev/v4l-subdev*", "/dev/dma_heap/*", "/dev/udmabuf"];

/// Argus asks a daemon over a socket, and shares buffers through the graphics driver.
const ARGUS: &[&str] = &[
    "/dev/nvhost-*",
    "/dev/nvmap",
    "/dev/nvidia*",
    "/dev/nvgpu/igpu0/*",
    "/dev/tegra*",
    "/dev/host1x-fence",
    "/dev/dri/render*",
    "/dev/dma_heap/*",
];
const ARGUS_SOCKET: &str = "/tmp/argus_socket";

/// More nodes of one pattern than any board has.
const MOST_NODES: usize = 64;

/// What stands between a program and its camera.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CameraStack {
    /// Nothing but what the group names.
    None,
    /// libcamera.
    Libcamera,
    /// NVIDIA's argus.
    Argus,
}

/// What a program that delivers frames may see and use.
#[derive(Debug, Clone)]
pub struct CommandAccess {
    /// What it reaches its camera by.
    pub stack: CameraStack,
    /// Where it is, if it is not looked for.
    pub program: Option<PathBuf>,
    /// Files and folders that the group lends it.
    pub binds: Vec<Bind>,
    /// Devices that the group lends it.
    pub devices: Vec<Device>,
}

impl CommandAccess {
    /// What of it is there now, below `host`, which is `/`.
    pub(super) fn resolve(&self, host: &Path) -> (Vec<Bind>, Vec<Device>) {
        let there = |path: &&str| within(host, path).exists();
        let programs = PROGRAMS.iter().filter(|path| there(path)).map(|path| code(Path::new(path)));
        let read = READ.iter().filter(|path| there(path)).map(|path| Bind::read_only(*path, *path));
        let mut binds: Vec<Bind> = programs.chain(read).chain(self.binds.iter().cloned()).collect();
        if let Some(program) = self.program.as_deref().filter(|path| !PROGRAMS.iter().any(|of| path.starts_with(of))) {
            binds.push(code(program));
        }
        let patterns = match self.stack {
            CameraStack::None => &[],
            CameraStack::Libcamera => LIBCAMERA,
            CameraStack::Argus => ARGUS,
        };
        if self.stack == CameraStack::Argus && there(&ARGUS_SOCKET) {
            let bind = Bind::read_only(ARGUS_SOCKET, ARGUS_SOCKET);
            binds.push(Bind { access: Access::ReadWrite, group: GroupRule::OwnerOfSource, ..bind });
        }
        let mut devices = self.devices.clone();
        for path in patterns.iter().flat_map(|pattern| nodes(host, pattern)) {
            if devices.iter().all(|device| device.path != path) {
                devices.push(Device { path, access: Access::ReadWrite, group: GroupRule::OwnerOfSource });
            }
        }
        (binds, devices)
    }
}

fn code(path: &Path) -> Bind {
    Bind { content: Content::Code, ..Bind::read_only(path, path) }
}

fn within(host: &Path, path: &str) -> PathBuf {
    host.join(path.trim_start_matches('/'))
}

/// The nodes whose names a pattern stands for in its last part, in order.
fn nodes(host: &Path, pattern: &str) -> Vec<PathBuf> {
    let (folder, name) = pattern.rsplit_once('/').unwrap_or(("", pattern));
    let (Ok(name), Ok(entries)) = (name.parse::<NamePattern>(), fs::read_dir(within(host, folder))) else {
        return Vec::new();
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut found: Vec<PathBuf> = names
        .filter(|found| name.matches(found.as_bytes()))
        .map(|found| Path::new(folder).join(found))
        // A folder of the same beginning, such as /dev/nvidia-caps, is no node.
        .filter(|path| !within(host, &path.to_string_lossy()).is_dir())
        .take(MOST_NODES)
        .collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(files: &[&str]) -> tempfile::TempDir {
        let host = tempfile::tempdir().unwrap();
        for file in files {
            let path = within(host.path(), file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        host
    }

    fn access(stack: CameraStack) -> CommandAccess {
        CommandAccess { stack, program: None, binds: Vec::new(), devices: Vec::new() }
    }

    #[test]
    fn a_raspberry_pis_camera_is_its_media_devices_and_heaps_and_no_other_node() {
        let host = host(&[
            "/usr/bin/rpicam-vid",
            "/sys/bus/media",
            "/dev/media0",
            "/dev/media10",
            "/dev/video0",
            "/dev/dma_heap/linux,cma",
            "/dev/mem",
            "/dev/ttyS0",
            "/home/pi/secret",
            "/etc/shadow",
        ]);
        let (binds, devices) = access(CameraStack::Libcamera).resolve(host.path());
        let devices: Vec<_> = devices.iter().map(|device| device.path.to_str().unwrap()).collect();
        assert_eq!(devices, ["/dev/media0", "/dev/media10", "/dev/video0", "/dev/dma_heap/linux,cma"]);
        let binds: Vec<_> = binds.iter().map(|bind| bind.destination.to_str().unwrap()).collect();
        assert_eq!(binds, ["/usr", "/sys/bus"]);
    }

    #[test]
    fn a_pipeline_has_the_devices_that_the_group_names() {
        let host = host(&["/usr/bin/gst-launch-1.0", "/dev/video0", "/dev/video1"]);
        assert!(access(CameraStack::None).resolve(host.path()).1.is_empty());
        let named = Device { path: "/dev/video1".into(), access: Access::ReadWrite, group: GroupRule::None };
        let access = CommandAccess { devices: vec![named.clone()], ..access(CameraStack::Libcamera) };
        let (_, devices) = access.resolve(host.path());
        assert_eq!((devices.len(), &devices[0]), (2, &named), "each node once");
    }

    #[test]
    fn a_jetsons_camera_is_asked_for_over_the_daemons_socket() {
        let host = host(&["/usr/bin/gst-launch-1.0", "/tmp/argus_socket", "/dev/nvhost-vic", "/dev/nvidia-caps/cap1"]);
        let (binds, devices) = access(CameraStack::Argus).resolve(host.path());
        assert!(binds.iter().any(|bind| bind.destination == Path::new(ARGUS_SOCKET)));
        assert_eq!(devices.len(), 1, "{devices:?}");
    }

    #[test]
    fn a_program_beside_the_hosts_is_shown_alone() {
        let host = host(&["/usr/bin/sh"]);
        let program = Some("/opt/camera/rpicam-vid".into());
        let (binds, _) = CommandAccess { program, ..access(CameraStack::None) }.resolve(host.path());
        assert_eq!(binds.last(), Some(&code(Path::new("/opt/camera/rpicam-vid"))));
        let program = Some("/usr/local/bin/rpicam-vid".into());
        let (binds, _) = CommandAccess { program, ..access(CameraStack::None) }.resolve(host.path());
        assert_eq!(binds.len(), 1);
    }
}
