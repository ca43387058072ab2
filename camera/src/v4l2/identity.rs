//! What a device node says that it is.

use std::path::Path;

use serde::Serialize;

use super::abi;
use super::device::Device;
use super::error::CameraError;
use super::offer::text;

/// Who a camera is, in its driver's words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Identity {
    /// The camera's name.
    pub name: String,
    /// The driver.
    pub driver: String,
    /// Where it is plugged in.
    pub bus: String,
}

/// Asks the node who it is, and refuses what is no camera.
pub(super) fn identify(device: &impl Device, path: &Path) -> Result<Identity, CameraError> {
    let found = device.capability().map_err(|errno| match errno {
        rustix::io::Errno::NOTTY | rustix::io::Errno::INVAL => CameraError::NotVideo { path: path.to_owned() },
        _ => CameraError::failed(path, "asking for the name of", errno),
    })?;
    check(path, abilities(&found))?;
    Ok(Identity { name: text(&found.card), driver: text(&found.driver), bus: text(&found.bus_info) })
}

/// What this node can do; older drivers only tell what all the nodes of the device can.
fn abilities(found: &abi::Capability) -> u32 {
    if found.capabilities & abi::CAP_DEVICE_CAPS == 0 { found.capabilities } else { found.device_caps }
}

fn check(path: &Path, abilities: u32) -> Result<(), CameraError> {
    let has = |ability: u32| abilities & ability != 0;
    let path = path.to_owned();
    if has(abi::CAP_VIDEO_M2M | abi::CAP_VIDEO_M2M_MPLANE) {
        return Err(CameraError::NotACamera { path, what: "a codec or converter" });
    }
    if has(abi::CAP_VIDEO_CAPTURE) {
        if has(abi::CAP_STREAMING) {
            return Ok(());
        }
        return Err(CameraError::Unsupported { path, how: "delivers frames by read() only" });
    }
    if has(abi::CAP_VIDEO_CAPTURE_MPLANE) {
        return Err(CameraError::Unsupported { path, how: "has the multi-planar interface only" });
    }
    let what = if has(abi::CAP_META_CAPTURE) {
        "the metadata of one"
    } else if has(abi::CAP_VIDEO_OUTPUT | abi::CAP_VIDEO_OUTPUT_MPLANE) {
        "an output"
    } else {
        "one that delivers nothing now, such as a loopback device that nobody writes to"
    };
    Err(CameraError::NotACamera { path, what })
}

#[cfg(test)]
mod tests {
    use super::super::fake::{Fake, webcam};
    use super::*;

    fn kind(capabilities: u32, device_caps: u32) -> String {
        let mut camera = Fake::new(webcam());
        camera.capability.capabilities = capabilities;
        camera.capability.device_caps = device_caps;
        match identify(&camera, Path::new("/dev/video0")) {
            Ok(identity) => identity.name,
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_camera_is_told_from_the_other_nodes_of_its_device() {
        let camera = abi::CAP_VIDEO_CAPTURE | abi::CAP_STREAMING;
        assert_eq!(kind(camera, 0), "Fake Webcam", "drivers without device_caps");
        let all = abi::CAP_DEVICE_CAPS | camera | abi::CAP_META_CAPTURE;
        assert_eq!(kind(all, camera), "Fake Webcam");
        assert!(kind(all, abi::CAP_META_CAPTURE | abi::CAP_STREAMING).contains("the metadata of one"));
    }

    #[test]
    fn other_devices_are_refused_by_what_they_are() {
        let told = |abilities: u32| kind(abi::CAP_DEVICE_CAPS, abilities);
        assert!(told(abi::CAP_VIDEO_M2M_MPLANE | abi::CAP_STREAMING).contains("a codec or converter"));
        assert!(told(abi::CAP_VIDEO_CAPTURE_MPLANE | abi::CAP_STREAMING).contains("multi-planar"));
        assert!(told(abi::CAP_VIDEO_OUTPUT).contains("an output"));
        assert!(told(abi::CAP_VIDEO_CAPTURE).contains("read() only"));
        assert!(told(0).contains("delivers nothing now"));
    }

    #[test]
    fn a_node_that_does_not_answer_as_v4l2_does_is_none() {
        let camera = Fake { deaf: true, ..Fake::new(webcam()) };
        let error = identify(&camera, Path::new("/dev/video0")).unwrap_err();
        assert!(matches!(error, CameraError::NotVideo { .. }), "{error}");
    }
}
