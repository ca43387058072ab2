//! Which proxy stands between the core and a server, if any: the one of `coreThing.networkProxy`, else the one
//! of the environment variables that curl and the AWS SDKs read.
//!
//! Servers on this machine's own loopback are always reached directly. Refuses other schemes than http and https.

use std::fmt;
use std::net::IpAddr;

use percent_encoding::percent_decode_str;
use reqwest::{Proxy, Url};

use crate::config::{NetworkProxy, ProxyScheme};
use crate::secret::Secret;

/// A variable of the environment names a proxy that is none.
#[derive(Debug, thiserror::Error)]
#[error("the environment variable {variable} is no proxy: write http://host:port or https://host:port")]
pub struct ProxyVariableError {
    /// Its name. Its value may hold a password.
    pub variable: &'static str,
}

/// The proxies of one client. The default is none.
#[derive(Clone, Default)]
pub struct Proxies {
    /// For https, and for http.
    tls: Option<Url>,
    plain: Option<Url>,
    exempt: Exempt,
}

/// A proxy through which something else than HTTP goes, by CONNECT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tunnel {
    /// How to speak to it.
    pub scheme: ProxyScheme,
    /// Its host.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The user's name, if it wants one.
    pub username: Option<String>,
    /// The user's password.
    pub password: Option<Secret>,
}

/// Hosts that are reached directly.
#[derive(Debug, Clone, Default)]
struct Exempt(Vec<Rule>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Rule {
    Everything,
    /// A name, and every name below it.
    Name(String),
    /// An address, and how many of its bits count.
    Network(IpAddr, u32),
}

/// For https, in the order in which they are looked at.
const TLS_VARIABLES: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
/// For http. Upper-case `HTTP_PROXY` is left alone, as by curl: CGI programs get it from a request's header.
const PLAIN_VARIABLES: [&str; 3] = ["http_proxy", "ALL_PROXY", "all_proxy"];
const EXEMPT_VARIABLES: [&str; 2] = ["NO_PROXY", "no_proxy"];

impl Proxies {
    /// The configured proxy; without one, what `variable` gives for the names of environment variables.
    ///
    /// # Errors
    /// When a variable that applies holds no URL of a proxy.
    pub fn new(
        configured: Option<&NetworkProxy>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ProxyVariableError> {
        if let Some(proxy) = configured {
            return Ok(Self::configured(proxy));
        }
        let first = |names: &[&'static str]| {
            names.iter().find_map(|&name| Some((name, variable(name).filter(|value| !value.is_empty())?)))
        };
        let url =
            |names| first(names).map(|(variable, value)| proxy_url(&value).ok_or(ProxyVariableError { variable }));
        let exempt = first(&EXEMPT_VARIABLES).map(|(_, list)| Exempt::parse(&list)).unwrap_or_default();
        Ok(Self { tls: url(&TLS_VARIABLES).transpose()?, plain: url(&PLAIN_VARIABLES).transpose()?, exempt })
    }

    fn configured(proxy: &NetworkProxy) -> Self {
        let url = proxy.url().parse::<Url>().ok().map(|mut url| {
            // Setting them fails only for URLs without a host.
            let _ = url.set_username(proxy.username.as_deref().unwrap_or_default());
            let _ = url.set_password(proxy.password.as_ref().map(Secret::expose));
            url
        });
        let exempt = proxy.no_proxy.iter().map(|host| Rule::parse(host.as_str())).collect();
        Self { tls: url.clone(), plain: url, exempt: Exempt(exempt) }
    }

    /// `host:port` of the proxy that a request to `url` goes through.
    pub fn on_the_way_to(&self, url: &Url) -> Option<String> {
        let proxy = self.choose(url)?;
        Some(format!("{}:{}", proxy.host_str()?, proxy.port_or_known_default()?))
    }

    /// The proxy on the way to `host`, for what speaks TLS there; `None` where the way is direct.
    pub fn tunnel_to(&self, host: &str) -> Option<Tunnel> {
        let proxy = self.tls.as_ref().filter(|_| !self.exempt.covers(host))?;
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let scheme = if proxy.scheme() == "https" { ProxyScheme::Https } else { ProxyScheme::Http };
        Some(Tunnel {
            scheme,
            host: proxy.host_str()?.trim_start_matches('[').trim_end_matches(']').to_owned(),
            port: proxy.port_or_known_default()?,
            username: Some(decoded(proxy.username())).filter(|name| !name.is_empty()),
            password: proxy.password().map(|password| Secret::new(decoded(password))),
        })
    }

    fn choose(&self, url: &Url) -> Option<&Url> {
        let proxy = if url.scheme() == "https" { self.tls.as_ref() } else { self.plain.as_ref() };
        proxy.filter(|_| !self.exempt.covers(url.host_str().unwrap_or_default()))
    }

    /// The rule for reqwest, whose own reading of the environment is turned off.
    pub(super) fn rule(&self) -> Proxy {
        let proxies = self.clone();
        Proxy::custom(move |url| proxies.choose(url).cloned())
    }
}

impl fmt::Debug for Proxies {
    /// Without user names and passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |url: &Option<Url>| url.as_ref().map(|url| url.host_str().unwrap_or_default().to_owned());
        f.debug_struct("Proxies")
            .field("tls", &shown(&self.tls))
            .field("plain", &shown(&self.plain))
            .field("exempt", &self.exempt)
            .finish()
    }
}

/// The URL of a proxy; one without a scheme means http, as everywhere.
fn proxy_url(text: &str) -> Option<Url> {
    let url = if text.contains("://") { text.parse() } else { format!("http://{text}").parse() };
    url.ok().filter(|url: &Url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

impl Exempt {
    fn parse(list: &str) -> Self {
        Self(list.split(',').map(str::trim).filter(|entry| !entry.is_empty()).map(Rule::parse).collect())
    }

    fn covers(&self, host: &str) -> bool {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = host.parse::<IpAddr>() {
            return address.is_loopback() || self.0.iter().any(|rule| rule.covers_address(address));
        }
        Rule::Name("localhost".to_owned()).covers_name(host) || self.0.iter().any(|rule| rule.covers_name(host))
    }
}

impl Rule {
    fn parse(entry: &str) -> Self {
        if entry == "*" {
            return Self::Everything;
        }
        let (address, bits) = entry.split_once('/').map_or((entry, None), |(address, bits)| (address, Some(bits)));
        let address = address.trim_start_matches('[').trim_end_matches(']');
        match (address.parse::<IpAddr>(), bits.map(str::parse)) {
            (Ok(address), None) => Self::Network(address, 128),
            (Ok(address), Some(Ok(bits))) => Self::Network(address, bits),
            _ => Self::Name(entry.trim_start_matches("*.").trim_start_matches('.').to_ascii_lowercase()),
        }
    }

    fn covers_name(&self, host: &str) -> bool {
        match self {
            Self::Everything => true,
            Self::Network(..) => false,
            Self::Name(name) => {
                let host = host.to_ascii_lowercase();
                host.strip_suffix(name.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            }
        }
    }

    fn covers_address(&self, address: IpAddr) -> bool {
        match (self, address) {
            (Self::Everything, _) => true,
            (Self::Network(IpAddr::V4(network), bits), IpAddr::V4(address)) => {
                let shift = 32 - (*bits).min(32);
                (u64::from(network.to_bits()) >> shift) == (u64::from(address.to_bits()) >> shift)
            }
            (Self::Network(IpAddr::V6(network), bits), IpAddr::V6(address)) => {
                let kept = |bits_of: u128| bits_of.checked_shr(128 - (*bits).min(128)).unwrap_or(0);
                kept(network.to_bits()) == kept(address.to_bits())
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_environment(variables: &[(&str, &str)]) -> Result<Proxies, ProxyVariableError> {
        let look_up = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, v)| (*v).to_owned());
        Proxies::new(None, look_up)
    }

    fn way(proxies: &Proxies, url: &str) -> Option<String> {
        proxies.on_the_way_to(&url.parse().unwrap())
    }

    #[test]
    fn the_environment_names_a_proxy_for_each_scheme_and_hosts_without_one() {
        let proxies = from_environment(&[
            ("HTTPS_PROXY", "http://ann:hunter2@proxy:3128"),
            ("http_proxy", "plain-proxy"),
            ("NO_PROXY", "example.com, .internal,10.0.0.0/8,192.0.2.7"),
        ])
        .unwrap();
        for (url, expected) in [
            ("https://s3.eu-central-1.amazonaws.com/", Some("proxy:3128")),
            ("http://other/", Some("plain-proxy:80")),
            ("https://example.com/", None),
            ("https://bucket.EXAMPLE.com/", None),
            ("https://notexample.com/", Some("proxy:3128")),
            ("https://a.internal/", None),
            ("https://10.1.2.3/", None),
            ("https://11.1.2.3/", Some("proxy:3128")),
            ("https://192.0.2.7/", None),
            ("https://192.0.2.8/", Some("proxy:3128")),
            ("https://localhost:9000/", None),
            ("https://models.s3.localhost/", None),
            ("https://127.0.0.1/", None),
            ("https://[::1]/", None),
        ] {
            assert_eq!(way(&proxies, url).as_deref(), expected, "{url}");
        }
        assert!(!format!("{proxies:?}").contains("hunter2"));
        assert_eq!(
            way(&from_environment(&[("ALL_PROXY", "http://p:1"), ("NO_PROXY", "*")]).unwrap(), "https://a/"),
            None
        );
        assert_eq!(way(&from_environment(&[]).unwrap(), "https://a/"), None);
    }

    #[test]
    fn a_tunnel_has_the_users_name_and_password_as_they_were_written() {
        let proxies =
            from_environment(&[("HTTPS_PROXY", "https://ann:p%40ss@proxy"), ("NO_PROXY", "broker.example")]).unwrap();
        let tunnel = proxies.tunnel_to("a1-ats.iot.eu-central-1.amazonaws.com").unwrap();
        assert_eq!((tunnel.scheme, tunnel.host.as_str(), tunnel.port), (ProxyScheme::Https, "proxy", 443));
        assert_eq!(tunnel.username.as_deref(), Some("ann"));
        assert_eq!(tunnel.password.as_ref().map(Secret::expose), Some("p@ss"));
        assert_eq!(proxies.tunnel_to("broker.example"), None);
        assert_eq!(proxies.tunnel_to("127.0.0.1"), None);
    }

    #[test]
    fn a_variable_that_is_no_proxy_is_refused_without_its_value() {
        let error = from_environment(&[("HTTPS_PROXY", "socks5://ann:hunter2@proxy:1080")]).unwrap_err();
        assert!(error.to_string().contains("HTTPS_PROXY") && !error.to_string().contains("hunter2"), "{error}");
    }

    #[test]
    fn what_config_json_says_wins_over_the_environment() {
        let configured = NetworkProxy {
            scheme: crate::config::ProxyScheme::Http,
            host: "proxy".parse().unwrap(),
            port: 1100,
            username: None,
            password: None,
            no_proxy: vec!["128.12.34.56".parse().unwrap(), "www.mywebsite.com".parse().unwrap()],
        };
        let proxies = Proxies::new(Some(&configured), |_| Some("http://environment:1".to_owned())).unwrap();
        assert_eq!(way(&proxies, "https://a/").as_deref(), Some("proxy:1100"));
        assert_eq!(way(&proxies, "https://128.12.34.56/"), None);
        assert_eq!(way(&proxies, "https://www.mywebsite.com/"), None);
    }
}
