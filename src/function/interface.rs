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
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::{Body, HttpBody};
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

/// What is read of a body beyond its limit, in bytes, before the connection is closed.
const MAX_THROWN_AWAY: usize = 16 << 20;

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

/// The whole body, of at most `limit` bytes. One that is larger is read on and thrown away: a connection that is closed while
/// its client still sends takes the answer with it.
async fn read(mut body: Body, limit: usize) -> Result<Bytes, Box<Response>> {
    let (mut kept, mut length) = (Vec::new(), 0);
    while length <= limit + MAX_THROWN_AWAY {
        match poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
            None if length <= limit => return Ok(kept.into()),
            None | Some(Err(_)) => break,
            Some(Ok(frame)) => {
                let Ok(data) = frame.into_data() else { continue };
                length += data.len();
                if length <= limit {
                    kept.extend_from_slice(&data);
                }
            }
        }
    }
    let too_large = format!("the body is over {limit} bytes, or broke off");
    Err(Box::new(refused(StatusCode::PAYLOAD_TOO_LARGE, &too_large)))
}

fn refused(status: StatusCode, message: &str) -> Response {
    answered(status, json!({ "errorMessage": message, "errorType": "MargayRefusal" }).to_string())
}

fn answered(status: StatusCode, body: impl Into<Body>) -> Response {
    let response = Response::builder().status(status).header(CONTENT_TYPE, "application/json").body(body.into());
    response.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Poll};

    use http_body::Frame;

    use super::*;

    /// So many frames of a KiB; those that are left.
    struct Frames(Arc<AtomicUsize>);

    impl HttpBody for Frames {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            let left = self.0.load(Ordering::Relaxed);
            self.0.store(left.saturating_sub(1), Ordering::Relaxed);
            Poll::Ready((left > 0).then(|| Ok(Frame::data(Bytes::from_static(&[7; 1024])))))
        }
    }

    /// How a body of so many KiB is read under a limit of 4, and what is left of it.
    async fn after(frames: usize) -> (Result<usize, StatusCode>, usize) {
        let left = Arc::new(AtomicUsize::new(frames));
        let outcome = read(Body::new(Frames(left.clone())), 4096).await;
        (outcome.map(|bytes| bytes.len()).map_err(|refusal| refusal.status()), left.load(Ordering::Relaxed))
    }

    #[tokio::test]
    async fn a_body_that_is_too_large_is_read_to_its_end_before_it_is_refused_within_bounds() {
        assert_eq!(after(4).await, (Ok(4096), 0));
        assert_eq!(after(5).await, (Err(StatusCode::PAYLOAD_TOO_LARGE), 0));
        assert_eq!(after(200).await, (Err(StatusCode::PAYLOAD_TOO_LARGE), 0));
        let (outcome, left) = after(1 << 20).await;
        assert_eq!(outcome, Err(StatusCode::PAYLOAD_TOO_LARGE));
        assert_eq!((1 << 20) - left, (MAX_THROWN_AWAY >> 10) + 5);
    }
}
