//! The address of a camera of the network.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The most bytes of an address.
const MOST: usize = 1024;

/// `http://host[:port]/path[?query]`: only what a request needs, and nothing that could end its first line early.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HttpUrl {
    host: String,
    port: u16,
    /// Path and query; begins with `/`.
    target: String,
}

/// An address that is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{rule}")]
pub struct UrlError {
    rule: &'static str,
}

impl HttpUrl {
    /// The host, without the brackets of an IPv6 address.
    #[must_use]
    pub fn host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    /// The port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Path and query, as the request names them.
    pub(super) fn target(&self) -> &str {
        &self.target
    }

    /// Host and port, as the request's `Host` names them.
    pub(super) fn authority(&self) -> String {
        if self.port == 80 { self.host.clone() } else { format!("{}:{}", self.host, self.port) }
    }
}

impl FromStr for HttpUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let refuse = |rule| Err(UrlError { rule });
        if text.len() > MOST || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return refuse("is no address of at most 1024 visible ASCII characters");
        }
        let lower = text.get(..8).unwrap_or(text).to_ascii_lowercase();
        if lower == "https://" {
            return refuse(
                "is encrypted, which is not supported: use the camera's http address on a network of your own",
            );
        }
        if !lower.starts_with("http://") {
            return refuse("does not begin with http://");
        }
        let rest = &text["http://".len()..];
        if rest.contains('#') {
            return refuse("has a fragment (#), which no server is told");
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        if authority.contains('@') {
            return refuse("has a user or password, which would be stored and shown with it");
        }
        let (host, port) = divide(authority).ok_or(UrlError { rule: "has no host, or no port from 1 to 65535" })?;
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        Ok(Self { host, port, target })
    }
}

/// Host and port of `host`, `host:port`, `[address]` or `[address]:port`.
fn divide(authority: &str) -> Option<(String, u16)> {
    let name_end = if authority.starts_with('[') {
        authority.find(']')? + 1
    } else {
        authority.find(':').unwrap_or(authority.len())
    };
    let (host, port) = authority.split_at(name_end);
    let port = match port.strip_prefix(':') {
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            digits.parse().ok().filter(|port| *port > 0)?
        }
        None if port.is_empty() => 80,
        _ => return None,
    };
    let inner = host.trim_start_matches('[').trim_end_matches(']');
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let good = if host.starts_with('[') {
        inner.parse::<std::net::Ipv6Addr>().is_ok()
    } else {
        !inner.is_empty() && host.bytes().all(plain)
    };
    good.then(|| (host.to_owned(), port))
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority(), self.target)
    }
}

impl TryFrom<String> for HttpUrl {
    type Error = UrlError;

    fn try_from(text: String) -> Result<Self, UrlError> {
        text.parse()
    }
}

impl From<HttpUrl> for String {
    fn from(url: HttpUrl) -> Self {
        url.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn addresses_are_divided_into_what_a_request_needs() {
        for (text, host, port, target) in [
            ("http://camera.local/video.mjpg?fps=5", "camera.local", 80, "/video.mjpg?fps=5"),
            ("HTTP://192.168.1.7:8081", "192.168.1.7", 8081, "/"),
            ("http://[fe80::1]:81/a", "fe80::1", 81, "/a"),
            ("http://camera?x=1", "camera", 80, "/?x=1"),
        ] {
            let url: HttpUrl = text.parse().unwrap();
            assert_eq!((url.host(), url.port(), url.target()), (host, port, target));
            assert_eq!(url.to_string().parse::<HttpUrl>().unwrap(), url);
        }
    }

    #[test]
    fn what_is_no_address_of_a_camera_is_refused_with_the_rule() {
        for (text, rule) in [
            ("https://camera/", "encrypted"),
            ("rtsp://camera/", "http://"),
            ("http://user:secret@camera/", "user or password"),
            ("http:///video", "no host"),
            ("http://camera:0/", "no port"),
            ("http://camera:70000/", "no port"),
            ("http://[fe80::1/", "no host"),
            ("http://cam era/", "visible"),
            ("http://camera/\r\nX: y", "visible"),
            ("http://camera/#top", "fragment"),
            ("http", "http://"),
        ] {
            let error = text.parse::<HttpUrl>().unwrap_err().to_string();
            assert!(error.contains(rule), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn an_accepted_address_is_one_line_of_a_request(text in "(http://)?[ -~]{0,30}") {
            if let Ok(url) = text.parse::<HttpUrl>() {
                prop_assert!(url.target().starts_with('/'));
                prop_assert!(url.to_string().bytes().all(|byte| byte.is_ascii_graphic()));
                prop_assert_eq!(url.to_string().parse::<HttpUrl>(), Ok(url));
            }
        }
    }
}
