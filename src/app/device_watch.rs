//! How warm the device is and whether that slows it down, looked at now and then: what the kernel says below `/sys`.
//!
//! * The temperature: that of the thermal zone of the processor, else the warmest zone
//!   (Documentation/ABI/testing/sysfs-class-thermal).
//! * What holds the processor back: on a Raspberry Pi the firmware's word (`get_throttled`, documented with `vcgencmd`),
//!   elsewhere whether the kernel holds a cooling device of the processor at less than its full speed.
//!
//! Reading may take its time where a sensor sits behind a slow bus, so it is done on a thread for such things.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::payload::{DeviceState, Throttling};

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(5);

/// A look that takes longer has hung: what was seen before is no news any more.
const PATIENCE: Duration = Duration::from_secs(5);

/// No file here is longer, in bytes.
const MOST_BYTES: u64 = 64;

/// More thermal zones or cooling devices than any machine has.
const MOST_ENTRIES: u32 = 128;

/// The firmware of a Raspberry Pi: hexadecimal, bits 0 to 3 for now, 16 to 19 for since the start.
const PI_THROTTLED: &str = "sys/devices/platform/soc/soc:firmware/get_throttled";

/// Zones of processors by their type: Raspberry Pi and most Arm boards, Jetson, x86.
const PROCESSOR_ZONES: [&str; 6] =
    ["cpu-thermal", "cpu_thermal", "CPU-therm", "cpu-therm", "x86_pkg_temp", "soc-thermal"];

/// A Jetson's zone that always says 100 degrees, and one that is an estimate for its fan.
const NO_TEMPERATURES: [&str; 2] = ["PMIC-Die", "thermal-fan-est"];

/// Cooling devices that slow a processor down, by the beginning of their type.
const PROCESSOR_COOLING: [&str; 4] = ["thermal-cpufreq", "cpufreq", "Processor", "thermal-devfreq"];

/// The latest look.
#[derive(Debug)]
pub(super) struct DeviceWatch {
    root: PathBuf,
    seen: Mutex<DeviceState>,
}

impl DeviceWatch {
    /// Has seen nothing yet.
    pub(super) fn new() -> Self {
        Self { root: PathBuf::from("/"), seen: Mutex::default() }
    }

    /// What was seen last; `None` where the device says nothing.
    pub(super) fn state(&self) -> Option<DeviceState> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (!seen.is_empty()).then_some(seen)
    }

    /// Looks now and then until dropped.
    pub(super) async fn run(&self) {
        loop {
            let root = self.root.clone();
            let mut look = tokio::task::spawn_blocking(move || look(&root));
            let seen = match tokio::time::timeout(PATIENCE, &mut look).await {
                Ok(seen) => seen.unwrap_or_default(),
                Err(_) => {
                    self.note(DeviceState::default());
                    look.await.unwrap_or_default()
                }
            };
            self.note(seen);
            tokio::time::sleep(INTERVAL).await;
        }
    }

    fn note(&self, seen: DeviceState) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = seen;
    }
}

/// Everything that the machine below `root` says.
fn look(root: &Path) -> DeviceState {
    DeviceState { temperature_c: temperature(root), throttling: of_pi(root).or_else(|| of_cooling(root)) }
}

/// The temperature in degrees Celsius.
fn temperature(root: &Path) -> Option<f32> {
    let zones = entries(root, "sys/class/thermal/thermal_zone").filter_map(|zone| {
        let kind = read(&zone.join("type"))?;
        let millidegrees: i32 = read(&zone.join("temp"))?.parse().ok()?;
        // What no device survives is a broken sensor's word.
        let plausible = (-40_000..=150_000).contains(&millidegrees);
        (plausible && !NO_TEMPERATURES.contains(&kind.as_str())).then_some((kind, millidegrees))
    });
    let zones: Vec<(String, i32)> = zones.collect();
    let processor = PROCESSOR_ZONES.iter().find_map(|name| zones.iter().find(|(kind, _)| kind == name));
    let warmest = processor.or_else(|| zones.iter().max_by_key(|(_, millidegrees)| *millidegrees))?.1;
    #[allow(clippy::cast_precision_loss, reason = "at most 150,000")]
    let degrees = warmest as f32 / 1000.0;
    Some(degrees)
}

fn of_pi(root: &Path) -> Option<Throttling> {
    let bits = u32::from_str_radix(read(&root.join(PI_THROTTLED))?.trim_start_matches("0x"), 16).ok()?;
    Some(Throttling {
        now: bits & 0b1110 != 0,
        under_voltage: Some(bits & 1 != 0),
        since_start: Some(bits & 0xf_0000 != 0),
    })
}

/// `None` where no cooling device slows a processor down.
fn of_cooling(root: &Path) -> Option<Throttling> {
    let states = entries(root, "sys/class/thermal/cooling_device").filter_map(|device| {
        let kind = read(&device.join("type"))?;
        let slows = PROCESSOR_COOLING.iter().any(|name| kind.starts_with(name));
        slows.then(|| read(&device.join("cur_state"))?.parse::<u64>().ok()).flatten()
    });
    let highest = states.max()?;
    Some(Throttling { now: highest > 0, ..Throttling::default() })
}

/// `<prefix>0`, `<prefix>1` and so on, as far as they are there.
fn entries(root: &Path, prefix: &str) -> impl Iterator<Item = PathBuf> {
    let prefix = root.join(prefix).into_os_string();
    let numbered = (0..MOST_ENTRIES).map(move |number| {
        let mut path = prefix.clone();
        path.push(number.to_string());
        PathBuf::from(path)
    });
    numbered.filter(|path| path.is_dir())
}

/// A short text without its line end; `None` where there is none.
fn read(path: &Path) -> Option<String> {
    let mut text = String::new();
    File::open(path).ok()?.take(MOST_BYTES).read_to_string(&mut text).ok()?;
    Some(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine that says `files`.
    fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn a_raspberry_pi_tells_its_temperature_and_what_its_firmware_does() {
        let pi = |throttled: &str| {
            look(
                machine(&[
                    ("sys/class/thermal/thermal_zone0/type", "cpu-thermal\n"),
                    ("sys/class/thermal/thermal_zone0/temp", "61322\n"),
                    (PI_THROTTLED, throttled),
                ])
                .path(),
            )
        };
        let throttling = |now, under_voltage, since_start| {
            Some(Throttling { now, under_voltage: Some(under_voltage), since_start: Some(since_start) })
        };
        assert_eq!(pi("0\n").temperature_c, Some(61.322));
        assert_eq!(pi("0\n").throttling, throttling(false, false, false));
        assert_eq!(
            pi("50000\n").throttling,
            throttling(false, false, true),
            "0x50000: under-voltage and throttling were"
        );
        assert_eq!(pi("50005\n").throttling, throttling(true, true, true));
        assert_eq!(pi("80008\n").throttling, throttling(true, false, true), "the soft limit holds");
        assert_eq!(pi("broken\n").throttling, None);
    }

    #[test]
    fn a_jetson_tells_its_processors_zone_and_what_the_kernel_holds_back() {
        let jetson = machine(&[
            ("sys/class/thermal/thermal_zone0/type", "AO-therm\n"),
            ("sys/class/thermal/thermal_zone0/temp", "52000\n"),
            ("sys/class/thermal/thermal_zone1/type", "CPU-therm\n"),
            ("sys/class/thermal/thermal_zone1/temp", "48500\n"),
            ("sys/class/thermal/thermal_zone2/type", "PMIC-Die\n"),
            ("sys/class/thermal/thermal_zone2/temp", "100000\n"),
            ("sys/class/thermal/cooling_device0/type", "pwm-fan\n"),
            ("sys/class/thermal/cooling_device0/cur_state", "3\n"),
            ("sys/class/thermal/cooling_device1/type", "thermal-cpufreq-0\n"),
            ("sys/class/thermal/cooling_device1/cur_state", "2\n"),
        ]);
        let seen = look(jetson.path());
        assert_eq!(seen.temperature_c, Some(48.5));
        assert_eq!(seen.throttling, Some(Throttling { now: true, ..Throttling::default() }));
    }

    #[test]
    fn of_unknown_zones_the_warmest_that_can_be_believed_counts() {
        let board = machine(&[
            ("sys/class/thermal/thermal_zone0/type", "acpitz\n"),
            ("sys/class/thermal/thermal_zone0/temp", "-274000\n"),
            ("sys/class/thermal/thermal_zone1/type", "wifi\n"),
            ("sys/class/thermal/thermal_zone1/temp", "41000\n"),
            ("sys/class/thermal/thermal_zone2/type", "board\n"),
            ("sys/class/thermal/thermal_zone2/temp", "no number\n"),
        ]);
        assert_eq!(look(board.path()), DeviceState { temperature_c: Some(41.0), throttling: None });
    }

    #[test]
    fn a_machine_without_sensors_says_nothing() {
        let bare = machine(&[]);
        assert!(look(bare.path()).is_empty());
        assert_eq!(DeviceWatch::new().state(), None);
    }
}
