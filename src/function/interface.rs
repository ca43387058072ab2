//! What one process of a function says to the core, over HTTP on loopback.
//!
//! The AWS Lambda Runtime API, 2018-06-01, by which it takes work and gives answers, and V1's daemon interface,
//! 2016-11-01, by which it publishes and invokes others, with its token in `Authorization`. One listener a process: who
//! asks is known by where it asks. What our machine learning SDK says is `learning`'s.
//!
//! Refuses what is not the process's own invocation, larger bodies than a message may have, and more answers waited for
//! than [`MAX_AWAITED`].

mod daemon;
mod learning;
mod runtime_api;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Method, StatusCode};
use percent_encoding::percent_decode_str;
use serde_json::json;
use tokio::sync::{Semaphore, mpsc, oneshot};

pub(super) use self::runtime_api::message;
use super::hub::Hub;
use super::invocation::Outcome;
use super::listener::FunctionListener;
use super::worker::Event;
use crate::router::MAX_PAYLOAD_BYTES;
use crate::secret::Secret;

/// The largest answer of a handler, in bytes: AWS Lambda's limit of 6 MB.
const MAX_ANSWER_BYTES: usize = 6 << 20;

/// Answers of other functions that one process waits for at a time.
const MAX_AWAITED: usize = 64;

/// Pictures and samples of one process that are in memory at a time; more wait.
const MAX_INPUTS: usize = 2;

/// Work for the process.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) id: String,
    pub(super) payload: Bytes,
    /// The client context as JSON in ASCII; `None` for none.
    pub(super) context: Option<String>,
    /// Until when the handler may take, by the system's clock, in milliseconds since 1970.
    pub(super) deadline_ms: i128,
}

/// What a process said.
#[derive(Debug)]
pub(super) enum Said {
    /// It waits for work.
    Ready,
    /// What came of its work.
    Done(String, Outcome),
    /// It could not load its handler; it ends now.
    InitFailed(String),
}

/// The core's side of one process.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) arn: String,
    pub(super) token: Secret,
    pub(super) hub: Hub,
    /// Where work for the process comes from.
    pub(super) work: tokio::sync::Mutex<mpsc::Receiver<Work>>,
    pub(super) events: (u64, mpsc::Sender<(u64, Event)>),
    state: Mutex<DeskState>,
    /// Places for what the machine learning SDK sends.
    inputs: Semaphore,
}

#[derive(Debug, Default)]
struct DeskState {
    /// The invocation that the process works on.
    in_hand: Option<String>,
    /// Requests for work that wait for an answer: a process may have asked twice.
    asking: usize,
    awaited: HashMap<String, oneshot::Receiver<Outcome>>,
}

impl Desk {
    pub(super) fn new(
        (arn, token): (&str, Secret),
        hub: Hub,
        work: mpsc::Receiver<Work>,
        events: (u64, mpsc::Sender<(u64, Event)>),
    ) -> Self {
        let work = tokio::sync::Mutex::new(work);
        Self {
            arn: arn.to_owned(),
            token,
            hub,
            work,
            events,
            state: Mutex::default(),
            inputs: Semaphore::new(MAX_INPUTS),
        }
    }

    fn state(&self) -> MutexGuard<'_, DeskState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a request for work until the guard is dropped, also by its client's going away.
    fn ask(&self) -> Asking<'_> {
        self.state().asking += 1;
        Asking(self)
    }

    async fn say(&self, said: Said) {
        // A supervisor that is gone has no more use for it.
        let (process, events) = &self.events;
        let _ = events.send((*process, Event::Said(said))).await;
    }
}

/// A request for work that waits.
#[derive(Debug)]
struct Asking<'d>(&'d Desk);

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.state().asking -= 1;
    }
}

/// Answers on `listener` until dropped.
pub(super) async fn serve(listener: FunctionListener, desk: Arc<Desk>) {
    let router = Router::new().fallback(answer).with_state(desk);
    if let Err(error) = axum::serve(listener, router).await {
        tracing::warn!(%error, "a function's interface ended");
    }
}

async fn answer(State(desk): State<Arc<Desk>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    match (&parts.method, &segments[..]) {
        (&Method::GET, ["2018-06-01", "runtime", "invocation", "next"]) => runtime_api::next(&desk).await,
        (&Method::POST, ["2018-06-01", "runtime", "invocation", id, "response"]) => {
            runtime_api::response(&desk, id, body).await
        }
        (&Method::POST, ["2018-06-01", "runtime", "invocation", id, "error"]) => {
            runtime_api::error(&desk, id, body).await
        }
        (&Method::POST, ["2018-06-01", "runtime", "init", "error"]) => runtime_api::init_error(&desk, body).await,
        (method, ["2016-11-01", "functions", arn]) => match percent_decode_str(arn).decode_utf8() {
            Ok(arn) if *method == Method::POST => daemon::post(&desk, &arn, &parts.headers, body).await,
            Ok(_) if *method == Method::GET => daemon::result(&desk, &parts.headers).await,
            _ => refused(StatusCode::METHOD_NOT_ALLOWED, "only POST and GET are served"),
        },
        (&Method::POST, ["margay", "1", "inference", service]) => {
            learning::infer(&desk, service, parts.uri.query().unwrap_or_default(), &parts.headers, body).await
        }
        (&Method::POST, ["margay", "1", "feedback", config_id]) => {
            learning::feedback(&desk, config_id, &parts.headers, body).await
        }
        _ => refused(StatusCode::NOT_FOUND, "this interface has no such path"),
    }
}

/// The whole body, of at most `limit` bytes.
async fn read(body: Body, limit: usize) -> Result<Bytes, Box<Response>> {
    let too_large = format!("the body is over {limit} bytes, or broke off");
    to_bytes(body, limit).await.map_err(|_| Box::new(refused(StatusCode::PAYLOAD_TOO_LARGE, &too_large)))
}

fn refused(status: StatusCode, message: &str) -> Response {
    answered(status, json!({ "errorMessage": message, "errorType": "MargayRefusal" }).to_string())
}

fn answered(status: StatusCode, body: impl Into<Body>) -> Response {
    let response = Response::builder().status(status).header(CONTENT_TYPE, "application/json").body(body.into());
    response.unwrap_or_default()
}
