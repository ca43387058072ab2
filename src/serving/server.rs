//! The server: who may ask, how much, and which path means what.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HOST, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::model::{Model, ServeError};
use super::request::{BadRequest, Order};
use super::response::{self, Answer};
use crate::causes::explain;

/// The most connections at a time; more wait to be accepted.
const MAX_CONNECTIONS: usize = 64;

/// The largest request, in bytes: the input tensor of the largest model, and its head.
const MAX_BODY: usize = 52 * 1024 * 1024;

/// Requests whose bodies are in memory at a time.
const MAX_BODIES: usize = 4;

/// How long a client may take to send a head, and a body.
const HEAD_WITHIN: Duration = Duration::from_secs(10);
const BODY_WITHIN: Duration = Duration::from_secs(60);

/// Rest after a connection could not be accepted: for want of descriptors, the next could not be either.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// How much of a body is JSON; bytes follow (binary tensor data extension).
const HEAD_LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");

const EXTENSIONS: [&str; 4] = ["classification", "binary_tensor_data", "model_configuration", "statistics"];

/// What every connection needs.
#[derive(Debug)]
struct Served {
    port: u16,
    models: Vec<Arc<Model>>,
    bodies: Semaphore,
}

/// Serves `models` on `listener`, which is bound to loopback, until dropped.
///
/// # Errors
/// When the listener's own address cannot be told.
pub async fn serve(listener: TcpListener, models: Vec<Arc<Model>>) -> std::io::Result<()> {
    let port = listener.local_addr()?.port();
    let served = Arc::new(Served { port, models, bodies: Semaphore::new(MAX_BODIES) });
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        // The semaphore is never closed.
        let Ok(place) = places.clone().acquire_owned().await else { return Ok(()) };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_REST).await;
            continue;
        };
        let served = served.clone();
        tokio::spawn(async move {
            converse(stream, served).await;
            drop(place);
        });
    }
}

async fn converse(stream: TcpStream, served: Arc<Served>) {
    // A client that is gone is noticed by the next write.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request: Request<Incoming>| {
        let served = served.clone();
        async move { Ok::<_, Infallible>(served.respond(request.map(Body::new)).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .serve_connection(TokioIo::new(stream), service);
    // A connection that breaks off is the client's affair.
    let _ = connection.await;
}

/// A request that gets no outputs: the protocol's `{"error": …}`.
#[derive(Debug)]
struct Refusal(StatusCode, String);

impl From<BadRequest> for Refusal {
    fn from(error: BadRequest) -> Self {
        Self(StatusCode::BAD_REQUEST, error.0)
    }
}

impl From<ServeError> for Refusal {
    fn from(error: ServeError) -> Self {
        let status = match &error {
            ServeError::Refused { .. } => StatusCode::BAD_REQUEST,
            ServeError::Busy | ServeError::Worker(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self(status, explain(&error))
    }
}

impl Served {
    async fn respond(&self, request: Request<Body>) -> Response<Body> {
        self.answer(request).await.unwrap_or_else(|Refusal(status, error)| {
            let mut response = document(status, &json!({ "error": error }));
            if status == StatusCode::SERVICE_UNAVAILABLE {
                response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            response
        })
    }

    async fn answer(&self, request: Request<Body>) -> Result<Response<Body>, Refusal> {
        // A page of another site may point its own host name at 127.0.0.1.
        if !is_loopback(request.headers(), self.port) {
            let why = "models are served as 127.0.0.1 and localhost only".to_owned();
            return Err(Refusal(StatusCode::MISDIRECTED_REQUEST, why));
        }
        let path = request.uri().path().to_owned();
        let words: Vec<&str> = path.trim_matches('/').split('/').collect();
        let said = |value: &Value| Ok(document(StatusCode::OK, value));
        match (request.method(), words.as_slice()) {
            (&Method::GET, ["v2"]) => said(&json!({
                "name": "margay", "version": env!("CARGO_PKG_VERSION"), "extensions": EXTENSIONS,
            })),
            (&Method::GET, ["v2", "health", "live"]) => said(&json!({ "live": true })),
            (&Method::GET, ["v2", "health", "ready"]) => self.ready(&self.models).await,
            (&Method::GET, ["v2", "models", "stats"]) => said(
                &json!({ "model_stats": self.models.iter().map(|m| m.statistics()["model_stats"][0].clone()).collect::<Vec<_>>() }),
            ),
            (method, ["v2", "models", name, "versions", version, rest @ ..]) => {
                let model = self.model(name, Some(version))?;
                self.ask(&method.clone(), rest, model, request).await
            }
            (method, ["v2", "models", name, rest @ ..]) => {
                let model = self.model(name, None)?;
                self.ask(&method.clone(), rest, model, request).await
            }
            _ => Err(unknown(request.method(), &path)),
        }
    }

    async fn ask(
        &self,
        method: &Method,
        what: &[&str],
        model: &Arc<Model>,
        request: Request<Body>,
    ) -> Result<Response<Body>, Refusal> {
        let said = |value: &Value| Ok(document(StatusCode::OK, value));
        match (method, what) {
            (&Method::GET, []) => said(&model.metadata()),
            (&Method::GET, ["ready"]) => self.ready(std::slice::from_ref(model)).await,
            (&Method::GET, ["config"]) => said(&model.configuration()),
            (&Method::GET, ["stats"]) => said(&model.statistics()),
            (&Method::POST, ["infer"]) => self.infer(model, request).await,
            _ => Err(unknown(method, request.uri().path())),
        }
    }

    fn model(&self, name: &str, version: Option<&str>) -> Result<&Arc<Model>, Refusal> {
        let found = self.models.iter().find(|model| model.name == name);
        found.filter(|model| version.is_none_or(|version| model.version == version)).ok_or_else(|| {
            let there: Vec<_> = self.models.iter().map(|m| format!("{} version {}", m.name, m.version)).collect();
            let version = version.map(|version| format!(" version {version}")).unwrap_or_default();
            Refusal(StatusCode::NOT_FOUND, format!("no model {name}{version}: there are {}", there.join(", ")))
        })
    }

    async fn ready(&self, models: &[Arc<Model>]) -> Result<Response<Body>, Refusal> {
        for model in models {
            if !model.is_ready().await {
                return Err(Refusal(StatusCode::SERVICE_UNAVAILABLE, format!("{} has no worker now", model.name)));
            }
        }
        Ok(document(StatusCode::OK, &json!({ "ready": true })))
    }

    async fn infer(&self, model: &Arc<Model>, request: Request<Body>) -> Result<Response<Body>, Refusal> {
        let (head, body) = request.into_parts();
        if let Some(encoding) = head.headers.get(CONTENT_ENCODING).filter(|encoding| *encoding != "identity") {
            let why = format!("Content-Encoding {encoding:?} is not served: send the body as it is");
            return Err(Refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, why));
        }
        let head_length = length(&head.headers)?;
        let order = {
            let _place = self.bodies.acquire().await;
            let body = tokio::time::timeout(BODY_WITHIN, to_bytes(body, MAX_BODY)).await;
            let body = body.map_err(|_| Refusal(StatusCode::REQUEST_TIMEOUT, "the body came too slowly".to_owned()))?;
            let body = body.map_err(|_| {
                Refusal(StatusCode::PAYLOAD_TOO_LARGE, format!("the body broke off, or is over {MAX_BODY} bytes"))
            })?;
            Order::read(&body, head_length, &model.input, &model.output)?
        };
        let Order { input, .. } = order;
        let order = Order { input: Vec::new(), ..order };
        let outputs = model.score(input).await?;
        Ok(answered(response::answer(model, &order, &outputs)))
    }
}

fn unknown(method: &Method, path: &str) -> Refusal {
    Refusal(StatusCode::NOT_FOUND, format!("{method} {path} means nothing here; GET /v2 says who serves"))
}

fn is_loopback(headers: &HeaderMap, port: u16) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
    let Ok(host) = host.to_str() else { return false };
    let (name, given) = host.rsplit_once(':').unwrap_or((host, "80"));
    (name == "127.0.0.1" || name.eq_ignore_ascii_case("localhost")) && given.parse() == Ok(port)
}

fn length(headers: &HeaderMap) -> Result<Option<usize>, BadRequest> {
    let Some(value) = headers.get(HEAD_LENGTH) else { return Ok(None) };
    let length = value.to_str().ok().and_then(|value| value.parse().ok());
    length.map(Some).ok_or_else(|| BadRequest(format!("Inference-Header-Content-Length is {value:?}: not a number")))
}

fn answered(answer: Answer) -> Response<Body> {
    let mut response = Response::new(Body::from(answer.body));
    let kind = if answer.head_length.is_some() { "application/octet-stream" } else { "application/json" };
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    if let Some(length) = answer.head_length {
        response.headers_mut().insert(HEAD_LENGTH, length.into());
    }
    response
}

fn document(status: StatusCode, value: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(value.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
