//! `[input]`: how a frame becomes the model's tensor.

use margay_inference::spec::input::{Anchor, MAX_INPUT_SIDE, MAX_SHORT_SIDE};
use margay_inference::{ColorOrder, Element, InputSpec, Jpeg, Layout, ResizeRule};

use crate::document::{Field, Object, Unknown};

const LAYOUTS: &[(&str, Layout)] = &[("nchw", Layout::Nchw), ("nhwc", Layout::Nhwc)];
const ELEMENTS: &[(&str, Element)] = &[("f32", Element::F32), ("u8", Element::U8)];
const COLORS: &[(&str, ColorOrder)] = &[("rgb", ColorOrder::Rgb), ("bgr", ColorOrder::Bgr)];
const JPEGS: &[(&str, Jpeg)] = &[("reduced", Jpeg::Reduced), ("full", Jpeg::Full)];
type Preset = fn(u32) -> InputSpec;
const PRESETS: &[(&str, Preset)] = &[("imagenet", InputSpec::imagenet), ("u8-nhwc", InputSpec::u8_nhwc)];
const ANCHORS: &[(&str, Anchor)] = &[("top-left", Anchor::TopLeft), ("center", Anchor::Center)];

/// How `resize.rule` may be written.
#[derive(Clone, Copy)]
enum RuleName {
    ShortSide,
    Squash,
    Letterbox,
}

const RULES: &[(&str, RuleName)] =
    &[("short-side", RuleName::ShortSide), ("squash", RuleName::Squash), ("letterbox", RuleName::Letterbox)];

/// Reads the section. What it returns has the right types; its values are checked with the whole specification.
pub(super) fn read(manifest: &mut Object<'_>) -> Option<InputSpec> {
    let mut section =
        manifest.field("input").required("add [input]: it says how a frame becomes the tensor").object()?;
    let size = read_size(&mut section);
    let preset = section.field("preset");
    let base = preset.choice(PRESETS);
    let without_preset = !preset.is_present();
    let spec = read_spec(&mut section, size, base, without_preset);
    section.finish(Unknown::Refuse);
    spec
}

/// Reads what stands over the preset, or in its place. Nothing is returned early, so that every mistake is noted.
fn read_spec(
    section: &mut Object<'_>,
    size: Option<(u32, u32)>,
    preset: Option<fn(u32) -> InputSpec>,
    without_preset: bool,
) -> Option<InputSpec> {
    let layout = needed(section.field("layout"), without_preset, "write \"nchw\" or \"nhwc\", or use a preset");
    let layout = Overriding::of(&layout, layout.choice(LAYOUTS));
    let element = needed(section.field("element"), without_preset, "write \"f32\" or \"u8\", or use a preset");
    let element = Overriding::of(&element, element.choice(ELEMENTS));
    let resize = needed(section.field("resize"), without_preset, "give a rule, or use a preset");
    let resize = Overriding::of(&resize, read_resize(&resize));
    let color = section.field("color");
    let color = Overriding::of(&color, color.choice(COLORS));
    let scale = section.field("scale");
    let scale = Overriding::of(&scale, scale.number().map(|number| number as f32));
    let mean = section.field("mean");
    let mean = Overriding::of(&mean, three_numbers(&mean));
    let std = section.field("std");
    let std = Overriding::of(&std, three_numbers(&std));
    let jpeg = section.field("jpeg");
    let jpeg = Overriding::of(&jpeg, jpeg.choice(JPEGS));

    let (width, height) = size?;
    let base = match preset {
        Some(preset) => preset(width.max(height)),
        None if without_preset => plain(element.given()?),
        None => return None,
    };
    Some(InputSpec {
        layout: layout.or(base.layout)?,
        element: element.or(base.element)?,
        width,
        height,
        color: color.or(base.color)?,
        scale: scale.or(base.scale)?,
        mean: mean.or(base.mean)?,
        std: std.or(base.std)?,
        resize: resize.or(base.resize)?,
        jpeg: jpeg.or(base.jpeg)?,
    })
}

/// What is assumed where neither a preset nor a key says otherwise: bytes scaled to 0..1, or the bytes themselves.
fn plain(element: Element) -> InputSpec {
    let base = InputSpec { mean: [0.0; 3], std: [1.0; 3], ..InputSpec::imagenet(1) };
    match element {
        Element::F32 => base,
        Element::U8 => InputSpec { scale: 1.0, element, ..base },
    }
}

fn needed<'d>(field: Field<'d>, needed: bool, hint: &'static str) -> Field<'d> {
    if needed { field.required(hint) } else { field }
}

/// A key that stands over a preset's value.
#[derive(Clone, Copy)]
enum Overriding<T> {
    Absent,
    Mistaken,
    Given(T),
}

impl<T> Overriding<T> {
    fn of(field: &Field<'_>, read: Option<T>) -> Self {
        match read {
            Some(value) => Self::Given(value),
            None if field.is_present() => Self::Mistaken,
            None => Self::Absent,
        }
    }

    fn given(self) -> Option<T> {
        match self {
            Self::Given(value) => Some(value),
            Self::Absent | Self::Mistaken => None,
        }
    }

    fn or(self, base: T) -> Option<T> {
        match self {
            Self::Given(value) => Some(value),
            Self::Absent => Some(base),
            Self::Mistaken => None,
        }
    }
}

/// `size`, or `width` and `height`, in pixels.
fn read_size(section: &mut Object<'_>) -> Option<(u32, u32)> {
    let (size, width, height) = (section.field("size"), section.field("width"), section.field("height"));
    match (size.is_present(), width.is_present() || height.is_present()) {
        (true, false) => pixels(&size).map(|side| (side, side)),
        (false, true) => {
            let (width, height) = (width.required("give both sides"), height.required("give both sides"));
            let (width, height) = (pixels(&width), pixels(&height));
            Some((width?, height?))
        }
        _ => {
            let rule = "has either size, or width and height";
            section.notes().error(section.path(), None, rule, "give the model's input size in pixels");
            None
        }
    }
}

fn pixels(field: &Field<'_>) -> Option<u32> {
    u32::try_from(field.integer(1..=u64::from(MAX_INPUT_SIDE), "pixels")?).ok()
}

fn read_resize(field: &Field<'_>) -> Option<ResizeRule> {
    let mut section = field.object()?;
    let rule = section.field("rule").required("write \"short-side\", \"squash\" or \"letterbox\"").choice(RULES);
    let rule = match rule {
        Some(RuleName::ShortSide) => short_side(&mut section),
        Some(RuleName::Squash) => Some(ResizeRule::Squash),
        Some(RuleName::Letterbox) => letterbox(&mut section),
        None => return None,
    };
    section.finish(Unknown::Refuse);
    rule
}

fn short_side(section: &mut Object<'_>) -> Option<ResizeRule> {
    let field = section.field("short_side").required("give the short side in pixels, such as 256");
    let short_side = u32::try_from(field.integer(1..=u64::from(MAX_SHORT_SIDE), "pixels")?).ok()?;
    Some(ResizeRule::ShortSide { short_side })
}

fn letterbox(section: &mut Object<'_>) -> Option<ResizeRule> {
    let pad = section.field("pad");
    let pad = Overriding::of(&pad, pad.integer(0..=255, "").and_then(|byte| u8::try_from(byte).ok()));
    let anchor = section.field("anchor");
    let anchor = Overriding::of(&anchor, anchor.choice(ANCHORS));
    Some(ResizeRule::Letterbox { pad: pad.or(0)?, anchor: anchor.or(Anchor::Center)? })
}

/// A list of three numbers, one a channel.
fn three_numbers(field: &Field<'_>) -> Option<[f32; 3]> {
    if !field.is_present() {
        return None;
    }
    let elements = field.elements();
    let numbers: Vec<f32> = elements.iter().filter_map(Field::number).map(|number| number as f32).collect();
    let three = <[f32; 3]>::try_from(numbers.as_slice()).ok();
    if three.is_none() && numbers.len() == elements.len() {
        field.refuse("is a list of three numbers, one a channel", "give three, in the tensor's channel order");
    }
    three
}
