//! A subscriber with a certificate of its own, on the client that the program itself does not use for publishing.

use std::sync::Arc;
use std::time::Duration;

use margay::clock::SystemClock;
use margay::identity::{Identity, IdentityFiles};
use margay::mqtt::connection::{BrokerAddress, ConnectionSettings};
use margay::mqtt::message::Received;
use margay::mqtt::viewer;
use margay::name::Host;
use serde_json::Value;

use super::device::Device;

/// How long a test waits for a message, in seconds.
const PATIENCE: u64 = 60;

/// A standing subscription.
pub struct Viewer<'a> {
    device: &'a Device,
    viewer: viewer::Viewer,
}

impl<'a> Viewer<'a> {
    /// Subscribes to `filter` as `name`.
    pub fn connect(device: &'a Device, name: &str, filter: &str) -> Self {
        let files = device.cloud.issue_viewer(name).unwrap();
        let identity = Identity::load(&IdentityFiles {
            certificate: files.certificate,
            private_key: files.private_key,
            ca: files.ca,
        });
        let tls = identity.unwrap().client_config(&[], Arc::new(SystemClock::new()));
        let broker = BrokerAddress { host: Host::new("localhost").unwrap(), port: device.cloud.mqtt_port() };
        let settings = ConnectionSettings::new(broker, name, tls);
        let connecting = viewer::Viewer::connect(settings, filter.parse().unwrap());
        Self { viewer: device.runtime.block_on(connecting).unwrap(), device }
    }

    /// The next message as JSON.
    pub fn next_payload(&mut self) -> Value {
        serde_json::from_slice(&self.next().payload).unwrap()
    }

    /// The next message as text.
    pub fn next_text(&mut self) -> String {
        String::from_utf8(self.next().payload.to_vec()).unwrap()
    }

    /// The next message as it came.
    pub fn next_bytes(&mut self) -> Vec<u8> {
        self.next().payload.to_vec()
    }

    fn next(&mut self) -> Received {
        let next =
            async { tokio::time::timeout(Duration::from_secs(super::scaled(PATIENCE)), self.viewer.next()).await };
        match self.device.runtime.block_on(next) {
            Ok(received) => received.unwrap(),
            Err(_) => panic!("no message came; the log:\n{}", self.device.log()),
        }
    }
}
