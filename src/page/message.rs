//! What the core and the viewer say to each other, as JSON over [`crate::ipc`].

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::payload::Prediction;

/// From the core to the viewer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToViewer {
    /// Serve browsers from the listening socket that comes along.
    Begin {
        /// The socket's port, as browsers name it.
        port: u16,
        /// SHA-256 of the token that they must show, in hexadecimal digits.
        token_digest: String,
        /// How many cameras there are.
        cameras: usize,
    },
    /// Frames of a camera are to be read from the ring whose memfd comes along, and no longer from the one before it.
    Ring {
        /// The camera's number, from 0.
        camera: usize,
    },
    /// A frame was classified.
    Predicted {
        /// The camera's number, from 0.
        camera: usize,
        /// The payload as published.
        prediction: Box<Prediction>,
    },
    /// The core's status, as on its status socket. The viewer hands it on and reads nothing in it.
    Status {
        /// The document.
        status: Value,
    },
}

/// From the viewer to the core.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FromViewer {
    /// Browsers are served.
    Serving,
}
