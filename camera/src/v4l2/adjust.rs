//! A camera's controls, such as brightness, and the part of its sensor that it delivers.

use std::collections::BTreeMap;
use std::path::Path;

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::abi;
use super::device::Device;
use super::error::CameraError;
use super::offer::text;
use crate::frame::Region;

/// More controls than any camera has.
const MOST_CONTROLS: usize = 256;

/// What a camera is set to besides its picture's format, size and rate.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Adjustments {
    /// Controls by their names, as `margay camera probe` shows them, and what each is set to.
    #[serde(default)]
    pub controls: BTreeMap<String, i32>,
    /// The part of the sensor's picture that is delivered, in its pixels; `None`: as the driver has it.
    #[serde(default)]
    pub crop: Option<Region>,
}

/// A control of a camera.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Control {
    /// Its name in small letters, with `_` for what is neither letter nor digit.
    pub name: String,
    /// The least value.
    pub least: i32,
    /// The greatest value.
    pub most: i32,
    /// From a value to the next.
    pub step: i32,
    /// The value that the driver starts with.
    pub default: i32,
    #[serde(skip)]
    id: u32,
    #[serde(skip)]
    flags: u32,
}

/// Every control that takes a number of 32 bits.
pub(super) fn controls(device: &impl Device) -> Vec<Control> {
    let (mut found, mut id) = (Vec::new(), 0);
    while found.len() < MOST_CONTROLS {
        // A device without controls refuses the first.
        let Ok(asked) = device.control(id | abi::CTRL_FLAG_NEXT_CTRL) else { break };
        // One that does not go forward would be asked without end.
        if asked.id <= id {
            break;
        }
        id = asked.id;
        let usable = [abi::CTRL_TYPE_INTEGER, abi::CTRL_TYPE_BOOLEAN, abi::CTRL_TYPE_MENU, abi::CTRL_TYPE_INTEGER_MENU];
        if asked.flags & abi::CTRL_FLAG_DISABLED == 0 && usable.contains(&asked.kind) {
            let abi::QueryControl { minimum: least, maximum: most, step, default_value: default, flags, .. } = asked;
            found.push(Control { name: plain(&text(&asked.name)), least, most, step, default, id, flags });
        }
    }
    found
}

/// A control's name as it is written: `Exposure, Auto` is `exposure_auto`.
fn plain(name: &str) -> String {
    let words = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("_").to_ascii_lowercase()
}

/// Sets what is asked for, and checks that it is in force.
pub(super) fn adjust(device: &impl Device, path: &Path, wanted: &Adjustments) -> Result<(), CameraError> {
    if let Some(crop) = wanted.crop {
        set_crop(device, path, crop)?;
    }
    if wanted.controls.is_empty() {
        return Ok(());
    }
    let known = controls(device);
    for (name, &value) in &wanted.controls {
        let Some(control) = known.iter().find(|control| control.name == *name) else {
            let names: Vec<&str> = known.iter().map(|control| control.name.as_str()).collect();
            let (path, name) = (path.to_owned(), name.clone());
            let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            return Err(CameraError::NoSuchControl { path, name, known });
        };
        set(device, path, control, value)?;
    }
    Ok(())
}

fn set(device: &impl Device, path: &Path, control: &Control, value: i32) -> Result<(), CameraError> {
    let &Control { least, most, step, id, flags, .. } = control;
    let (path, name) = (path.to_owned(), control.name.clone());
    let on_grid = step <= 1 || (i64::from(value) - i64::from(least)) % i64::from(step) == 0;
    if value < least || value > most || !on_grid {
        return Err(CameraError::ControlValue { path, name, value, least, most, step });
    }
    let refused = |why| CameraError::ControlRefused { path: path.clone(), name: name.clone(), why };
    if flags & abi::CTRL_FLAG_READ_ONLY != 0 {
        return Err(refused("it can only be read"));
    }
    device.set_control(id, value).map_err(|errno| match errno {
        Errno::BUSY => refused("it is locked while something else, such as an automatic control, has it"),
        Errno::ACCESS => refused("an automatic control has it: set that one to manual"),
        _ => CameraError::failed(&path, "setting a control of", errno),
    })
}

fn set_crop(device: &impl Device, path: &Path, crop: Region) -> Result<(), CameraError> {
    let side = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
    let asked = abi::Rectangle { left: side(crop.x), top: side(crop.y), width: crop.width, height: crop.height };
    let got = device.set_crop(asked).map_err(|errno| match errno {
        Errno::NOTTY | Errno::INVAL => CameraError::NoCrop { path: path.to_owned() },
        _ => CameraError::failed(path, "setting the crop of", errno),
    })?;
    if got == asked {
        return Ok(());
    }
    let shown = |of: abi::Rectangle| format!("{}x{} at {},{}", of.width, of.height, of.left, of.top);
    Err(CameraError::Crop { path: path.to_owned(), asked: shown(asked), got: shown(got) })
}

#[cfg(test)]
mod tests {
    use super::super::fake::{Fake, webcam};
    use super::*;

    fn wanted(name: &str, value: i32) -> Adjustments {
        Adjustments { controls: BTreeMap::from([(name.to_owned(), value)]), crop: None }
    }

    fn said(camera: &Fake, wanted: &Adjustments) -> String {
        adjust(camera, Path::new("/dev/video0"), wanted).map_or_else(|error| error.to_string(), |()| "set".to_owned())
    }

    #[test]
    fn controls_are_listed_by_plain_names_and_set_within_their_range() {
        let camera = Fake::new(webcam());
        let names: Vec<_> = controls(&camera).into_iter().map(|control| control.name).collect();
        assert_eq!(names, ["brightness", "exposure_auto", "serial"]);
        assert_eq!(said(&camera, &wanted("brightness", 20)), "set");
        assert_eq!(camera.state().set, [(abi::FAKE_BRIGHTNESS, 20)]);
    }

    #[test]
    fn what_a_control_cannot_be_set_to_is_refused_with_what_it_can() {
        let camera = Fake::new(webcam());
        for (adjustments, expected) in [
            (wanted("zoom", 1), "has no control \"zoom\"; it has brightness, exposure_auto, serial"),
            (wanted("brightness", 256), "0 to 250 in steps of 10"),
            (wanted("brightness", 15), "0 to 250 in steps of 10"),
            (wanted("serial", 1), "it can only be read"),
        ] {
            let said = said(&camera, &adjustments);
            assert!(said.contains(expected), "{said}");
        }
        assert!(camera.state().set.is_empty());
    }

    #[test]
    fn a_crop_is_in_force_or_refused() {
        let mut camera = Fake::new(webcam());
        let crop = Some(Region { x: 8, y: 4, width: 320, height: 240 });
        let adjustments = Adjustments { crop, ..Adjustments::default() };
        assert!(said(&camera, &adjustments).contains("cannot deliver a part of its picture"));
        camera.crop = Some(abi::Rectangle { left: 8, top: 4, width: 320, height: 240 });
        assert_eq!(said(&camera, &adjustments), "set");
        camera.crop = Some(abi::Rectangle { left: 0, top: 4, width: 320, height: 240 });
        assert!(said(&camera, &adjustments).contains("320x240 at 8,4 and took 320x240 at 0,4"));
    }
}
