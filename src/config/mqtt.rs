//! The link to the cloud's MQTT broker: V1's keys, and `margay.mqtt` for brokers that V1 did not know.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::document::{Object, Unknown};
use crate::name::{ClientId, Host};

use super::CoreThing;

/// AWS IoT's MQTT ports: 8883, and 443 with ALPN.
const CLOUD_PORTS: [u16; 2] = [8883, 443];
/// The port on which AWS IoT asks for an ALPN protocol name.
const ALPN_PORT: u16 = 443;
/// V1's range and default of `keepAlive`, in seconds.
const KEEP_ALIVE_RANGE: std::ops::RangeInclusive<u64> = 30..=1200;
const KEEP_ALIVE: u64 = 600;
/// V1's default of `mqttMaxConnectionRetryInterval`, in seconds.
const RETRY_INTERVAL: u64 = 60;

/// AWS IoT Core's limit of publishes a second on one connection.
const AWS_PUBLISHES_PER_SECOND: NonZeroU32 = NonZeroU32::new(100).unwrap();
/// The rates that may be chosen.
const PUBLISH_RATES: std::ops::RangeInclusive<u64> = 1..=100_000;

/// A version of MQTT.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ProtocolVersion {
    /// 3.1.1, which every broker speaks and V1 spoke.
    #[default]
    V311,
    /// 5: refusals come with reasons, and the broker says how much it takes at a time.
    V5,
}

impl ProtocolVersion {
    const NAMES: [(&'static str, Self); 2] = [("3.1.1", Self::V311), ("5", Self::V5)];

    /// As config.json writes it.
    pub fn as_str(self) -> &'static str {
        name_of(&Self::NAMES, self)
    }
}

/// Whether the core tells its broker that it is there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PresenceSetting {
    /// It does not: a policy of V1 may not allow the topic, and the connection would be refused for its last will.
    #[default]
    Off,
    /// At each connection, at its end, and by a last will.
    Published,
    /// The same, and the broker keeps the last word (`iot:RetainPublish` at AWS).
    Retained,
}

impl PresenceSetting {
    const NAMES: [(&'static str, Self); 3] =
        [("off", Self::Off), ("published", Self::Published), ("retained", Self::Retained)];

    /// As config.json writes it.
    pub fn as_str(self) -> &'static str {
        name_of(&Self::NAMES, self)
    }
}

fn name_of<T: PartialEq>(names: &[(&'static str, T)], value: T) -> &'static str {
    names.iter().find(|(_, named)| *named == value).map_or("", |(name, _)| name)
}

/// How the core connects to the cloud's MQTT broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mqtt {
    /// The broker (`margay.mqtt.host`, or `coreThing.iotHost`).
    pub host: Host,
    /// Its port (`margay.mqtt.port`, or `coreThing.iotMqttPort`).
    pub port: u16,
    /// The client identifier (`coreThing.coreClientId`, or the thing's name); two connections with the same one throw
    /// each other out (contract G1).
    pub client_id: ClientId,
    /// The longest silence on the connection (`coreThing.keepAlive`).
    pub keep_alive: Duration,
    /// The longest wait between two attempts to connect (`mqttMaxConnectionRetryInterval`).
    pub max_retry_interval: Duration,
    /// The version of MQTT (`margay.mqtt.version`).
    pub version: ProtocolVersion,
    /// The most messages a second (`margay.mqtt.maxPublishesPerSecond`); `None` is no limit.
    pub publishes_per_second: Option<NonZeroU32>,
    /// Whether the core tells that it is there (`margay.mqtt.status`).
    pub presence: PresenceSetting,
}

impl Mqtt {
    /// Whether the broker chooses MQTT by ALPN, as AWS IoT does on port 443.
    pub fn needs_alpn(&self) -> bool {
        self.port == ALPN_PORT
    }

    pub(super) fn read(
        top: &mut Object<'_>,
        core: &mut Object<'_>,
        mut own: Object<'_>,
        core_thing: Option<&CoreThing>,
    ) -> Option<Self> {
        let v1_port = core.field("iotMqttPort").hint("for another broker's port use margay.mqtt.port");
        let v1_port = v1_port.port_of(CLOUD_PORTS);
        let client_id = core.field("coreClientId").parsed::<ClientId>();
        let keep_alive = core.field("keepAlive").integer(KEEP_ALIVE_RANGE, "seconds");
        let retry_interval = read_retry_interval(top, core);
        let host = own.field("host").parsed::<Host>();
        let port = own.field("port").port(1..=u16::MAX);
        let version = own.field("version").choice(&ProtocolVersion::NAMES);
        let rate = own.field("maxPublishesPerSecond").integer(PUBLISH_RATES, "messages a second");
        let rate = rate.and_then(|rate| NonZeroU32::new(u32::try_from(rate).ok()?));
        let presence = own.field("status").choice(&PresenceSetting::NAMES);
        own.finish(Unknown::Refuse);

        let core_thing = core_thing?;
        let thing = core_thing.thing_arn.thing().as_str();
        let host = host.unwrap_or_else(|| core_thing.iot_host.clone());
        Some(Self {
            publishes_per_second: rate.or_else(|| is_aws(&host).then_some(AWS_PUBLISHES_PER_SECOND)),
            host,
            version: version.unwrap_or_default(),
            presence: presence.unwrap_or_default(),
            port: port.or(v1_port).unwrap_or(CLOUD_PORTS[0]),
            client_id: client_id.or_else(|| ClientId::new(thing).ok())?,
            keep_alive: Duration::from_secs(keep_alive.unwrap_or(KEEP_ALIVE)),
            max_retry_interval: Duration::from_secs(retry_interval.unwrap_or(RETRY_INTERVAL)),
        })
    }
}

/// Whether `host` is an endpoint of AWS IoT, with its limits.
fn is_aws(host: &Host) -> bool {
    let host = host.as_str().to_ascii_lowercase();
    host.contains(".iot.") && (host.ends_with(".amazonaws.com") || host.ends_with(".amazonaws.com.cn"))
}

/// V1.6's example has the key in `coreThing`, later versions at the top; the top wins.
fn read_retry_interval(top: &mut Object<'_>, core: &mut Object<'_>) -> Option<u64> {
    const KEY: &str = "mqttMaxConnectionRetryInterval";
    let range = 1..=u64::from(u32::MAX);
    let inner_field = core.field(KEY);
    let inner = inner_field.integer(range.clone(), "seconds");
    let outer = top.field(KEY).integer(range, "seconds");
    if let (Some(inner), Some(outer)) = (inner, outer)
        && inner != outer
    {
        inner_field.warn(format!("is overruled by {KEY} at the top, which is {outer}"), "keep one of the two");
    }
    outer.or(inner)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::{Value, json};

    use super::*;
    use crate::config::{Config, Jobs};

    fn read(host: &str, margay: &Value) -> Result<Config, String> {
        let document = json!({
            "coreThing": {
                "caPath": "root.ca.pem", "certPath": "hash.cert.pem", "keyPath": "hash.private.key", "iotHost": host,
                "thingArn": "arn:aws:iot:us-west-2:123456789012:thing/core-1"
            },
            "margay": margay
        });
        let read = Config::parse(&document.to_string(), Path::new("/greengrass"));
        read.map(|accepted| accepted.document).map_err(|problems| problems.to_string())
    }

    #[test]
    fn awss_limit_of_messages_holds_at_aws_and_another_where_it_is_set() {
        let rate = |host, margay: Value| read(host, &margay).unwrap().mqtt.publishes_per_second.map(NonZeroU32::get);
        let aws = "a1-ats.iot.us-west-2.amazonaws.com";
        assert_eq!(rate(aws, json!({})), Some(100));
        assert_eq!(rate(aws, json!({ "mqtt": { "maxPublishesPerSecond": 20 } })), Some(20));
        assert_eq!(rate(aws, json!({ "mqtt": { "host": "broker.example" } })), None);
        assert_eq!(rate("broker.example", json!({})), None);
    }

    #[test]
    fn version_presence_and_jobs_are_v1s_unless_they_are_set() {
        let host = "broker.example";
        let mqtt = read(host, &json!({})).unwrap().mqtt;
        assert_eq!((mqtt.version, mqtt.presence), (ProtocolVersion::V311, PresenceSetting::Off));
        let set = json!({ "mqtt": { "version": "5", "status": "retained" }, "jobs": { "enabled": true } });
        let config = read(host, &set).unwrap();
        assert_eq!((config.mqtt.version, config.mqtt.presence), (ProtocolVersion::V5, PresenceSetting::Retained));
        assert_eq!(config.jobs, Some(Jobs { step_timeout: 60 }));
        assert_eq!(read(host, &json!({ "jobs": { "stepTimeoutInMinutes": 5 } })).unwrap().jobs, None);
        let refused = read(host, &json!({ "mqtt": { "version": "4" }, "jobs": { "stepTimeoutInMinutes": 0 } }));
        let refused = refused.unwrap_err();
        assert!(refused.contains("margay.mqtt.version = \"4\"") && refused.contains("10080"), "{refused}");
    }
}
