//! HTTPS as the core speaks it: one client a trust set, no redirects, every wait bounded, through a proxy where there is
//! one, and the clock learns from each answer's `Date`.
//!
//! It refuses to follow redirects, because a signed request must not go where it was not signed for, and to return
//! unbounded bodies. Serves [`credentials`](crate::credentials) and [`s3`](crate::s3), which own the meaning of
//! statuses and bodies.

pub mod listener;
pub mod loopback;
mod proxies;
mod transport;

#[cfg(test)]
pub(crate) mod testing_proxy;
#[cfg(test)]
mod tests;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::{Request, Response};
use rustls::ClientConfig;
use time::OffsetDateTime;

use crate::clock::{Clock, Learnt};
pub use proxies::{Proxies, ProxyVariableError, Tunnel};
pub use transport::{TransportCause, TransportError};

/// What the core calls itself, e.g. `margay/0.1.0`.
pub const USER_AGENT: &str = concat!("margay/", env!("CARGO_PKG_VERSION"));

/// How long to wait for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For the connection, TLS included.
    pub connect: Duration,
    /// For the next byte, once connected.
    pub idle: Duration,
}

impl Default for Timeouts {
    /// Ten seconds to connect (a handshake takes about one on a Raspberry Pi Zero), twenty of silence.
    fn default() -> Self {
        Self { connect: Duration::from_secs(10), idle: Duration::from_secs(20) }
    }
}

/// Why a client could not be built.
#[derive(Debug, thiserror::Error)]
#[error("building the HTTPS client")]
pub struct ClientError {
    #[from]
    source: reqwest::Error,
}

/// An HTTPS client with its trust, its identity if any, and its clock. Cheap to clone; clones share everything.
#[derive(Debug, Clone)]
pub struct HttpClient {
    shared: Arc<Shared>,
    clock: Arc<dyn Clock>,
}

#[derive(Debug)]
struct Shared {
    client: RwLock<reqwest::Client>,
    timeouts: Timeouts,
    proxies: Proxies,
}

impl HttpClient {
    /// A client that uses `tls`, as built by [`identity`](crate::identity), for every https URL, and no proxy.
    ///
    /// # Errors
    /// When reqwest does not accept the configuration.
    pub fn new(tls: &ClientConfig, timeouts: Timeouts, clock: Arc<dyn Clock>) -> Result<Self, ClientError> {
        Self::through(Proxies::default(), tls, timeouts, clock)
    }

    /// The same through `proxies`. What passes an HTTP proxy is TLS with the server all the same.
    ///
    /// # Errors
    /// As for [`HttpClient::new`].
    pub fn through(
        proxies: Proxies,
        tls: &ClientConfig,
        timeouts: Timeouts,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ClientError> {
        let client = RwLock::new(client(tls, timeouts, &proxies)?);
        Ok(Self { shared: Arc::new(Shared { client, timeouts, proxies }), clock })
    }

    /// Uses `tls` from the next request on, for all clones. Requests under way end as they began.
    ///
    /// # Errors
    /// As for [`HttpClient::new`]; what was used before stays in use.
    pub fn change_tls(&self, tls: &ClientConfig) -> Result<(), ClientError> {
        let changed = client(tls, self.shared.timeouts, &self.shared.proxies)?;
        *self.shared.client.write().unwrap_or_else(PoisonError::into_inner) = changed;
        Ok(())
    }

    /// Sends `request`; returns when the head of the answer is there, whatever its status.
    ///
    /// Over https the clock learns the answer's `Date`. Cancel-safe in that a dropped call closes its connection.
    ///
    /// # Errors
    /// When no answer came.
    pub async fn send(&self, request: Request) -> Result<Response, TransportError> {
        let url = request.url().clone();
        let client = self.shared.client.read().unwrap_or_else(PoisonError::into_inner).clone();
        let response = client.execute(request).await.map_err(|source| {
            let error = TransportError::new(&url, source);
            error.through(self.shared.proxies.on_the_way_to(&url))
        })?;
        if url.scheme() == "https"
            && let Some(date) = date(&response)
        {
            self.learn(&url, date);
        }
        Ok(response)
    }

    /// The clock this client teaches.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    fn learn(&self, url: &reqwest::Url, date: OffsetDateTime) {
        let host = url.host_str().unwrap_or_default();
        let before = self.clock.skew();
        match self.clock.learn(date) {
            Learnt::Skewed(skew) if (skew - before).abs() > crate::clock::TOLERANCE => {
                tracing::warn!(
                    host,
                    skew_s = skew.whole_seconds(),
                    "the system's clock is wrong; using the server's date"
                );
            }
            Learnt::Refused(floor) => {
                tracing::warn!(host, %date, floor = %floor.moment, because = %floor.reason, "the server's date is before a moment that has passed; not believed");
            }
            Learnt::Agrees | Learnt::Skewed(_) => {}
        }
    }
}

fn client(tls: &ClientConfig, timeouts: Timeouts, proxies: &Proxies) -> Result<reqwest::Client, ClientError> {
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(tls.clone())
        .user_agent(USER_AGENT)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .proxy(proxies.rule())
        .http1_only()
        .connect_timeout(timeouts.connect)
        .read_timeout(timeouts.idle)
        .pool_idle_timeout(Duration::from_secs(30))
        .pool_max_idle_per_host(2)
        .build()?;
    Ok(client)
}

/// The answer's `Date`, if it has a readable one.
pub fn date(response: &Response) -> Option<OffsetDateTime> {
    let text = response.headers().get(http::header::DATE)?.to_str().ok()?;
    httpdate::parse_http_date(text).ok().map(OffsetDateTime::from)
}

/// Why a body could not be read whole.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BodyError {
    /// It is larger than the reader allows.
    #[error("the answer's body is larger than {limit} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The connection failed in the middle.
    #[error("reading the answer's body")]
    Broken(#[source] TransportError),
}

/// Reads the whole body, of at most `limit` bytes.
///
/// # Errors
/// When it is larger, or the connection breaks.
pub async fn read_body(mut response: Response, limit: usize) -> Result<Bytes, BodyError> {
    let url = response.url().clone();
    let mut body = BytesMut::new();
    while let Some(chunk) =
        response.chunk().await.map_err(|source| BodyError::Broken(TransportError::new(&url, source)))?
    {
        if body.len() + chunk.len() > limit {
            return Err(BodyError::TooLarge { limit });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}
