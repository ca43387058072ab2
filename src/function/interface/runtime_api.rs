//! The AWS Lambda Runtime API, as `awslambdaric`, `lambda_runtime` and other custom runtimes speak it (Lambda developer
//! guide, "Using the Lambda runtime API for custom runtimes").

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, StatusCode};
use serde_json::Value;

use super::{Desk, MAX_ANSWER_BYTES, Said, answered, read, refused};
use crate::function::invocation::{FunctionError, Outcome};

/// The largest description of an error, in bytes.
const MAX_ERROR_BYTES: usize = 64 << 10;

/// What a runtime is told when it was heard.
const ACCEPTED: &str = "{\"status\":\"OK\"}";

/// `GET invocation/next`: waits for work for as long as it takes.
pub(super) async fn next(desk: &Desk) -> Response {
    let asking = desk.ask();
    desk.say(Said::Ready).await;
    let work = desk.work.lock().await.recv().await;
    drop(asking);
    let Some(work) = work else {
        return refused(StatusCode::GONE, "the core ends this process");
    };
    desk.state().in_hand = Some(work.id.clone());
    let mut response = answered(StatusCode::OK, work.payload);
    let headers = response.headers_mut();
    let deadline = work.deadline_ms.to_string();
    let context = work.context.as_deref();
    let said = [
        ("lambda-runtime-aws-request-id", Some(work.id.as_str())),
        ("lambda-runtime-deadline-ms", Some(deadline.as_str())),
        ("lambda-runtime-invoked-function-arn", Some(desk.arn.as_str())),
        ("lambda-runtime-client-context", context),
    ];
    for (name, value) in said {
        if let Some(Ok(value)) = value.map(HeaderValue::from_str) {
            headers.insert(name, value);
        }
    }
    response
}

/// `POST invocation/{id}/response`.
pub(super) async fn response(desk: &Desk, id: &str, body: Body) -> Response {
    let outcome = match read(body, MAX_ANSWER_BYTES).await {
        Ok(payload) => Ok(payload),
        Err(too_large) => {
            let message = format!("the handler's answer is over {MAX_ANSWER_BYTES} bytes, or broke off");
            done(desk, id, Err(FunctionError::unhandled(&message))).await;
            return *too_large;
        }
    };
    done(desk, id, outcome).await
}

/// `POST invocation/{id}/error`.
pub(super) async fn error(desk: &Desk, id: &str, body: Body) -> Response {
    match read(body, MAX_ERROR_BYTES).await {
        Ok(payload) => done(desk, id, Err(FunctionError { handled: true, payload })).await,
        Err(too_large) => {
            done(desk, id, Err(FunctionError::unhandled("the handler failed, at great length"))).await;
            *too_large
        }
    }
}

/// `POST init/error`.
pub(super) async fn init_error(desk: &Desk, body: Body) -> Response {
    let said = match read(body, MAX_ERROR_BYTES).await {
        Ok(said) => said,
        Err(too_large) => return *too_large,
    };
    desk.say(Said::InitFailed(message(&said))).await;
    answered(StatusCode::ACCEPTED, ACCEPTED)
}

async fn done(desk: &Desk, id: &str, outcome: Outcome) -> Response {
    let own = {
        let mut state = desk.state();
        let own = state.in_hand.as_deref() == Some(id);
        if own {
            state.in_hand = None;
        }
        own
    };
    if !own {
        return refused(StatusCode::BAD_REQUEST, "this process does not work on an invocation of that number");
    }
    desk.say(Said::Done(id.to_owned(), outcome)).await;
    let asks_already = desk.state().asking > 0;
    if asks_already {
        // It asked while it worked, and need not ask again.
        desk.say(Said::Ready).await;
    }
    answered(StatusCode::ACCEPTED, ACCEPTED)
}

/// What an error document says, in one line.
pub(in crate::function) fn message(document: &[u8]) -> String {
    let fields: Value = serde_json::from_slice(document).unwrap_or_default();
    let text = |name: &str| fields.get(name).and_then(Value::as_str);
    let said = match (text("errorType"), text("errorMessage")) {
        (Some(kind), Some(message)) => format!("{kind}: {message}"),
        (_, Some(message)) => message.to_owned(),
        _ => String::from_utf8_lossy(document).into_owned(),
    };
    said.chars().take(400).collect::<String>().escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_said_in_one_bounded_line() {
        assert_eq!(message(b"{\"errorType\":\"KeyError\",\"errorMessage\":\"'a'\\nb\"}"), "KeyError: \\'a\\'\\nb");
        assert_eq!(message(b"{\"errorMessage\":\"no\"}"), "no");
        assert_eq!(message(b"plain"), "plain");
        assert!(message(&[b'x'; 9000]).len() <= 400);
    }
}
