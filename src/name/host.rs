//! Hosts and endpoints as configuration writes them: a DNS name or an address, with or without a port.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use super::NameError;

const KIND: &str = "host";
/// RFC 1035, section 2.3.4: a name has at most 255 octets on the wire, 253 characters as written.
const NAME_LIMIT: usize = 253;
/// RFC 1035, section 2.3.4.
const LABEL_LIMIT: usize = 63;

/// A DNS name, an IPv4 address, or an IPv6 address (kept without its brackets).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Host(String);

impl Host {
    /// Checks that `text` is a host alone: no scheme, port, path or user information.
    pub fn new(text: &str) -> Result<Self, NameError> {
        if let Some(address) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            return Self::ipv6(address);
        }
        if text.parse::<IpAddr>().is_ok() {
            return Ok(Self(text.to_owned()));
        }
        check_name(text)?;
        Ok(Self(text.to_ascii_lowercase()))
    }

    fn ipv6(address: &str) -> Result<Self, NameError> {
        match address.parse::<Ipv6Addr>() {
            Ok(address) => Ok(Self(address.to_string())),
            Err(_) => Err(NameError::Shape { kind: KIND, rule: "in brackets is an IPv6 address" }),
        }
    }

    /// The host as TLS and the resolver take it: IPv6 addresses without brackets.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the host is `localhost` or a loopback address, so that what is sent to it stays on this machine.
    pub fn is_loopback(&self) -> bool {
        self.0 == "localhost" || self.0.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

fn check_name(text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty { kind: KIND });
    }
    if text.len() > NAME_LIMIT {
        return Err(NameError::TooLong { kind: KIND, limit: NAME_LIMIT, actual: text.chars().count() });
    }
    if let Some(found) = text.chars().find(|&c| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))) {
        return Err(NameError::Character { kind: KIND, allowed: "letters, digits, '-', '_' and '.'", found });
    }
    let broken =
        |label: &str| label.is_empty() || label.len() > LABEL_LIMIT || label.starts_with('-') || label.ends_with('-');
    if text.split('.').any(broken) {
        let rule = "has labels of 1 to 63 characters between its dots, which neither begin nor end with '-'";
        return Err(NameError::Shape { kind: KIND, rule });
    }
    Ok(())
}

impl FromStr for Host {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

impl fmt::Display for Host {
    /// As it stands in a URL: IPv6 addresses in brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.contains(':') { write!(f, "[{}]", self.0) } else { f.write_str(&self.0) }
    }
}

/// `host` or `host:port`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Where to connect to.
    pub host: Host,
    /// The TCP port, where one was written.
    pub port: Option<u16>,
}

impl Endpoint {
    /// The port that was written, or `default`.
    pub fn port_or(&self, default: u16) -> u16 {
        self.port.unwrap_or(default)
    }
}

impl FromStr for Endpoint {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let (host, port) = split_port(text);
        let port = port.map(parse_port).transpose()?;
        Ok(Self { host: Host::new(host)?, port })
    }
}

/// Splits a port off, leaving alone the colons of an IPv6 address.
fn split_port(text: &str) -> (&str, Option<&str>) {
    let after_host = text.rfind(']').map_or(0, |end| end + 1);
    let single_colon = text[after_host..].matches(':').count() == 1;
    match text[after_host..].find(':') {
        Some(colon) if single_colon => {
            let colon = after_host + colon;
            (&text[..colon], Some(&text[colon + 1..]))
        }
        _ => (text, None),
    }
}

fn parse_port(text: &str) -> Result<u16, NameError> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse::<u16>() {
        Ok(port) if digits && port > 0 => Ok(port),
        _ => Err(NameError::Shape { kind: "port", rule: "is a whole number from 1 to 65535" }),
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.host),
            None => write!(f, "{}", self.host),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address_and_nothing_more() {
        for good in ["a1b2-ats.iot.us-west-2.amazonaws.com", "localhost", "127.0.0.1", "::1", "[::1]", "my_box"] {
            assert!(Host::new(good).is_ok(), "{good}");
        }
        for bad in ["", "https://a", "a:8883", "a/b", "user@a", "-a", "a..b", "a-.b", "[a]", "[::1"] {
            assert!(Host::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_this_machine_is_loopback() {
        for own in ["localhost", "127.0.0.1", "127.9.9.9", "[::1]"] {
            assert!(Host::new(own).expect("a host").is_loopback(), "{own}");
        }
        assert!(!Host::new("10.0.0.1").expect("a host").is_loopback());
        assert!(!Host::new("localhost.example.com").expect("a host").is_loopback());
    }

    #[test]
    fn an_endpoint_may_carry_a_port() {
        let with_port: Endpoint = "localhost:8443".parse().expect("an endpoint");
        assert_eq!((with_port.host.as_str(), with_port.port), ("localhost", Some(8443)));
        let without: Endpoint = "example.com".parse().expect("an endpoint");
        assert_eq!(without.port_or(443), 443);
        let six: Endpoint = "[::1]:8443".parse().expect("an endpoint");
        assert_eq!(six.to_string(), "[::1]:8443");
        for bad in ["a:", "a:0", "a:65536", "a:+1", ":1", "a:1:2", "https://a:1"] {
            assert!(bad.parse::<Endpoint>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_parser_and_what_it_accepts_it_reads_back(text in "[a-z0-9:.\\[\\]-]{0,30}|\\PC{0,30}") {
            if let Ok(endpoint) = text.parse::<Endpoint>() {
                prop_assert_eq!(endpoint.to_string().parse::<Endpoint>(), Ok(endpoint));
            }
        }
    }
}
