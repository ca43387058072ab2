//! How the others reach a function: messages one after the other, invocations as far as there is room, its status.

use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc, watch};

use crate::function::invocation::Invocation;
use crate::function::status::{FunctionStatus, Told};
use crate::metrics::Counter;
use crate::router::{Message, Target};

/// A function that runs. Cheap to clone.
#[derive(Debug, Clone)]
pub(in crate::function) struct Handle {
    arn: Arc<str>,
    requests: mpsc::Sender<Invocation>,
    /// Places for invocations by other functions that wait (`runtime.maxWorkItemCount`).
    places: Arc<Semaphore>,
    refused: Arc<Counter>,
    status: watch::Receiver<Told>,
}

impl Handle {
    pub(in crate::function) fn new(
        arn: &str,
        requests: mpsc::Sender<Invocation>,
        work_items: usize,
        status: watch::Receiver<Told>,
    ) -> Self {
        let places = Arc::new(Semaphore::new(work_items.min(Semaphore::MAX_PERMITS)));
        Self { arn: arn.into(), requests, places, refused: Arc::default(), status }
    }

    pub(in crate::function) fn arn(&self) -> &str {
        &self.arn
    }

    /// Has it work on something that another function asks for; nothing if as many wait as may. Within a tokio runtime.
    pub(in crate::function) fn submit(&self, invocation: Invocation) -> Result<(), ()> {
        let Ok(place) = self.places.clone().try_acquire_owned() else {
            self.refused.count();
            return Err(());
        };
        let requests = self.requests.clone();
        tokio::spawn(async move {
            // Fails when the function ends: dropped, the invocation tells who waits.
            let _ = requests.send(invocation).await;
            drop(place);
        });
        Ok(())
    }

    /// How it stands now.
    pub(in crate::function) fn status(&self) -> FunctionStatus {
        let told = self.status.borrow().clone();
        FunctionStatus { refused: self.refused.get(), ..told.looked_at() }
    }
}

/// The function at the end of its queue.
#[derive(Debug)]
pub(in crate::function) struct FunctionTarget(pub(in crate::function) Handle);

impl Target for FunctionTarget {
    async fn take(&mut self, message: Message) {
        let invocation = Invocation::of_message(message.topic.as_str(), message.payload);
        // A function that ends takes no more; its successor gets what still waits in the queue.
        let _ = self.0.requests.send(invocation).await;
    }
}
