//! `coreThing`: who the core is and where its cloud lives.

use crate::arn::ThingArn;
use crate::document::{Field, Object};
use crate::name::Host;

use super::NetworkProxy;

/// The ports of AWS IoT's HTTPS endpoints; 443 needs ALPN.
const HTTPS_PORTS: [u16; 2] = [8443, 443];
/// V1's local MQTT server, on a port that needs no privilege.
const LOCAL_MQTT_PORTS: std::ops::RangeInclusive<u16> = 1024..=65535;
const LOCAL_MQTT_PORT: u16 = 8883;

/// Who the core is and where its cloud lives.
#[derive(Debug, Clone, PartialEq)]
pub struct CoreThing {
    /// The core's thing (`thingArn`); its region is the default of everything that has one.
    pub thing_arn: ThingArn,
    /// AWS IoT's data endpoint (`iotHost`).
    pub iot_host: Host,
    /// The Greengrass endpoint (`ggHost`); by default `iotHost` with its prefix replaced. V1's cloud has closed, and
    /// this version connects to it for nothing.
    pub gg_host: Host,
    /// The port of HTTPS to `iotHost` (`iotHttpPort`): 8443 or 443.
    pub iot_http_port: u16,
    /// The port of HTTPS to `ggHost` (`ggHttpPort`): 8443 or 443.
    pub gg_http_port: u16,
    /// The port of V1's local MQTT server (`ggMqttPort`).
    pub gg_mqtt_port: u16,
    /// The proxy between the core and its cloud (`networkProxy`).
    pub network_proxy: Option<NetworkProxy>,
}

impl CoreThing {
    /// Reads all keys but those of `crypto` and of the MQTT link.
    pub(super) fn read(core: &mut Object<'_>) -> Option<Self> {
        let thing_arn = core.field("thingArn").required("write the core's ARN, as the registry shows it");
        let thing_arn = thing_arn.parsed::<ThingArn>();
        let host_field = core
            .field("iotHost")
            .required("write the data endpoint that `aws iot describe-endpoint --endpoint-type iot:Data-ATS` names")
            .hint("write a host name alone; ports have keys of their own");
        let iot_host = host_field.parsed::<Host>();
        if let (Some(host), Some(arn)) = (&iot_host, &thing_arn) {
            warn_about_host(&host_field, host, arn);
        }
        let gg_host = core.field("ggHost").parsed::<Host>();
        let iot_http_port = core.field("iotHttpPort").port_of(HTTPS_PORTS);
        let gg_http_port = core.field("ggHttpPort").port_of(HTTPS_PORTS);
        let gg_mqtt_port = core.field("ggMqttPort").port(LOCAL_MQTT_PORTS);
        let network_proxy = core.field("networkProxy").object().and_then(NetworkProxy::read);
        let (thing_arn, iot_host) = (thing_arn?, iot_host?);
        Some(Self {
            gg_host: gg_host.unwrap_or_else(|| greengrass_host(&iot_host)),
            thing_arn,
            iot_host,
            iot_http_port: iot_http_port.unwrap_or(HTTPS_PORTS[0]),
            gg_http_port: gg_http_port.unwrap_or(HTTPS_PORTS[0]),
            gg_mqtt_port: gg_mqtt_port.unwrap_or(LOCAL_MQTT_PORT),
            network_proxy,
        })
    }
}

/// The Greengrass endpoint beside `iot_host`: `PREFIX-ats.iot.REGION…` gives `greengrass-ats.iot.REGION…`. A
/// host of another shape is its own.
fn greengrass_host(iot_host: &Host) -> Host {
    let Some((prefix, rest)) = iot_host.as_str().split_once(".iot.") else { return iot_host.clone() };
    let suffix = if prefix.ends_with("-ats") { "-ats" } else { "" };
    Host::new(&format!("greengrass{suffix}.iot.{rest}")).unwrap_or_else(|_| iot_host.clone())
}

/// What makes a connection to AWS fail although every key is well formed.
fn warn_about_host(field: &Field<'_>, host: &Host, arn: &ThingArn) {
    let Some((prefix, rest)) = host.as_str().split_once(".iot.") else { return };
    let Some((region, "amazonaws.com" | "amazonaws.com.cn")) = rest.split_once('.') else { return };
    if region != arn.region().as_str() {
        let rule = format!("is an endpoint of {region}, and thingArn is of {}", arn.region());
        field.warn(rule, "take both from the same region");
    }
    if !prefix.ends_with("-ats") {
        let rule = "is a legacy endpoint, whose certificate chain ends at VeriSign; if your endpoints and certificate \
                    type do not match, authentication attempts fail";
        field.warn(rule, "use the endpoint with -ats and Amazon's root CA");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greengrass_endpoint_is_derived_as_a_12_says() {
        let derived = |host: &str| greengrass_host(&Host::new(host).expect("a host")).to_string();
        assert_eq!(derived("a1-ats.iot.us-west-2.amazonaws.com"), "greengrass-ats.iot.us-west-2.amazonaws.com");
        assert_eq!(derived("a1.iot.us-west-2.amazonaws.com"), "greengrass.iot.us-west-2.amazonaws.com");
        assert_eq!(derived("127.0.0.1"), "127.0.0.1");
    }
}
