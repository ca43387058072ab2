//! From a target's queue to the target: a task that takes one message after the other.
//!
//! Whoever runs a target, a classifier's or a function's supervisor, says by [`Target`] what becomes of a message. While
//! the target is replaced its inbox is kept, and what waits in it goes to the successor.

use std::future::Future;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::queue::{Inbox, Message};

/// What a local target does with its messages.
pub trait Target: Send + 'static {
    /// Takes a message; the next one waits in the queue until it has. Delivery inside the core is one attempt: what
    /// cannot be used is the target's to count.
    fn take(&mut self, message: Message) -> impl Future<Output = ()> + Send;
}

/// The task that brings the messages of one inbox to its target. Dropped, it ends at once, and the inbox with it.
#[derive(Debug)]
pub struct Porter {
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<Inbox>,
}

impl Porter {
    /// Begins to bring what comes into `inbox` to `target`. Must be called within a tokio runtime.
    pub fn begin(mut inbox: Inbox, mut target: impl Target) -> Self {
        let (stop, mut stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            loop {
                // Cancel-safe: no message is taken from the queue that is not brought.
                let message = tokio::select! {
                    biased;
                    _ = &mut stopped => return inbox,
                    message = inbox.next() => message,
                };
                target.take(message).await;
            }
        });
        Self { stop: Some(stop), task }
    }

    /// Ends it when the target has dealt with the message that it has, and gives the inbox with what waits in it; `None`
    /// if the target panicked.
    pub async fn end(mut self) -> Option<Inbox> {
        if let Some(stop) = self.stop.take() {
            // An error means that the task is over.
            let _ = stop.send(());
        }
        (&mut self.task).await.ok()
    }
}

impl Drop for Porter {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[cfg(test)]
mod tests;
