//! Which confinement this host has turned out to allow.
//!
//! Whether namespaces work is often known only by trying (a container's policy, AppArmor). A refusal is remembered with its
//! reason for the life of the core, so that later workers neither pay for the attempt nor lose the explanation.

use std::sync::{Mutex, PoisonError};

use crate::host::{self, Host};
use crate::order::{Confinement, Failure};

/// A confinement to try, and why it is not a stronger one.
#[derive(Debug, Clone)]
pub(super) struct Rung {
    pub confinement: Confinement,
    pub refusal: Option<String>,
}

static REMEMBERED: Mutex<Option<Rung>> = Mutex::new(None);

/// The strongest confinement that was not refused yet.
pub(super) fn current() -> Rung {
    let mut remembered = REMEMBERED.lock().unwrap_or_else(PoisonError::into_inner);
    remembered.get_or_insert_with(foreseen).clone()
}

fn foreseen() -> Rung {
    let confinement = host::strongest();
    let foreseen_refusal = || Host::probe().namespaces.detail().to_owned();
    Rung { confinement, refusal: (!confinement.has_namespaces()).then(foreseen_refusal) }
}

/// Remembers a refusal. False when there is nothing weaker to try.
pub(super) fn step_down(from: &Rung, failure: &Failure) -> bool {
    let Some(weaker) = from.confinement.weaker() else { return false };
    let mut remembered = REMEMBERED.lock().unwrap_or_else(PoisonError::into_inner);
    let moved_already = remembered.as_ref().is_some_and(|known| known.confinement >= weaker);
    if !moved_already {
        let why = format!("{}: to {failure} failed: {}", from.confinement, failure.cause());
        let refusal = from.refusal.as_ref().map_or_else(|| why.clone(), |earlier| format!("{earlier}; {why}"));
        *remembered = Some(Rung { confinement: weaker, refusal: Some(refusal) });
    }
    true
}
