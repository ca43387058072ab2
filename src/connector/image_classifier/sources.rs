//! Where the connector's frames come from: its parameters about the camera, read against the group. Each kind of source
//! has parameters of its own, and what another kind would follow is refused rather than ignored.

use std::path::{Path, PathBuf};

use margay_camera::Region;
use margay_camera::source::{
    CommandError, FolderOrder, GstreamerSource, HttpUrl, MOST_SIDE, NamePattern, RpicamSource, SourceConfig,
    jetson_pipeline, words,
};
use margay_camera::v4l2::{Adjustments, FormatWish};

use super::read_resource;
use crate::document::{Field, Object};
use crate::group::{Group, GroupOwner, LocalDevice, LocalVolume, ResourceData};
use crate::name::ResourceId;

/// `CameraWidth` and `CameraHeight` by default: V4L2's VGA, which every camera has.
const CAMERA_SIZE: (u32, u32) = (640, 480);
/// A file of this ending holds Motion-JPEG; anything else is a folder, or a picture.
const MOTION_JPEG: [&str; 2] = ["mjpeg", "mjpg"];
/// More cameras than any board has connectors for.
const MOST_SENSORS: u64 = 16;
/// More resources than a command may use.
const MOST_RESOURCES: usize = 16;

/// Where frames come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Camera {
    /// A folder of pictures, a picture, or a Motion-JPEG file, of the host.
    Volume(VolumeCamera),
    /// A camera of the host.
    Device(DeviceCamera),
    /// A program of the host that delivers frames.
    Command(CommandCamera),
    /// A camera of the network.
    Network(HttpUrl),
    /// A picture that the capture worker draws.
    TestPattern,
}

/// Pictures of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeCamera {
    /// Where they are.
    pub volume: LocalVolume,
    /// `CameraFiles`: which of a folder's.
    pub pattern: Option<NamePattern>,
    /// `CameraOrder` and `ShuffleSeed`.
    pub order: FolderOrder,
}

/// A camera, and what it is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceCamera {
    /// Its device node.
    pub device: LocalDevice,
    /// What it is asked for.
    pub picture: Picture,
    /// `CameraControls` and `CameraCrop`.
    pub adjustments: Adjustments,
}

/// The picture that a camera is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Picture {
    /// `CameraFormat`.
    pub format: FormatWish,
    /// `CameraWidth`, in pixels.
    pub width: u32,
    /// `CameraHeight`, in pixels.
    pub height: u32,
}

/// A program that delivers frames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandCamera {
    /// Which, and what it is told.
    pub command: Command,
    /// `CameraProgram`: where it is; by default it is looked for.
    pub program: Option<PathBuf>,
    /// What it is asked for.
    pub picture: Picture,
    /// `CommandResourceIds`: what of the group it may use besides.
    pub resources: Vec<ResourceData>,
}

/// A program that delivers frames, and what it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// `rpicam-vid`.
    Rpicam {
        /// `CameraSensor`.
        sensor: u32,
        /// `CameraArguments`.
        arguments: Vec<String>,
    },
    /// GStreamer, with the pipeline for a Jetson's CSI cameras.
    Jetson {
        /// `CameraSensor`.
        sensor: u32,
    },
    /// GStreamer.
    Gstreamer {
        /// `CameraPipeline`.
        pipeline: String,
    },
}

/// The kinds of sources, as far as their parameters differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    TestPattern,
    Network,
    Device,
    Folder,
    Film,
    Rpicam,
    Jetson,
    Gstreamer,
}

/// `CameraSource` by its values; a camera of the network is named by its address.
const NAMED: [(&str, Kind); 4] = [
    ("test-pattern", Kind::TestPattern),
    ("rpicam", Kind::Rpicam),
    ("jetson", Kind::Jetson),
    ("gstreamer", Kind::Gstreamer),
];

const CAMERAS: &[Kind] = &[Kind::Device, Kind::Rpicam, Kind::Jetson, Kind::Gstreamer];
const COMMANDS: &[Kind] = &[Kind::Rpicam, Kind::Jetson, Kind::Gstreamer];

/// The parameters that only some kinds can follow: those, and whose they are.
const OWN: [(&str, &[Kind], &str); 13] = [
    ("CameraControls", &[Kind::Device], "a device"),
    ("CameraCrop", &[Kind::Device], "a device"),
    ("CameraFormat", CAMERAS, "a camera"),
    ("CameraWidth", CAMERAS, "a camera"),
    ("CameraHeight", CAMERAS, "a camera"),
    ("CameraSensor", &[Kind::Rpicam, Kind::Jetson], "CameraSource rpicam or jetson"),
    ("CameraArguments", &[Kind::Rpicam], "CameraSource rpicam"),
    ("CameraPipeline", &[Kind::Gstreamer], "CameraSource gstreamer"),
    ("CameraProgram", COMMANDS, "CameraSource rpicam, jetson or gstreamer"),
    ("CommandResourceIds", COMMANDS, "CameraSource rpicam, jetson or gstreamer"),
    ("CameraFiles", &[Kind::Folder], "a folder"),
    ("CameraOrder", &[Kind::Folder, Kind::Film], "a folder or a file"),
    ("ShuffleSeed", &[Kind::Folder, Kind::Film], "a folder or a file"),
];

/// Reads where frames come from; `None` if a parameter is refused.
pub(super) fn read_camera(parameters: &mut Object<'_>, group: &Group) -> Option<Camera> {
    const HINT: &str = "write CameraResourceId, or CameraSource: test-pattern, rpicam, jetson, gstreamer or http://…";
    let resource = parameters.field("CameraResourceId");
    let source = parameters.field("CameraSource");
    let own = OWN.map(|(name, ..)| parameters.field(name));
    match (resource.is_present(), source.is_present()) {
        (true, true) => {
            source.refuse("is a second source of frames beside CameraResourceId", "keep one of the two");
            None
        }
        (false, false) => {
            resource.refuse("is required where there is no CameraSource", HINT);
            None
        }
        (false, true) => of_source(&source, &Own(own), group),
        (true, false) => of_resource(&resource, &Own(own), group),
    }
}

/// The parameters of [`OWN`], in its order.
struct Own<'d>([Field<'d>; OWN.len()]);

impl<'d> Own<'d> {
    fn field(&self, name: &str) -> &Field<'d> {
        let place = OWN.iter().position(|(known, ..)| *known == name);
        &self.0[place.unwrap_or_default()]
    }

    /// Refuses what is present and not for `kind`; true where nothing is.
    fn admit(&self, kind: Kind) -> bool {
        let foreign =
            OWN.iter().zip(&self.0).filter(|((_, kinds, _), field)| field.is_present() && !kinds.contains(&kind));
        let mut admitted = true;
        for ((_, _, whose), field) in foreign {
            field.refuse(format!("is for {whose}, and the frames come from elsewhere"), "take it out");
            admitted = false;
        }
        admitted
    }

    fn picture(&self) -> Option<Picture> {
        let format = self.field("CameraFormat");
        let format = if format.is_present() { format.choice(&FormatWish::ALL) } else { Some(FormatWish::Auto) };
        let (width, height) = (self.side("CameraWidth", CAMERA_SIZE.0), self.side("CameraHeight", CAMERA_SIZE.1));
        Some(Picture { format: format?, width: width?, height: height? })
    }

    fn side(&self, name: &str, default: u32) -> Option<u32> {
        self.number(name, 1..=u64::from(MOST_SIDE), "pixels", default)
    }

    fn number(&self, name: &str, range: std::ops::RangeInclusive<u64>, unit: &str, default: u32) -> Option<u32> {
        let field = self.field(name);
        if !field.is_present() {
            return Some(default);
        }
        u32::try_from(field.integer(range, unit)?).ok()
    }

    fn sensor(&self) -> Option<u32> {
        self.number("CameraSensor", 0..=MOST_SENSORS - 1, "as the system counts its cameras", 0)
    }

    fn order(&self, kind: Kind) -> Option<FolderOrder> {
        let (field, seed) = (self.field("CameraOrder"), self.field("ShuffleSeed"));
        let order = if field.is_present() {
            field.choice(&["natural", "modified", "shuffled"].map(|name| (name, name)))?
        } else {
            "natural"
        };
        let number = if seed.is_present() { seed.integer(0..=u64::MAX, "as a number to shuffle by")? } else { 0 };
        if seed.is_present() && order != "shuffled" {
            seed.refuse(
                "is a number to shuffle by, and CameraOrder is not shuffled",
                "take it out, or write CameraOrder",
            );
            return None;
        }
        match order {
            "shuffled" => Some(FolderOrder::Shuffled { seed: number }),
            "modified" if kind == Kind::Film => {
                field.refuse("is an order of files, and the pictures are in one", "write natural or shuffled");
                None
            }
            "modified" => Some(FolderOrder::Modified),
            _ => Some(FolderOrder::Natural),
        }
    }

    fn optional<T>(&self, name: &str) -> Option<Option<T>>
    where
        T: std::str::FromStr,
        T::Err: std::error::Error,
    {
        let field = self.field(name);
        if field.is_present() { field.parsed().map(Some) } else { Some(None) }
    }
}

fn of_source(source: &Field<'_>, own: &Own<'_>, group: &Group) -> Option<Camera> {
    let text = source.text()?;
    let kind = NAMED.iter().find(|(name, _)| *name == text).map(|(_, kind)| *kind);
    let Some(kind) = kind else {
        if !text.contains("://") {
            source.choice(&NAMED.map(|(name, kind)| (name, kind)));
            return None;
        }
        let url = source.parsed::<HttpUrl>();
        return own.admit(Kind::Network).then_some(Camera::Network(url?));
    };
    if !own.admit(kind) {
        return None;
    }
    if kind == Kind::TestPattern {
        return Some(Camera::TestPattern);
    }
    let (picture, program, resources) =
        (own.picture(), program(own), resources(own.field("CommandResourceIds"), group));
    let command = match kind {
        Kind::Rpicam => Command::Rpicam { sensor: own.sensor()?, arguments: arguments(own.field("CameraArguments"))? },
        Kind::Jetson => Command::Jetson { sensor: own.sensor()? },
        _ => Command::Gstreamer { pipeline: pipeline(own.field("CameraPipeline"))? },
    };
    let camera = CommandCamera { command, program: program?, picture: picture?, resources: resources? };
    camera.check().map_err(|error| refuse_command(own, &error)).ok()?;
    Some(Camera::Command(camera))
}

/// Refuses the parameter that a command's settings fail by.
fn refuse_command(own: &Own<'_>, error: &CommandError) {
    let name = match error {
        CommandError::Padded { height, .. } if !height.is_multiple_of(2) && own.field("CameraHeight").is_present() => {
            "CameraHeight"
        }
        CommandError::Padded { .. } => "CameraWidth",
        CommandError::Text { what: "the format", .. } => "CameraFormat",
        _ => "CameraPipeline",
    };
    own.field(name).refuse(error.to_string(), "correct it");
}

fn of_resource(field: &Field<'_>, own: &Own<'_>, group: &Group) -> Option<Camera> {
    match &read_resource(field, group)?.data {
        ResourceData::LocalVolume(volume) => {
            let kind = if is_motion_jpeg(&volume.source) { Kind::Film } else { Kind::Folder };
            if !own.admit(kind) {
                return None;
            }
            let (pattern, order) = (own.optional("CameraFiles"), own.order(kind));
            Some(Camera::Volume(VolumeCamera { volume: volume.clone(), pattern: pattern?, order: order? }))
        }
        ResourceData::LocalDevice(device) => {
            if device.group_owner == GroupOwner::None {
                let rule = "is a device whose GroupOwnerSetting adds no group, and cameras open to members of one";
                field.warn(rule, "write \"GroupOwnerSetting\": {\"AutoAddGroupOwner\": true} into the resource");
            }
            if !own.admit(Kind::Device) {
                return None;
            }
            let (picture, adjustments) = (own.picture(), adjustments(own));
            Some(Camera::Device(DeviceCamera { device: device.clone(), picture: picture?, adjustments: adjustments? }))
        }
        data @ (ResourceData::S3Model(_) | ResourceData::Secret(_)) => {
            field.refuse(format!("is a resource of type {}", data.type_name()), "write the Id of a local resource");
            None
        }
    }
}

/// Controls as `brightness=10, exposure_auto=1`, and a crop as `x,y,width,height`.
fn adjustments(own: &Own<'_>) -> Option<Adjustments> {
    let (controls, crop) = (own.field("CameraControls"), own.field("CameraCrop"));
    let mut adjustments = Adjustments::default();
    if controls.is_present() {
        for pair in controls.text()?.split(',') {
            let number = pair.split_once('=').and_then(|(name, value)| Some((name.trim(), value.trim().parse().ok()?)));
            let Some((name, value)) = number.filter(|(name, _)| !name.is_empty()) else {
                controls.refuse(
                    "is no list of names and whole numbers",
                    "write for example brightness=10, exposure_auto=1",
                );
                return None;
            };
            adjustments.controls.insert(name.to_owned(), value);
        }
    }
    if crop.is_present() {
        let numbers: Option<Vec<u32>> = crop.text()?.split(',').map(|number| number.trim().parse().ok()).collect();
        adjustments.crop = match numbers.as_deref() {
            Some(&[x, y, width, height]) if width > 0 && height > 0 => Some(Region { x, y, width, height }),
            _ => {
                crop.refuse("is no x,y,width,height in pixels", "write for example 160,120,320,240");
                return None;
            }
        };
    }
    Some(adjustments)
}

/// The program; `Some(None)` where it is to be looked for.
fn program(own: &Own<'_>) -> Option<Option<PathBuf>> {
    let field = own.field("CameraProgram");
    if !field.is_present() {
        return Some(None);
    }
    let path = Path::new(field.text()?);
    let plain =
        path.is_absolute() && path.components().skip(1).all(|part| matches!(part, std::path::Component::Normal(_)));
    if !plain || path.file_name().is_none() {
        field.refuse("is no absolute path without . and .. in it", "write for example /opt/camera/bin/rpicam-vid");
        return None;
    }
    Some(Some(path.to_owned()))
}

fn arguments(field: &Field<'_>) -> Option<Vec<String>> {
    if !field.is_present() {
        return Some(Vec::new());
    }
    words("the options", field.text()?).map_err(|error| field.refuse(error.to_string(), "correct them")).ok()
}

fn pipeline(field: &Field<'_>) -> Option<String> {
    if !field.is_present() {
        field.refuse(
            "is required with CameraSource gstreamer",
            "write for example v4l2src device=/dev/video0 ! videoconvert",
        );
        return None;
    }
    field.text().map(str::to_owned)
}

/// The local resources of the group that a command may use.
fn resources(field: &Field<'_>, group: &Group) -> Option<Vec<ResourceData>> {
    if !field.is_present() {
        return Some(Vec::new());
    }
    let mut found = Vec::new();
    for id in field.text()?.split(',').map(str::trim) {
        let resource = id.parse::<ResourceId>().ok().and_then(|id| group.resource(&id));
        match resource.map(|resource| &resource.data) {
            Some(data @ (ResourceData::LocalDevice(_) | ResourceData::LocalVolume(_))) => found.push(data.clone()),
            _ => {
                field.refuse(
                    format!("{id:?} is no local resource of this group"),
                    "write Ids of local resources, with commas between them",
                );
                return None;
            }
        }
    }
    if found.len() > MOST_RESOURCES {
        field.refuse(format!("has {} resources, and at most {MOST_RESOURCES} are taken", found.len()), "take some out");
        return None;
    }
    Some(found)
}

impl CommandCamera {
    /// The source that runs the command, at so many frames a second.
    pub fn source(&self, frames_per_second: f64) -> SourceConfig {
        let Picture { format, width, height } = self.picture;
        let program = self.program.clone();
        let pipeline = match &self.command {
            Command::Rpicam { sensor, arguments } => {
                let (camera, arguments) = (*sensor, arguments.clone());
                return SourceConfig::Rpicam(RpicamSource {
                    program,
                    camera,
                    format,
                    width,
                    height,
                    frames_per_second,
                    arguments,
                });
            }
            Command::Jetson { sensor } => jetson_pipeline(*sensor, width, height),
            Command::Gstreamer { pipeline } => pipeline.clone(),
        };
        SourceConfig::Gstreamer(GstreamerSource { program, pipeline, format, width, height, frames_per_second })
    }

    /// Where the program is on this host.
    ///
    /// # Errors
    /// [`CommandError::NotInstalled`].
    pub fn find_program(&self) -> Result<PathBuf, CommandError> {
        match self.source(1.0) {
            SourceConfig::Rpicam(source) => source.find_program(),
            SourceConfig::Gstreamer(source) => source.find_program(),
            _ => Ok(PathBuf::new()),
        }
    }

    fn check(&self) -> Result<(), CommandError> {
        match self.source(1.0) {
            SourceConfig::Rpicam(source) => source.check(),
            SourceConfig::Gstreamer(source) => source.check(),
            _ => Ok(()),
        }
    }
}

/// Whether a path is that of a Motion-JPEG file, by its ending.
pub(super) fn is_motion_jpeg(path: &Path) -> bool {
    path.extension().is_some_and(|ending| MOTION_JPEG.iter().any(|known| ending.eq_ignore_ascii_case(known)))
}
