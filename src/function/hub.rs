//! Where functions meet: what they publish goes to the router, what they invoke to each other.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::oneshot;

use super::invocation::{Invocation, Outcome, draw_id};
use super::learning::Learning;
use super::supervisor::Handle;
use crate::mqtt::spool::Worth;
use crate::router::{Endpoint, Outgoing, QueueFullPolicy, RouteError, Router};

/// Why a function is not invoked by another.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvokeError {
    /// The group has no such function, or it does not run.
    #[error("{arn} is no function of this group that runs")]
    Unknown { arn: String },
    /// Too many wait.
    #[error("{arn} has as many invocations waiting as may; try again later")]
    Full { arn: String },
}

/// The functions that run, and the router. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Hub(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    router: Arc<Router>,
    learning: Arc<dyn Learning>,
    functions: RwLock<HashMap<String, Handle>>,
}

impl Hub {
    /// No functions yet; messages go through `router`, and `learning` answers for the machine learning connectors.
    pub fn new(router: Arc<Router>, learning: Arc<dyn Learning>) -> Self {
        Self(Arc::new(Inner { router, learning, functions: RwLock::default() }))
    }

    pub(super) fn learning(&self) -> &dyn Learning {
        self.0.learning.as_ref()
    }

    pub(super) fn router(&self) -> &Router {
        &self.0.router
    }

    pub(super) fn enter(&self, handle: Handle) {
        let mut functions = self.0.functions.write().unwrap_or_else(PoisonError::into_inner);
        functions.insert(handle.arn().to_owned(), handle);
    }

    pub(super) fn leave(&self, arn: &str) {
        self.0.functions.write().unwrap_or_else(PoisonError::into_inner).remove(arn);
    }

    /// Gives a message of the function `source` to whom subscriptions name. One that no subscription names is discarded,
    /// as V1 did.
    pub(super) fn publish(
        &self,
        source: &str,
        topic: &str,
        payload: Bytes,
        policy: QueueFullPolicy,
    ) -> Result<(), RouteError> {
        let source = Endpoint::Function(source.to_owned());
        match self.0.router.publish(Outgoing { source: &source, topic, payload, mark: (0, Worth::OfFunction), policy })
        {
            Ok(_) | Err(RouteError::NoRoute { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Has the function `arn` work on `payload`. Gives the invocation's number, and where its outcome arrives if it is
    /// waited for.
    pub(super) fn invoke(
        &self,
        arn: &str,
        payload: Bytes,
        context: Value,
        wait: bool,
    ) -> Result<(String, Option<oneshot::Receiver<Outcome>>), InvokeError> {
        let functions = self.0.functions.read().unwrap_or_else(PoisonError::into_inner);
        let handle = functions.get(arn).ok_or_else(|| InvokeError::Unknown { arn: arn.to_owned() })?;
        let (reply, outcome) = oneshot::channel();
        let id = draw_id();
        let (reply, outcome) = if wait { (Some(reply), Some(outcome)) } else { (None, None) };
        let invocation = Invocation { id: id.clone(), payload, context, reply };
        handle.submit(invocation).map_err(|()| InvokeError::Full { arn: arn.to_owned() })?;
        Ok((id, outcome))
    }
}
