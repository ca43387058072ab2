//! What a program's last words mean, and what to do about it: the messages of rpicam-apps, libcamera, gst-launch and
//! NVIDIA's argus, as people have posted them.

use std::fmt;

use serde::Serialize;

/// What is wrong, as far as the words tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Complaint {
    /// There is no camera.
    NoCamera,
    /// Somebody else has it.
    Busy,
    /// It may not be opened.
    NoPermission,
    /// A program, a library or an element of a pipeline is not installed.
    NotInstalled,
    /// The sensor stopped delivering: a cable, the power, the driver.
    SensorSilent,
    /// The camera does not deliver what is asked for.
    NoSuchFormat,
    /// The options or the pipeline are not understood.
    Settings,
    /// The service behind a Jetson's cameras does not answer.
    NoDaemon,
    /// There is not enough memory for its buffers.
    NoMemory,
    /// Nothing that is known here.
    Unknown,
}

/// Words, in small letters, and what they mean. The first that is found counts: causes stand before their consequences.
const WORDS: [(&str, Complaint); 38] = [
    ("error while loading shared libraries", Complaint::NotInstalled),
    ("no element \"", Complaint::NotInstalled),
    ("no such element or plugin", Complaint::NotInstalled),
    ("your gstreamer installation is missing a plug-in", Complaint::NotInstalled),
    ("unrecognised option", Complaint::Settings),
    ("the argument for option", Complaint::Settings),
    ("the argument ('", Complaint::Settings),
    ("the required argument for option", Complaint::Settings),
    ("cannot be specified more than once", Complaint::Settings),
    ("erroneous pipeline", Complaint::Settings),
    ("syntax error", Complaint::Settings),
    ("unable to set config", Complaint::Settings),
    ("failed to create cameraprovider", Complaint::NoDaemon),
    ("connecting to nvargus-daemon failed", Complaint::NoDaemon),
    ("cannot create camera provider", Complaint::NoDaemon),
    ("in use by another process", Complaint::Busy),
    ("resource busy", Complaint::Busy),
    ("device or resource busy", Complaint::Busy),
    ("is busy", Complaint::Busy),
    ("failed to create capturesession", Complaint::Busy),
    ("permission denied", Complaint::NoPermission),
    ("operation not permitted", Complaint::NoPermission),
    ("could not open any dma", Complaint::NoPermission),
    ("no cameras available", Complaint::NoCamera),
    ("no camera available", Complaint::NoCamera),
    ("selected camera is not available", Complaint::NoCamera),
    ("invalid camera device specified", Complaint::NoCamera),
    ("cannot identify device", Complaint::NoCamera),
    ("camera frontend has timed out", Complaint::SensorSilent),
    ("device timeout detected", Complaint::SensorSilent),
    ("cannot allocate memory", Complaint::NoMemory),
    ("out of memory", Complaint::NoMemory),
    ("unable to allocate", Complaint::NoMemory),
    ("not-negotiated", Complaint::NoSuchFormat),
    ("could not link", Complaint::NoSuchFormat),
    ("can't handle caps", Complaint::NoSuchFormat),
    ("failed to configure streams", Complaint::NoSuchFormat),
    ("failed to acquire camera", Complaint::Busy),
];

impl Complaint {
    /// What is wrong by a program's last words.
    pub(super) fn of(said: &str) -> Self {
        let said = said.to_lowercase();
        let known = WORDS.iter().find(|(words, _)| said.contains(words));
        known.map_or(Self::Unknown, |(_, complaint)| *complaint)
    }

    /// Whether it may work later with the same settings.
    #[must_use]
    pub const fn may_pass(self) -> bool {
        !matches!(self, Self::Settings)
    }
}

impl fmt::Display for Complaint {
    /// What is wrong, and what to do.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoCamera => {
                "no camera is there: check its cable at both ends with the power off, and that the system lists it \
                 (rpicam-hello --list-cameras; on a Jetson, that the carrier board's device tree has the sensor)"
            }
            Self::Busy => {
                "another program has the camera: end it (fuser -v /dev/video* /dev/media* names it; on a Jetson, a \
                 session that was left behind goes with systemctl restart nvargus-daemon)"
            }
            Self::NoPermission => {
                "the camera may not be opened: its nodes under /dev (video*, media*, dma_heap) must belong to a group, \
                 usually video, and be open to it"
            }
            Self::NotInstalled => "a part of it is not installed: install the package that has what it names",
            Self::SensorSilent => {
                "the sensor does not deliver: check its cable and the power supply, and that the sensor is the one \
                 that the system is configured for"
            }
            Self::NoSuchFormat => "the camera does not deliver that size or format: ask for one that it has",
            Self::Settings => "its options or its pipeline are not understood: correct them",
            Self::NoDaemon => "nvargus-daemon does not answer: systemctl restart nvargus-daemon",
            Self::NoMemory => {
                "there is no memory for its buffers: ask for a smaller size, or allow more (on a Raspberry Pi, cma= of \
                 the device tree; here, the worker's memory limit)"
            }
            Self::Unknown => "run it by hand to see more",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_programs_print_is_understood() {
        for (said, expected) in [
            ("ERROR: *** no cameras available ***", Complaint::NoCamera),
            (
                "[0:19:06.419783286] [2746]  INFO Camera camera.cpp:839 Pipeline handler in use by another process\n\
                 ERROR: *** failed to acquire camera /base/soc/i2c0mux/i2c@1/ov5647@36 ***",
                Complaint::Busy,
            ),
            (
                "[0:00:52.243006594] [982] ERROR V4L2 v4l2_videodevice.cpp:1047 /dev/video0[13:cap]: Unable to set \
                 format: Device or resource busy\nERROR: *** failed to configure streams ***",
                Complaint::Busy,
            ),
            (
                "[0:01:02.3] [12] ERROR V4L2 Failed to open V4L2 device '/dev/media0': Permission denied",
                Complaint::NoPermission,
            ),
            (
                "[1:02:03] [7] WARN RPI pipeline_base.cpp:1345 Camera frontend has timed out!\nERROR: Device timeout detected, attempting a restart!!!",
                Complaint::SensorSilent,
            ),
            ("ERROR: *** unrecognised option '--codek' ***", Complaint::Settings),
            (
                "rpicam-vid: error while loading shared libraries: libcamera.so.0.3: cannot open shared object file",
                Complaint::NotInstalled,
            ),
            ("WARNING: erroneous pipeline: no element \"nvarguscamerasrc\"", Complaint::NotInstalled),
            ("WARNING: erroneous pipeline: syntax error", Complaint::Settings),
            ("WARNING: erroneous pipeline: could not link videotestsrc0 to jpegenc0", Complaint::Settings),
            ("Error generated. gstnvarguscamerasrc.cpp, execute:751 No cameras available", Complaint::NoCamera),
            ("Error generated. gstnvarguscamerasrc.cpp, execute:656 Failed to create CaptureSession", Complaint::Busy),
            (
                "(Argus) Error InvalidState: Cannot create camera provider (in src/rpc/socket/client)",
                Complaint::NoDaemon,
            ),
            (
                "ERROR: from element /GstPipeline:pipeline0/GstV4l2Src:v4l2src0: Cannot identify device '/dev/video9'.",
                Complaint::NoCamera,
            ),
            ("streaming stopped, reason not-negotiated (-4)", Complaint::NoSuchFormat),
            ("segmentation fault", Complaint::Unknown),
        ] {
            assert_eq!(Complaint::of(said), expected, "{said}");
        }
    }

    #[test]
    fn every_complaint_says_what_to_do() {
        for (words, complaint) in WORDS {
            assert_eq!(words, words.to_lowercase());
            assert!(complaint.to_string().len() > 20);
        }
        assert!(!Complaint::Settings.may_pass() && Complaint::Busy.may_pass());
    }
}
