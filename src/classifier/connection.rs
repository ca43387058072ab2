//! A connection to a camera of the network, made by the core for a capture worker that has no network.
//!
//! The core makes the connection and reads nothing from it: the worker that parses what the camera sends can reach this
//! one camera, and nothing else, for as long as the connection lasts.

use std::io;
use std::os::fd::OwnedFd;

use margay_camera::source::{CONNECTING, HttpError, HttpUrl};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// Connects to where `url` says, within [`CONNECTING`], looking up its name included.
///
/// # Errors
/// [`HttpError::Connecting`].
pub async fn connect(url: &HttpUrl) -> Result<OwnedFd, HttpError> {
    // All of the name's addresses are tried in turn.
    let connected = tokio::time::timeout(CONNECTING, TcpStream::connect((url.host(), url.port()))).await;
    let connected = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    let connection = connected.and_then(TcpStream::into_std).map(OwnedFd::from);
    connection.map_err(|source| HttpError::Connecting { url: url.clone(), source })
}

/// A connection that is being made, or none.
#[derive(Debug, Default)]
pub(super) struct Connecting(Option<JoinHandle<Result<OwnedFd, HttpError>>>);

impl Connecting {
    /// Begins to connect.
    pub(super) fn begin(&mut self, url: HttpUrl) {
        self.0 = Some(tokio::spawn(async move { connect(&url).await }));
    }

    /// What came of it; waits for ever where no connection is being made. Cancel-safe.
    pub(super) async fn made(&mut self) -> Result<OwnedFd, HttpError> {
        let Some(task) = &mut self.0 else { return std::future::pending().await };
        let made = task.await;
        self.0 = None;
        match made {
            Ok(made) => made,
            // A panic was logged when it happened.
            Err(_) => std::future::pending().await,
        }
    }
}

impl Drop for Connecting {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}
