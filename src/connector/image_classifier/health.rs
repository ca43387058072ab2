//! From when on a camera is ill, as the connector is told.

use std::time::Duration;

use crate::classifier::HealthSettings;
use crate::document::Object;

/// No time is longer: an hour.
const LONGEST: u64 = 3600;

/// Reads the parameters that begin with `Health`; `None` if one is refused.
pub(super) fn read_health(parameters: &mut Object<'_>) -> Option<HealthSettings> {
    let default = HealthSettings::default();
    let mut number = |name, range, unit, default| {
        let field = parameters.field(name);
        if field.is_present() { field.integer(range, unit) } else { Some(default) }
    };
    let dark_below = number("HealthDarkBelow", 0..=255, "of luma", u64::from(default.dark_below));
    let bright_above = number("HealthBrightAbove", 0..=255, "of luma", u64::from(default.bright_above));
    let share = number("HealthShare", 1..=100, "percent of a picture", u64::from(default.share));
    let after = number("HealthAfterSeconds", 0..=LONGEST, "seconds", default.after.as_secs());
    let frozen = number("HealthFrozenSeconds", 0..=LONGEST, "seconds", default.frozen_after.as_secs());
    let silent = number("HealthSilentSeconds", 0..=LONGEST, "seconds", default.silent_after.as_secs());
    let byte = |number: Option<u64>| u8::try_from(number?).ok();
    Some(HealthSettings {
        dark_below: byte(dark_below)?,
        bright_above: byte(bright_above)?,
        share: byte(share)?,
        after: Duration::from_secs(after?),
        frozen_after: Duration::from_secs(frozen?),
        silent_after: Duration::from_secs(silent?),
    })
}
