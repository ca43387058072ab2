//! How warm a device is, and whether that slows it down.

use serde::{Deserialize, Serialize};

/// What the device says of itself. What it does not say is absent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct DeviceState {
    /// The processor's temperature in degrees Celsius, or else the warmest of the device's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature_c: Option<f32>,
    /// What holds the processor back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttling: Option<Throttling>,
}

impl DeviceState {
    /// Whether the device says nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What holds the processor back, and, on a Raspberry Pi, what did since it was started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Throttling {
    /// It is slower now than it could be.
    pub now: bool,
    /// The supply's voltage is too low now (Raspberry Pi).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub under_voltage: Option<bool>,
    /// It was slowed down, or the voltage too low, at some time since the start (Raspberry Pi).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_start: Option<bool>,
}
