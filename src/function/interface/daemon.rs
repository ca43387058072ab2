//! V1's daemon interface, as greengrasssdk speaks it through `greengrass_ipc_python_sdk`: work for the router is a message,
//! work for another function an invocation.

use axum::body::Body;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::Value;
use subtle::ConstantTimeEq;

use super::{Desk, MAX_AWAITED, MAX_PAYLOAD_BYTES, answered, read, refused};
use crate::function::hub::InvokeError;
use crate::router::{QueueFullPolicy, RouteError};

/// Work for it is a message.
const ROUTER: &str = "GGRouter";

/// Whoever waits for work of these is told that there are none.
const ABSENT: [&str; 2] = ["GGShadowService", "GGSecretManager"];

/// The largest client context, in bytes of Base64.
const MAX_CONTEXT_BYTES: usize = 8 << 10;

/// `POST /2016-11-01/functions/{arn}`.
pub(super) async fn post(desk: &Desk, arn: &str, headers: &HeaderMap, body: Body) -> Response {
    if let Err(refusal) = check_token(desk, headers) {
        return *refusal;
    }
    let context = match context(headers) {
        Ok(context) => context,
        Err(why) => return refused(StatusCode::BAD_REQUEST, why),
    };
    let payload = match read(body, MAX_PAYLOAD_BYTES).await {
        Ok(payload) => payload,
        Err(too_large) => return *too_large,
    };
    match arn.strip_prefix("arn:aws:lambda:::function:").map(|name| name.split(':').next().unwrap_or(name)) {
        Some(ROUTER) => publish(desk, &context, payload),
        Some(name) if ABSENT.contains(&name) => {
            refused(StatusCode::NOT_IMPLEMENTED, &format!("this version has no {name}"))
        }
        _ => invoke(desk, arn, context, payload, header(headers, "x-amz-invocation-type") != Some("Event")),
    }
}

fn publish(desk: &Desk, context: &Value, payload: Bytes) -> Response {
    let custom = |name: &str| context.pointer("/custom").and_then(|custom| custom.get(name)?.as_str());
    let Some(topic) = custom("subject") else {
        return refused(StatusCode::BAD_REQUEST, "a message has its topic in custom.subject of the client context");
    };
    let policy: QueueFullPolicy = match custom("queueFullPolicy").unwrap_or_default().parse() {
        Ok(policy) => policy,
        Err(unknown) => return refused(StatusCode::BAD_REQUEST, &format!("{unknown}")),
    };
    match desk.hub.publish(&desk.arn, topic, payload, policy) {
        Ok(()) => numbered(&crate::function::invocation::draw_id()),
        Err(error @ RouteError::PutOff { .. }) => refused(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
        Err(error) => refused(StatusCode::BAD_REQUEST, &error.to_string()),
    }
}

fn invoke(desk: &Desk, arn: &str, context: Value, payload: Bytes, wait: bool) -> Response {
    if wait && desk.state().awaited.len() >= MAX_AWAITED {
        return refused(StatusCode::TOO_MANY_REQUESTS, "as many answers are waited for as may");
    }
    match desk.hub.invoke(arn, payload, context, wait) {
        Ok((id, outcome)) => {
            if let Some(outcome) = outcome {
                desk.state().awaited.insert(id.clone(), outcome);
            }
            numbered(&id)
        }
        Err(error @ InvokeError::Unknown { .. }) => refused(StatusCode::NOT_FOUND, &error.to_string()),
        Err(error @ InvokeError::Full { .. }) => refused(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
    }
}

/// `GET /2016-11-01/functions/{arn}`: waits for the outcome of an invocation.
pub(super) async fn result(desk: &Desk, headers: &HeaderMap) -> Response {
    if let Err(refusal) = check_token(desk, headers) {
        return *refusal;
    }
    let awaited = header(headers, "x-amz-invocationid").and_then(|id| desk.state().awaited.remove(id));
    let Some(awaited) = awaited else {
        return refused(StatusCode::NOT_FOUND, "no outcome of an invocation of that number is waited for");
    };
    match awaited.await {
        Ok(Ok(payload)) => answered(StatusCode::OK, payload),
        Ok(Err(error)) => {
            let mut response = answered(StatusCode::OK, error.payload.clone());
            response.headers_mut().insert("x-amz-function-error", HeaderValue::from_static(error.kind()));
            response
        }
        Err(_) => refused(StatusCode::SERVICE_UNAVAILABLE, "the function was stopped before it had answered"),
    }
}

pub(super) fn check_token(desk: &Desk, headers: &HeaderMap) -> Result<(), Box<Response>> {
    let given = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes).unwrap_or_default();
    if given.ct_eq(desk.token.expose().as_bytes()).into() {
        return Ok(());
    }
    let why = "the Authorization header must hold AWS_CONTAINER_AUTHORIZATION_TOKEN of this function";
    Err(Box::new(refused(StatusCode::FORBIDDEN, why)))
}

/// The client context: Base64 of a JSON object.
fn context(headers: &HeaderMap) -> Result<Value, &'static str> {
    const RULE: &str = "X-Amz-Client-Context is Base64 of a JSON object, of at most 8 KiB";
    let Some(text) = header(headers, "x-amz-client-context") else { return Ok(Value::Null) };
    if text.len() > MAX_CONTEXT_BYTES {
        return Err(RULE);
    }
    let document = STANDARD.decode(text).map_err(|_| RULE)?;
    let context: Value = serde_json::from_slice(&document).map_err(|_| RULE)?;
    if context.is_object() { Ok(context) } else { Err(RULE) }
}

fn header<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

fn numbered(id: &str) -> Response {
    let mut response = answered(StatusCode::OK, "");
    if let Ok(id) = HeaderValue::from_str(id) {
        response.headers_mut().insert("x-amz-invocationid", id);
    }
    response
}
