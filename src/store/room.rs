//! How much the store may hold (`margay.packages.quotaBytes`), who holds it, and what makes room.
//!
//! Counted is what the disk must hold at one time: the files of the models, the archives that are being downloaded, and
//! what is being unpacked. Room is booked before it is used, so that two deployments at once do not count on the same
//! bytes. A model is removed only if no resource runs it or ran it before, and nobody in this process works with it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::error::StoreError;
use super::inventory::{Kept, Use, inventory};
use super::scratch::Scratch;
use super::space::mebibytes;
use crate::disk;
use crate::package::Sha256Digest;

/// What a collection removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Models.
    pub models: u64,
    /// Bytes of their files.
    pub bytes: u64,
}

/// A package does not fit into the store's quota, whatever is removed that may be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct QuotaExceeded {
    /// What the store may hold, in bytes.
    pub quota: u64,
    /// What is wanted beside what it holds, in bytes.
    pub needed: u64,
    /// What downloads and packages being unpacked have booked, in bytes, this one's earlier bookings included.
    pub booked: u64,
    /// The models that stay: what each is kept for, and its bytes.
    pub kept: Vec<(String, u64)>,
}

impl fmt::Display for QuotaExceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { quota, needed, booked, kept } = self;
        let (quota, needed) = (mebibytes(*quota), mebibytes(*needed));
        write!(f, "the store may hold {quota} (margay.packages.quotaBytes), and {needed} more are needed beside ")?;
        for (reason, bytes) in kept {
            write!(f, "{} {reason}, ", mebibytes(*bytes))?;
        }
        write!(f, "{} of downloads under way; ", mebibytes(*booked))?;
        f.write_str("raise quotaBytes, deploy a smaller package, or take a model out of the group")
    }
}

/// The store's room.
#[derive(Debug)]
pub(super) struct Room {
    root: PathBuf,
    quota: Option<u64>,
    booked: Mutex<u64>,
    pins: Mutex<BTreeMap<String, Weak<()>>>,
}

/// Keeps one model from being removed for as long as it lives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Pin(Option<Arc<()>>);

impl Room {
    /// The room of the store in `root`; without a `quota`, only the disk bounds it.
    pub(super) fn new(root: &Path, quota: Option<u64>) -> Arc<Self> {
        Arc::new(Self { root: root.to_owned(), quota, booked: Mutex::default(), pins: Mutex::default() })
    }

    /// A booking of nothing yet.
    pub(super) fn book(self: &Arc<Self>) -> Booking {
        Booking { room: self.clone(), bytes: 0 }
    }

    /// Keeps the model of `digest`, installed or about to be.
    pub(super) fn pin(&self, digest: &Sha256Digest) -> Pin {
        let mut pins = lock(&self.pins);
        let known = pins.get(&digest.to_string()).and_then(Weak::upgrade);
        let pin = known.unwrap_or_default();
        pins.insert(digest.to_string(), Arc::downgrade(&pin));
        Pin(Some(pin))
    }

    /// Removes every model that may be removed.
    pub(super) fn collect(&self) -> Result<Pruned, StoreError> {
        let mut pins = lock(&self.pins);
        pins.retain(|_, pin| pin.strong_count() > 0);
        let mut pruned = Pruned::default();
        for model in inventory(&self.root, false)? {
            if !model.uses.is_empty() || pins.contains_key(&model.digest) {
                continue;
            }
            // Out of sight first: a half-removed directory must not lie under its digest.
            let grave = Scratch::directory_within(&self.root.join("tmp"))?;
            let moved = grave.path().join("model");
            disk::publish(&model.directory, &moved).map_err(StoreError::io("removing", &model.directory))?;
            pruned.bytes += model.bytes;
            pruned.models += 1;
        }
        Ok(pruned)
    }

    /// Refuses `more` bytes beside what is kept and `booked`, even after a collection.
    fn check(&self, quota: u64, booked: u64, more: u64) -> Result<(), StoreError> {
        let fits = |kept: &[Kept]| {
            let held = kept.iter().fold(booked, |sum, model| sum.saturating_add(model.bytes));
            held.saturating_add(more) <= quota
        };
        if fits(&inventory(&self.root, false)?) {
            return Ok(());
        }
        let pruned = self.collect()?;
        if pruned.models > 0 {
            tracing::info!(models = pruned.models, bytes = pruned.bytes, "old models made room for a new one");
        }
        let kept = inventory(&self.root, false)?;
        if fits(&kept) {
            return Ok(());
        }
        let kept = kept.into_iter().map(|model| (reason(&model), model.bytes)).collect();
        Err(QuotaExceeded { quota, needed: more, booked, kept }.into())
    }
}

/// What a model is kept for, after its size.
fn reason(model: &Kept) -> String {
    let reasons = model.uses.iter().map(|used| match used {
        Use::Current(resource) => format!("run for {resource}"),
        Use::Previous(resource) => format!("ran before for {resource}"),
    });
    let reasons: Vec<String> = reasons.collect();
    if reasons.is_empty() { "are being deployed".to_owned() } else { reasons.join(" and ") }
}

/// Bytes that are spoken for, given back when dropped.
#[derive(Debug)]
pub(super) struct Booking {
    room: Arc<Room>,
    bytes: u64,
}

impl Booking {
    /// Makes the booking at least `bytes`; removes models where that makes the room.
    pub(super) fn grow_to(&mut self, bytes: u64) -> Result<(), StoreError> {
        let (Some(quota), more) = (self.room.quota, bytes.saturating_sub(self.bytes)) else { return Ok(()) };
        if more == 0 {
            return Ok(());
        }
        let mut booked = lock(&self.room.booked);
        self.room.check(quota, *booked, more)?;
        *booked += more;
        self.bytes += more;
        Ok(())
    }
}

impl Drop for Booking {
    fn drop(&mut self) {
        let mut booked = lock(&self.room.booked);
        *booked = booked.saturating_sub(self.bytes);
    }
}

/// Asks for the room that a download needs, once its size is known.
#[derive(Debug, Clone)]
pub struct Admission(Arc<Mutex<Booking>>);

impl Admission {
    pub(super) fn to(room: &Arc<Room>) -> Self {
        Self(Arc::new(Mutex::new(room.book())))
    }

    /// Books room for an archive of `bytes` until its download is dropped. Blocks while old models are removed.
    ///
    /// # Errors
    /// [`StoreError::Quota`] where the store may not hold that much more.
    pub fn ask(&self, bytes: u64) -> Result<(), StoreError> {
        lock(&self.0).grow_to(bytes)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
