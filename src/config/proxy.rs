//! `coreThing.networkProxy`: the HTTP or HTTPS proxy between the core and its cloud.

use percent_encoding::percent_decode_str;

use crate::document::{Field, Object, Unknown};
use crate::name::{Endpoint, Host};
use crate::secret::Secret;

const URL_HINT: &str = "write scheme://userinfo@host:port, with the scheme http or https";

/// How the core speaks to its proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyScheme {
    /// In the clear; what passes through is TLS with the cloud all the same.
    Http,
    /// Over TLS.
    Https,
}

impl ProxyScheme {
    /// The scheme as URLs write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port that the guide gives where the URL has none.
    fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// A proxy with basic authentication, and the hosts that are reached without it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkProxy {
    /// How to speak to it.
    pub scheme: ProxyScheme,
    /// Where it is.
    pub host: Host,
    /// Its port.
    pub port: u16,
    /// The user's name, from the URL or from `username`.
    pub username: Option<String>,
    /// The user's password, from the URL or from `password`.
    pub password: Option<Secret>,
    /// Hosts and addresses that are reached without the proxy (`noProxyAddresses`).
    pub no_proxy: Vec<Host>,
}

impl NetworkProxy {
    /// The proxy's URL without the user's name and password.
    pub fn url(&self) -> String {
        format!("{}://{}:{}", self.scheme.as_str(), self.host, self.port)
    }

    pub(super) fn read(mut network: Object<'_>) -> Option<Self> {
        let no_proxy = read_exempt(&network.field("noProxyAddresses"));
        let mut proxy = network.field("proxy").required("name the proxy").section();
        // The URL may hold a password.
        let url_field = proxy.field("url").secret().required(URL_HINT);
        let url = url_field.text().and_then(|text| {
            let url = Url::split(text);
            if url.is_none() {
                url_field.refuse("is the URL of a proxy", URL_HINT);
            }
            url
        });
        let username = proxy.field("username").text().map(str::to_owned);
        let password = proxy.field("password").secret().text().map(Secret::new);
        proxy.finish(Unknown::Warn);
        network.finish(Unknown::Warn);

        let Url { scheme, endpoint, user } = url?;
        // "If userinfo is present, username and password are ignored".
        let (username, password) = user.map_or((username, password), |(name, password)| (Some(name), password));
        Some(Self {
            scheme,
            port: endpoint.port_or(scheme.default_port()),
            host: endpoint.host,
            username,
            password,
            no_proxy,
        })
    }
}

/// A list with commas between its hosts. The guide's own example holds a URL, whose host is meant.
fn read_exempt(field: &Field<'_>) -> Vec<Host> {
    let entries = field.text().unwrap_or_default().split(',').map(str::trim).filter(|entry| !entry.is_empty());
    let host = |entry: &str| {
        let authority = entry.split_once("://").map_or(entry, |(_, rest)| rest.split('/').next().unwrap_or(rest));
        let endpoint = authority.parse::<Endpoint>();
        endpoint.map_err(|error| field.refuse(error.to_string(), "write hosts with commas between them")).ok()
    };
    entries.filter_map(host).map(|endpoint| endpoint.host).collect()
}

struct Url {
    scheme: ProxyScheme,
    endpoint: Endpoint,
    user: Option<(String, Option<Secret>)>,
}

impl Url {
    fn split(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let scheme = match scheme {
            "http" => ProxyScheme::Http,
            "https" => ProxyScheme::Https,
            _ => return None,
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let (user, endpoint) = match authority.rsplit_once('@') {
            Some((user, endpoint)) => (Some(user_info(user)?), endpoint),
            None => (None, authority),
        };
        Some(Self { scheme, endpoint: endpoint.parse().ok()?, user })
    }
}

fn user_info(text: &str) -> Option<(String, Option<Secret>)> {
    let decode = |part: &str| percent_decode_str(part).decode_utf8().ok().map(|part| part.into_owned());
    match text.split_once(':') {
        Some((name, password)) => Some((decode(name)?, Some(Secret::new(decode(password)?)))),
        None => Some((decode(text)?, None)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::document::Notes;
    use crate::problem::Document;

    fn read(value: &Value) -> Result<NetworkProxy, String> {
        let notes = Notes::of(Document::Config);
        let proxy = Object::root(value, &notes).and_then(NetworkProxy::read);
        notes.conclude(proxy).map(|accepted| accepted.document).map_err(|problems| problems.to_string())
    }

    #[test]
    fn the_guides_example_is_read_a_14() {
        let proxy = read(&json!({
            "noProxyAddresses": "http://128.12.34.56,www.mywebsite.com",
            "proxy": {"url": "https://my-proxy-server:1100", "username": "Mary_Major", "password": "pass@word1357"}
        }))
        .expect("the guide's example");
        assert_eq!(proxy.url(), "https://my-proxy-server:1100");
        assert_eq!(proxy.username.as_deref(), Some("Mary_Major"));
        assert_eq!(proxy.password.as_ref().map(Secret::expose), Some("pass@word1357"));
        let exempt: Vec<&str> = proxy.no_proxy.iter().map(Host::as_str).collect();
        assert_eq!(exempt, ["128.12.34.56", "www.mywebsite.com"]);
        assert!(!format!("{proxy:?}").contains("word1357"));
    }

    #[test]
    fn user_information_in_the_url_wins_and_ports_have_defaults() {
        let proxy = read(&json!({"proxy": {"url": "http://ann:p%40ss@proxy", "username": "bob", "password": "x"}}))
            .expect("a proxy");
        assert_eq!((proxy.username.as_deref(), proxy.port), (Some("ann"), 80));
        assert_eq!(proxy.password.as_ref().map(Secret::expose), Some("p@ss"));
        assert_eq!(read(&json!({"proxy": {"url": "https://proxy/"}})).expect("a proxy").port, 443);
    }

    #[test]
    fn a_mistaken_url_is_refused_without_showing_the_password() {
        for url in ["ftp://u:hunter2@proxy", "u:hunter2@proxy:80", "http://u:hunter2@pro xy", "http://u:hunter2@p:0"] {
            let refused = read(&json!({"proxy": {"url": url}})).expect_err("it is refused");
            assert!(refused.contains("proxy.url") && !refused.contains("hunter2"), "{refused}");
        }
        assert!(read(&json!({})).is_err());
    }
}
