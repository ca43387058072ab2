//! `Region`, `Rotation` and `Mirror`: which part of a camera's picture matters, and how the camera is mounted.

use margay_camera::source::MOST_SIDE;
use margay_inference::{Region, Rotation, View};

use crate::document::{Field, Object};

const ROTATIONS: [(&str, Rotation); 4] =
    [("0", Rotation::None), ("90", Rotation::Quarter), ("180", Rotation::Half), ("270", Rotation::ThreeQuarters)];

/// Reads the three parameters; `None` if one is refused.
pub(super) fn read(parameters: &mut Object<'_>) -> Option<View> {
    let region = parameters.field("Region");
    let region = if region.is_present() { read_region(&region).map(Some) } else { Some(None) };
    let rotation = parameters.field("Rotation");
    let rotation = if rotation.is_present() { rotation.choice(&ROTATIONS) } else { Some(Rotation::None) };
    let mirror = parameters.field("Mirror");
    let mirrored = if mirror.is_present() { mirror.boolean() } else { Some(false) };
    Some(View { region: region?, rotation: rotation?, mirrored: mirrored? })
}

/// `x,y,width,height` in pixels of the picture as the camera delivers it.
fn read_region(field: &Field<'_>) -> Option<Region> {
    let text = field.text()?;
    let numbers: Vec<u32> = text.split(',').filter_map(|number| number.trim().parse().ok()).collect();
    let parts = text.split(',').count();
    match <[u32; 4]>::try_from(numbers) {
        Ok([x, y, width, height]) if parts == 4 => {
            let region = Region { x, y, width, height };
            if region.lies_within(MOST_SIDE, MOST_SIDE) {
                return Some(region);
            }
            let rule = format!("is no part of a picture, which has at most {MOST_SIDE} pixels a side");
            field.refuse(rule, "give a width and a height of at least 1 that end within the camera's picture");
        }
        _ => field.refuse("is not x,y,width,height in pixels", "write it like 320,0,640,480"),
    }
    None
}
