//! One invocation of a function: what it is given, and what comes of it.

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::oneshot;

/// What a function is to work on.
#[derive(Debug)]
pub struct Invocation {
    /// Its number, of hexadecimal digits.
    pub id: String,
    /// The message.
    pub payload: Bytes,
    /// What the function finds as `context.client_context`; `Null` for nothing.
    pub context: Value,
    /// Who waits for the outcome, if anybody does.
    pub reply: Option<oneshot::Sender<Outcome>>,
}

/// What came of an invocation.
pub type Outcome = Result<Bytes, FunctionError>;

/// A function failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionError {
    /// Whether the function itself reported it; otherwise the core found it: a timeout, an end, no memory.
    pub handled: bool,
    /// A JSON document with `errorMessage`.
    pub payload: Bytes,
}

impl FunctionError {
    /// What the core found.
    pub(super) fn unhandled(message: &str) -> Self {
        let payload = serde_json::json!({ "errorMessage": message }).to_string();
        Self { handled: false, payload: payload.into() }
    }

    /// As `X-Amz-Function-Error` names it.
    pub(super) fn kind(&self) -> &'static str {
        if self.handled { "Handled" } else { "Unhandled" }
    }
}

impl Invocation {
    /// A message on `topic`, for which nobody waits.
    pub fn of_message(topic: &str, payload: Bytes) -> Self {
        let context = serde_json::json!({ "custom": { "subject": topic } });
        Self { id: draw_id(), payload, context, reply: None }
    }

    /// Says what came of it to whoever waits.
    pub(super) fn settle(reply: Option<oneshot::Sender<Outcome>>, outcome: Outcome) {
        if let Some(reply) = reply {
            // Whoever waited may be gone.
            let _ = reply.send(outcome);
        }
    }
}

/// A number for an invocation, in the form of a UUID, which clients expect. It is no secret.
pub(crate) fn draw_id() -> String {
    let (high, low) = (fastrand::u64(..), fastrand::u64(..));
    format!(
        "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xffff,
        high & 0xfff,
        low >> 52,
        low & 0xffff_ffff_ffff
    )
}
