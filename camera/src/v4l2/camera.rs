//! One camera, from its device node to its frames.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::adjust::{Adjustments, Control, adjust, controls};
use super::device::Device;
use super::error::CameraError;
use super::identity::{Identity, identify};
use super::kernel::Node;
use super::offer::{FormatOffer, offers};
use super::stream::{Fetched, Lost, Negotiated, Stream};
use super::wish::Wish;
use crate::clock::Clock;
use crate::frame::Capture;
use crate::shared::SharedBytes;

/// A camera that streams. Dropping it stops the camera.
#[derive(Debug)]
pub struct Camera {
    stream: Stream<Node>,
    identity: Identity,
    last: Option<Capture>,
}

/// A frame of a camera, where the driver left it.
#[derive(Debug)]
pub struct Shot<'a> {
    /// What is known about it; its item number is the driver's sequence.
    pub capture: Capture,
    /// Its bytes.
    pub bytes: SharedBytes<'a>,
}

impl Camera {
    /// Opens the camera at `path`, a device node or a link to one, sets it to the nearest to `wish` that it has, starts
    /// it, and waits until a first frame is there: some seconds at most.
    ///
    /// # Errors
    /// [`CameraError`], with what to do about it.
    pub fn open(path: &Path, wish: &Wish, clock: Arc<dyn Clock>) -> Result<Self, CameraError> {
        Self::open_with(path, wish, &Adjustments::default(), clock)
    }

    /// The same, after setting controls and the crop, which stay so when it is closed.
    ///
    /// # Errors
    /// [`CameraError`], with what to do about it.
    pub fn open_with(
        path: &Path,
        wish: &Wish,
        adjustments: &Adjustments,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, CameraError> {
        let (node, identity, offers) = inspect(path)?;
        adjust(&node, path, adjustments)?;
        let mut stream = Stream::start(node, path, &offers, wish, clock)?;
        stream.wait_for_first()?;
        Ok(Self { stream, identity, last: None })
    }

    /// Asks the camera at `path` who it is and what it offers, and leaves it as it is.
    ///
    /// # Errors
    /// [`CameraError`]; a camera that another program captures from can be asked all the same.
    pub fn look(path: &Path) -> Result<(Identity, Vec<FormatOffer>), CameraError> {
        inspect(path).map(|(_, identity, offers)| (identity, offers))
    }

    /// What can be set besides format, size and rate, for the camera at `path`.
    ///
    /// # Errors
    /// [`CameraError`]: it cannot be opened.
    pub fn controls(path: &Path) -> Result<Vec<Control>, CameraError> {
        inspect(path).map(|(node, ..)| controls(&node))
    }

    /// Who it is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// What driver and camera agreed on.
    #[must_use]
    pub fn negotiated(&self) -> &Negotiated {
        self.stream.negotiated()
    }

    /// What was lost since it was opened.
    #[must_use]
    pub fn lost(&self) -> Lost {
        self.stream.lost()
    }

    /// Waits for a frame, at most `timeout`, and takes the newest there is; the buffer of the one before goes back to
    /// the driver. `None`: no whole frame came in this time.
    ///
    /// # Errors
    /// [`CameraError::Stalled`] once nothing has come for some seconds, [`CameraError::Unplugged`] where the device is
    /// gone; neither mends itself, so the camera has to be opened again, after a pause.
    pub fn next(&mut self, timeout: Duration) -> Result<Option<Shot<'_>>, CameraError> {
        self.last = None;
        let fetched = self.stream.fetch(timeout)?;
        self.last = fetched.map(|fetched| describe(self.stream.negotiated(), fetched));
        Ok(self.last())
    }

    /// The frame that [`Camera::next`] took last, as long as no other was asked for.
    #[must_use]
    pub fn last(&self) -> Option<Shot<'_>> {
        Some(Shot { capture: self.last?, bytes: self.stream.bytes() })
    }
}

fn describe(negotiated: &Negotiated, fetched: Fetched) -> Capture {
    let &Negotiated { format, width, height, stride, .. } = negotiated;
    let Fetched { sequence: item, captured_ns, timestamp_source } = fetched;
    Capture { captured_ns, timestamp_source, format, width, height, stride, region: None, item }
}

fn inspect(path: &Path) -> Result<(Node, Identity, Vec<FormatOffer>), CameraError> {
    let node = Node::open(path).map_err(|errno| CameraError::opening(path, errno))?;
    let identity = identify(&node, path)?;
    let offers = list_offers(&node, path)?;
    Ok((node, identity, offers))
}

fn list_offers(device: &impl Device, path: &Path) -> Result<Vec<FormatOffer>, CameraError> {
    offers(device).map_err(|errno| CameraError::failed(path, "asking for the formats of", errno))
}
