//! The connector's parameters as the classifier takes them: what each sandbox is shown, and who runs in it.

use margay_camera::source::{
    FolderOrder, FolderSource, HttpSource, MjpegFileSource, SourceConfig, TestPatternSource, V4l2Source,
};
use margay_sandbox::{Access, Bind, Device, GroupRule};

use super::sources::is_motion_jpeg;
use super::{Camera, Command, CommandCamera, DeviceCamera, ImageClassifier, VolumeCamera};
use crate::classifier::{CameraAccess, CameraStack, CommandAccess, Engines, Settings, WorkerIdentity};
use crate::group::{GroupOwner, LocalDevice, LocalVolume, ResourceData};

/// The size of the drawn picture, in pixels: V4L2's VGA.
const PATTERN_SIZE: (u32, u32) = (640, 480);

impl ImageClassifier {
    /// What the classifier is started with; whoever starts it adds what the device knows of its engines.
    pub fn settings(&self) -> Settings {
        Settings {
            camera: self.camera_name.to_string(),
            source: self.source(),
            access: self.access(),
            model_destination: self.model_destination.clone(),
            policy: self.policy.clone(),
            threshold: self.threshold.map(|threshold| threshold.get()),
            thumbnail: self.thumbnail,
            view: self.view,
            memory_limit: self.memory_limit.bytes(),
            identity: self.identity(),
            health: self.health,
            threads: self.threads,
            engines: Engines::default(),
        }
    }

    /// Where frames come from, in the capture sandbox's own paths.
    fn source(&self) -> SourceConfig {
        let frames_per_second = self.frames_per_second.get();
        match &self.camera {
            Camera::TestPattern => {
                let (width, height) = PATTERN_SIZE;
                SourceConfig::TestPattern(TestPatternSource { width, height, frames_per_second, frames: None })
            }
            Camera::Device(DeviceCamera { device, picture, adjustments }) => SourceConfig::V4l2(V4l2Source {
                path: device.source.clone(),
                format: picture.format,
                width: picture.width,
                height: picture.height,
                frames_per_second,
                adjustments: adjustments.clone(),
            }),
            Camera::Command(camera) => camera.source(frames_per_second),
            Camera::Network(url) => SourceConfig::HttpMjpeg(HttpSource { url: url.clone(), frames_per_second }),
            Camera::Volume(VolumeCamera { volume, order, .. }) if is_motion_jpeg(&volume.source) => {
                let shuffled = match order {
                    FolderOrder::Shuffled { seed } => Some(*seed),
                    _ => None,
                };
                let (path, repeat) = (volume.destination.clone(), self.repeat);
                SourceConfig::MjpegFile(MjpegFileSource { path, frames_per_second, repeat, shuffled })
            }
            Camera::Volume(VolumeCamera { volume, pattern, order }) => SourceConfig::Folder(FolderSource {
                path: volume.destination.clone(),
                frames_per_second,
                repeat: self.repeat,
                order: *order,
                pattern: pattern.clone(),
            }),
        }
    }

    /// What the capture sandbox is shown of the host.
    fn access(&self) -> CameraAccess {
        match &self.camera {
            // The core connects to a camera of the network, and hands the connection over.
            Camera::TestPattern | Camera::Network(_) => CameraAccess::Nothing,
            Camera::Volume(camera) => CameraAccess::Files(bind(&camera.volume)),
            Camera::Device(camera) => CameraAccess::Device(device(&camera.device)),
            Camera::Command(camera) => CameraAccess::Command(command(camera)),
        }
    }

    /// The group's default identity, and the sandbox's own where it says none.
    pub fn identity(&self) -> WorkerIdentity {
        let default = WorkerIdentity::default();
        WorkerIdentity { uid: self.run_as.uid.unwrap_or(default.uid), gid: self.run_as.gid.unwrap_or(default.gid) }
    }
}

fn bind(volume: &LocalVolume) -> Bind {
    let group = group_rule(&volume.group_owner);
    Bind { group, ..Bind::read_only(&volume.source, &volume.destination) }
}

/// V4L2 wants to be opened for writing, too: setting a format is one.
fn device(device: &LocalDevice) -> Device {
    Device { path: device.source.clone(), access: Access::ReadWrite, group: group_rule(&device.group_owner) }
}

fn command(camera: &CommandCamera) -> CommandAccess {
    let stack = match camera.command {
        Command::Rpicam { .. } => CameraStack::Libcamera,
        Command::Jetson { .. } => CameraStack::Argus,
        Command::Gstreamer { .. } => CameraStack::None,
    };
    let (mut binds, mut devices) = (Vec::new(), Vec::new());
    for resource in &camera.resources {
        match resource {
            ResourceData::LocalVolume(volume) => binds.push(bind(volume)),
            ResourceData::LocalDevice(found) => devices.push(device(found)),
            ResourceData::S3Model(_) | ResourceData::Secret(_) => {}
        }
    }
    CommandAccess { stack, program: camera.program.clone(), binds, devices }
}

fn group_rule(owner: &GroupOwner) -> GroupRule {
    match owner {
        GroupOwner::None => GroupRule::None,
        GroupOwner::Automatic => GroupRule::OwnerOfSource,
        GroupOwner::Named(name) => GroupRule::Name(name.clone()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use margay_camera::v4l2::{Adjustments, FormatWish};

    use super::*;
    use crate::classifier::policy::PolicySettings;
    use crate::connector::image_classifier::Picture;
    use crate::group::{ModelSource, RunAs};
    use crate::units::{ByteSize, FramesPerSecond, Probability};

    fn classifier(camera: Camera, run_as: RunAs) -> ImageClassifier {
        ImageClassifier {
            arn: "arn:aws:greengrass:r::/connectors/MargayImageClassifier/versions/1".parse().expect("an ARN"),
            model_resource: "model".parse().expect("an id"),
            model_source: ModelSource::S3("s3://bucket/model.zip".parse().expect("a URI")),
            model_destination: "/ml_model".into(),
            camera_name: "gate".parse().expect("a name"),
            camera,
            frames_per_second: FramesPerSecond::new(2.0).expect("a rate"),
            repeat: true,
            topic: "a/b".parse().expect("a topic"),
            trigger_topic: None,
            policy: PolicySettings::every_frame(3),
            thumbnail: None,
            view: margay_inference::View::default(),
            threshold: Probability::new(0.5).ok(),
            memory_limit: ByteSize::from_kib(1024),
            threads: Some(2),
            run_as,
            health: crate::classifier::HealthSettings::default(),
        }
    }

    fn volume(source: &str, group_owner: GroupOwner) -> Camera {
        let volume = LocalVolume { source: source.into(), destination: "/camera".into(), group_owner };
        Camera::Volume(VolumeCamera { volume, pattern: None, order: FolderOrder::Natural })
    }

    #[test]
    fn a_folder_is_read_at_its_destination_and_bound_read_only_with_its_group() {
        let camera = volume("/srv/frames", GroupOwner::Named("video".to_owned()));
        let settings = classifier(camera, RunAs::default()).settings();
        let SourceConfig::Folder(folder) = settings.source else { panic!("a folder") };
        assert_eq!((folder.path.as_path(), folder.repeat), (Path::new("/camera"), true));
        let CameraAccess::Files(bind) = settings.access else { panic!("a bind") };
        let expected = Bind { group: GroupRule::Name("video".to_owned()), ..Bind::read_only("/srv/frames", "/camera") };
        assert_eq!(bind, expected);
        assert_eq!((settings.policy.top_k, settings.threshold, settings.memory_limit), (3, Some(0.5), 1 << 20));
    }

    #[test]
    fn the_ending_tells_motion_jpeg_from_a_folder() {
        for source in ["/srv/gate.mjpeg", "/srv/gate.MJPG"] {
            let settings = classifier(volume(source, GroupOwner::Automatic), RunAs::default()).settings();
            assert!(matches!(settings.source, SourceConfig::MjpegFile(_)), "{source}");
        }
    }

    #[test]
    fn a_camera_is_shown_as_its_node_with_the_group_that_owns_it_and_nothing_else() {
        let path = Path::new("/dev/v4l/by-id/usb-HD_Webcam-video-index0");
        let device = LocalDevice { source: path.into(), group_owner: GroupOwner::Automatic };
        let picture = Picture { format: FormatWish::Mjpeg, width: 1280, height: 720 };
        let camera = DeviceCamera { device, picture, adjustments: Adjustments::default() };
        let settings = classifier(Camera::Device(camera), RunAs::default()).settings();
        let SourceConfig::V4l2(source) = settings.source else { panic!("a camera") };
        let expected = V4l2Source {
            path: path.into(),
            format: FormatWish::Mjpeg,
            width: 1280,
            height: 720,
            frames_per_second: 2.0,
            adjustments: Adjustments::default(),
        };
        assert_eq!(source, expected);
        let CameraAccess::Device(device) = settings.access else { panic!("a device") };
        let expected = Device { path: path.into(), access: Access::ReadWrite, group: GroupRule::OwnerOfSource };
        assert_eq!(device, expected);
    }

    #[test]
    fn a_test_pattern_needs_nothing_of_the_host() {
        let settings = classifier(Camera::TestPattern, RunAs::default()).settings();
        assert!(matches!(settings.access, CameraAccess::Nothing));
        assert!(matches!(settings.source, SourceConfig::TestPattern(_)));
    }

    #[test]
    fn a_camera_of_the_network_is_reached_by_the_core_and_the_worker_sees_nothing() {
        let url: margay_camera::source::HttpUrl = "http://camera/video".parse().expect("an address");
        let settings = classifier(Camera::Network(url.clone()), RunAs::default()).settings();
        assert!(matches!(settings.access, CameraAccess::Nothing));
        assert_eq!(settings.source, SourceConfig::HttpMjpeg(HttpSource { url, frames_per_second: 2.0 }));
    }

    #[test]
    fn a_command_is_shown_its_camera_and_what_the_group_lends_it() {
        let lent = LocalDevice { source: "/dev/video7".into(), group_owner: GroupOwner::Automatic };
        let camera = CommandCamera {
            command: Command::Jetson { sensor: 1 },
            program: None,
            picture: Picture { format: FormatWish::Auto, width: 640, height: 480 },
            resources: vec![ResourceData::LocalDevice(lent)],
        };
        let settings = classifier(Camera::Command(camera), RunAs::default()).settings();
        let SourceConfig::Gstreamer(source) = settings.source else { panic!("a pipeline") };
        assert!(source.pipeline.starts_with("nvarguscamerasrc sensor-id=1 ! "), "{}", source.pipeline);
        let CameraAccess::Command(access) = settings.access else { panic!("a command") };
        assert_eq!(access.stack, CameraStack::Argus);
        assert_eq!(access.devices[0].path, Path::new("/dev/video7"));
    }

    #[test]
    fn workers_run_as_the_group_says_or_as_the_sandbox_does() {
        let said = classifier(Camera::TestPattern, RunAs { uid: Some(990), gid: None }).identity();
        assert_eq!((said.uid, said.gid), (990, WorkerIdentity::default().gid));
    }
}
