//! The proxy on the way, as the library takes it.

use std::sync::Arc;

use rumqttc::{Proxy, ProxyAuth, ProxyType, TlsConfiguration};
use rustls::ClientConfig;

use crate::config::ProxyScheme;
use crate::http::Tunnel;
use crate::secret::Secret;

/// A proxy that is spoken to over TLS proves itself to the authorities of the broker; it is offered no ALPN, because it
/// speaks HTTP.
pub(super) fn of(tunnel: &Tunnel, tls: &Arc<ClientConfig>) -> Proxy {
    let ty = match tunnel.scheme {
        ProxyScheme::Http => ProxyType::Http,
        ProxyScheme::Https => {
            let mut tls = ClientConfig::clone(tls);
            tls.alpn_protocols.clear();
            ProxyType::Https(TlsConfiguration::Rustls(Arc::new(tls)))
        }
    };
    let auth = match &tunnel.username {
        None => ProxyAuth::None,
        Some(username) => ProxyAuth::Basic {
            username: username.clone(),
            password: tunnel.password.as_ref().map(Secret::expose).unwrap_or_default().to_owned(),
        },
    };
    Proxy { ty, auth, addr: tunnel.host.clone(), port: tunnel.port }
}
