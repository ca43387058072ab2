//! What is answered, path by path. Nothing is stored by browsers, nothing comes from elsewhere, nothing may be embedded
//! elsewhere.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderName, SET_COOKIE};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Uri};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::Shown;
use super::board::{self, Seen};
use super::frames::Picture;
use super::gate::{Admitted, Refusal, parameter};

const PAGE: &str = include_str!("../assets/page.html");
const STYLE: &str = include_str!("../assets/page.css");
const SCRIPT: &str = include_str!("../assets/page.js");
const ICON: &str = include_str!("../assets/icon.svg");

/// How long a question waits for news.
const PATIENCE: Duration = Duration::from_secs(10);

/// What every answer says: keep nothing, take scripts and pictures from here only, be part of no other page.
const HEADERS: [(&str, &str); 6] = [
    ("cache-control", "no-store"),
    (
        "content-security-policy",
        "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'",
    ),
    ("cross-origin-resource-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("referrer-policy", "no-referrer"),
    ("x-content-type-options", "nosniff"),
];

/// Answers a request that the gate has admitted.
pub(super) async fn answer(shown: &Shown, uri: &Uri, admitted: Admitted) -> Response<Body> {
    let mut response = match uri.path() {
        "/" => document("text/html; charset=utf-8", PAGE),
        "/page.css" => document("text/css; charset=utf-8", STYLE),
        "/page.js" => document("text/javascript; charset=utf-8", SCRIPT),
        "/icon.svg" | "/favicon.ico" => document("image/svg+xml", ICON),
        "/state" => state(shown, uri).await,
        "/frame" => frame(shown, uri).await,
        _ => refusal(&Refusal { status: StatusCode::NOT_FOUND, why: "there is no such page" }),
    };
    if let Admitted::Welcome { cookie } = admitted
        && let Ok(cookie) = HeaderValue::try_from(cookie)
    {
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
    response
}

/// `/state?camera=N&prediction=N&status=N`: what the browser does not know yet, as JSON; waits for it.
async fn state(shown: &Shown, uri: &Uri) -> Response<Body> {
    let number = |name| parameter(uri, name).and_then(|value| value.parse().ok()).unwrap_or(0);
    let seen = Seen { prediction: number("prediction"), status: number("status") };
    match shown.board.news(camera(uri), seen, PATIENCE).await {
        Some(news) => response(StatusCode::OK, "application/json", serde_json::to_vec(&news).unwrap_or_default()),
        None => no_camera(),
    }
}

/// `/frame?camera=N&after=N`: a picture other than that of frame `after`, and in headers which it is and what the model
/// made of it; 204 if none comes.
async fn frame(shown: &Shown, uri: &Uri) -> Response<Body> {
    let Some(frames) = shown.cameras.get(camera(uri)) else { return no_camera() };
    let after = parameter(uri, "after").and_then(|value| value.parse().ok());
    match frames.newer(after, PATIENCE).await {
        None => response(StatusCode::NO_CONTENT, "text/plain", Bytes::new()),
        Some(picture) => {
            let mut response = response(StatusCode::OK, picture.media_type, picture.bytes.clone());
            describe(&picture, response.headers_mut());
            response
        }
    }
}

fn describe(picture: &Picture, headers: &mut HeaderMap) {
    headers.insert("margay-frame", picture.frame.into());
    headers.insert("margay-item", picture.item.into());
    let Some(prediction) = &picture.prediction else { return };
    // Labels may be in any script, headers may not.
    let text = serde_json::to_string(&board::Shown::of(prediction)).unwrap_or_default();
    let encoded = utf8_percent_encode(&text, NON_ALPHANUMERIC).to_string();
    if let Ok(value) = HeaderValue::try_from(encoded) {
        headers.insert("margay-prediction", value);
    }
}

fn camera(uri: &Uri) -> usize {
    parameter(uri, "camera").map_or(0, |camera| camera.parse().unwrap_or(usize::MAX))
}

fn no_camera() -> Response<Body> {
    refusal(&Refusal { status: StatusCode::NOT_FOUND, why: "there is no such camera" })
}

fn document(media_type: &'static str, text: &'static str) -> Response<Body> {
    response(StatusCode::OK, media_type, text)
}

/// Says why a request gets no other answer.
pub(super) fn refusal(refusal: &Refusal) -> Response<Body> {
    let mut response = response(refusal.status, "text/plain; charset=utf-8", format!("{}\n", refusal.why));
    if refusal.status == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}

fn response(status: StatusCode, media_type: &'static str, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    for (name, value) in HEADERS {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}

/// The same without its body, for `HEAD`.
pub(super) fn without_body(method: &Method, response: Response<Body>) -> Response<Body> {
    if method == Method::HEAD { response.map(|_| Body::empty()) } else { response }
}
