//! The token exchange endpoint: where functions' AWS SDKs fetch credentials (`AWS_CONTAINER_CREDENTIALS_FULL_URI`).
//!
//! `GET /2016-11-01/credentialprovider/` on 127.0.0.1 with the function's token, verbatim, in `Authorization`. The
//! checks come in the order of the Greengrass nucleus: 405 method, 400 path, 403 token. SDKs give up after one or two
//! seconds, so every request is answered within [`ANSWER_WITHIN`]: with credentials; with 504 while they are being
//! fetched; with 503 while the provider, which refused or could not be reached, is left alone; with 500 where it gave
//! nonsense. The last three carry a JSON body `{"code","message"}` and `Retry-After`.
//!
//! A function in a network namespace of its own has a loopback of its own: [`Lender::serve_on`] takes a listener
//! that was bound there.
//!
//! Refuses other addresses than loopback, bodies, and more than a handful of connections at a time.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use http::header::{ALLOW, AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, Method, StatusCode};
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::net::TcpListener;

use super::{Credentials, CredentialsError, CredentialsProvider, Lease, Roles, TokenError, TokenRegistry};
use crate::http::listener::BoundedListener;

/// The only path, with its slash (guide: token exchange service).
pub const PATH: &str = "/2016-11-01/credentialprovider/";

/// Every request is answered within this time; the fastest SDK gives up after a second.
pub const ANSWER_WITHIN: Duration = Duration::from_millis(800);

/// Why the endpoint could not start.
#[derive(Debug, thiserror::Error)]
#[error(
    "listening for functions' credential requests on 127.0.0.1:{port}; choose another margay.tokenExchange.port, or 0 for any"
)]
pub struct BindError {
    /// The port asked for.
    pub port: u16,
    /// What the kernel said.
    #[source]
    pub source: io::Error,
}

/// The endpoint, bound.
pub struct TokenExchange {
    listener: TcpListener,
    address: SocketAddr,
    lender: Lender,
}

/// Lends credentials: issues tokens, and serves functions on further listeners. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Lender {
    address: SocketAddr,
    service: Arc<Service>,
}

impl std::fmt::Debug for TokenExchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenExchange").field("address", &self.address).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Service {
    roles: Roles,
    tokens: Arc<TokenRegistry>,
}

impl TokenExchange {
    /// Binds 127.0.0.1:`port`; 0 takes any free port.
    ///
    /// # Errors
    /// When the port is taken.
    pub async fn bind(port: u16, roles: Roles, tokens: Arc<TokenRegistry>) -> Result<Self, BindError> {
        let bind = async {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
            let address = listener.local_addr()?;
            Ok((listener, address))
        };
        let (listener, address) = bind.await.map_err(|source| BindError { port, source })?;
        Ok(Self { listener, address, lender: Lender { address, service: Arc::new(Service { roles, tokens }) } })
    }

    /// The value of `AWS_CONTAINER_CREDENTIALS_FULL_URI`.
    pub fn uri(&self) -> String {
        uri(self.address)
    }

    /// What issues tokens and serves further listeners.
    pub fn lender(&self) -> Lender {
        self.lender.clone()
    }

    /// Serves until dropped.
    ///
    /// # Errors
    /// When the listener fails for good.
    pub async fn serve(self) -> io::Result<()> {
        serve(self.listener, self.lender.service).await
    }
}

impl Lender {
    /// What the function `holder` (an ARN as the group writes it) is started with; a token it had before is revoked.
    ///
    /// # Errors
    /// As for [`TokenRegistry::issue`].
    pub fn lend(&self, holder: &str) -> Result<Lease, TokenError> {
        Ok(Lease::new(uri(self.address), self.service.tokens.issue(holder)?))
    }

    /// The same for a function that is served on `listener`, as by [`Lender::serve_on`].
    ///
    /// # Errors
    /// As for [`TokenRegistry::issue`].
    pub fn lend_on(&self, listener: SocketAddr, holder: &str) -> Result<Lease, TokenError> {
        Ok(Lease::new(uri(listener), self.service.tokens.issue(holder)?))
    }

    /// Takes back what was lent to `holder`.
    pub fn take_back(&self, holder: &str) {
        self.service.tokens.revoke(holder);
    }

    /// Serves on `listener` too, until dropped. It listens on the loopback of another network namespace: a socket stays
    /// in the namespace that it was made in, whoever holds it.
    ///
    /// # Errors
    /// When `listener` listens on another address than loopback, or fails for good.
    pub async fn serve_on(&self, listener: std::net::TcpListener) -> io::Result<()> {
        let address = listener.local_addr()?;
        if !address.ip().is_loopback() {
            let what = format!("credentials are lent on loopback only, not on {address}");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        listener.set_nonblocking(true)?;
        serve(TcpListener::from_std(listener)?, Arc::clone(&self.service)).await
    }
}

fn uri(address: SocketAddr) -> String {
    format!("http://{address}{PATH}")
}

async fn serve(listener: TcpListener, service: Arc<Service>) -> io::Result<()> {
    let router = Router::new().fallback(answer).with_state(service);
    axum::serve(BoundedListener::new(listener), router).await
}

async fn answer(State(service): State<Arc<Service>>, request: Request) -> Response {
    match check(&service.tokens, &request) {
        Err(refusal) => refusal.into(),
        Ok(holder) => service.credentials_for(&holder).await,
    }
}

/// The checks, in the nucleus' order. Returns the token's holder.
fn check(tokens: &TokenRegistry, request: &Request) -> Result<String, Denial> {
    if request.method() != Method::GET {
        return Err(Denial::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", "only GET is served"));
    }
    if request.uri().path() != PATH {
        return Err(Denial::new(StatusCode::BAD_REQUEST, "InvalidPath", format!("only {PATH} is served")));
    }
    token(request.headers()).and_then(|token| tokens.holder_of(token)).ok_or_else(|| {
        let message = "the Authorization header must hold AWS_CONTAINER_AUTHORIZATION_TOKEN of a running function";
        Denial::new(StatusCode::FORBIDDEN, "AccessDenied", message)
    })
}

fn token(headers: &HeaderMap) -> Option<&str> {
    headers.get(AUTHORIZATION)?.to_str().ok()
}

impl Service {
    async fn credentials_for(&self, holder: &str) -> Response {
        let provider = self.roles.of(holder);
        match tokio::time::timeout(ANSWER_WITHIN, provider.get()).await {
            Ok(Ok(credentials)) => granted(&provider, &credentials),
            Ok(Err(error)) => {
                tracing::debug!(holder, class = error.class(), "a function asked for credentials and got none");
                unavailable(&provider, &error).into()
            }
            Err(_) => {
                let message = "the credentials provider has not answered yet";
                Denial { retry_after: Some(1), ..Denial::new(StatusCode::GATEWAY_TIMEOUT, "ProviderSlow", message) }
                    .into()
            }
        }
    }
}

fn granted(provider: &CredentialsProvider, credentials: &Credentials) -> Response {
    // SDKs compare Expiration with the device's own clock, so it is told in that clock's terms.
    let expiration = credentials.expiration - provider.clock().skew();
    let document = Document {
        access_key_id: &credentials.access_key_id,
        secret_access_key: credentials.secret_access_key.expose(),
        token: credentials.session_token.expose(),
        expiration: rfc3339(expiration),
    };
    json(StatusCode::OK, &document)
}

fn unavailable(provider: &CredentialsProvider, error: &CredentialsError) -> Denial {
    let wait = provider.state().next_try_in.unwrap_or_default();
    let status = if error.is_nonsense() { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::SERVICE_UNAVAILABLE };
    Denial {
        retry_after: Some(wait.as_secs().saturating_add(1)),
        ..Denial::new(status, error.class(), error.to_string())
    }
}

/// Seconds are enough, and every SDK reads them.
fn rfc3339(moment: OffsetDateTime) -> String {
    let whole = moment.replace_nanosecond(0).unwrap_or(moment);
    // A date outside the years 0 to 9999 cannot come from a document of RFC 3339.
    whole.format(&Rfc3339).unwrap_or_default()
}

/// The document of a 200; the SDKs' container credentials.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Document<'a> {
    access_key_id: &'a str,
    secret_access_key: &'a str,
    token: &'a str,
    expiration: String,
}

/// Any other answer.
struct Denial {
    status: StatusCode,
    code: &'static str,
    message: String,
    retry_after: Option<u64>,
}

impl Denial {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), retry_after: None }
    }
}

impl From<Denial> for Response {
    fn from(denial: Denial) -> Self {
        #[derive(Serialize)]
        struct Body<'a> {
            code: &'a str,
            message: &'a str,
        }
        let mut response = json(denial.status, &Body { code: denial.code, message: &denial.message });
        if let Some(seconds) = denial.retry_after {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        if denial.status == StatusCode::METHOD_NOT_ALLOWED {
            response.headers_mut().insert(ALLOW, http::HeaderValue::from_static("GET"));
        }
        response
    }
}

fn json(status: StatusCode, document: &impl Serialize) -> Response {
    // Only strings are serialised here, which cannot fail.
    let body = serde_json::to_vec(document).unwrap_or_default();
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, http::HeaderValue::from_static("no-store"));
    headers.insert(CONNECTION, http::HeaderValue::from_static("close"));
    response
}

#[cfg(test)]
mod nucleus_cases;
#[cfg(test)]
mod tests;
