//! What the link went through: how its connections ended, what came in, what was refused. For `margay status`.

use std::collections::{BTreeMap, BTreeSet};

/// Filters that are remembered as refused; more than a connection may have.
const MAX_REFUSED: usize = 64;

/// Since the start of the core.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// Connections that ended or did not come about, by [`LinkFailure::kind`](super::failure::LinkFailure::kind).
    pub failures: BTreeMap<&'static str, u64>,
    /// The last of them in words, also while the link is connected again.
    pub last_failure: Option<String>,
    /// Messages received for subscriptions.
    pub received: u64,
    /// Of these, messages that nobody took: their subscriber's queue was full.
    pub not_taken: u64,
    /// Messages that the broker refused without closing (MQTT 5), by reason.
    pub publishes_refused: BTreeMap<&'static str, u64>,
    /// Filters that the broker does not grant.
    pub refused_filters: BTreeSet<String>,
    /// SUBSCRIBEs that the broker granted: each filter is asked for again on every connection.
    pub subscriptions_granted: u64,
}

impl History {
    pub(super) fn failed(&mut self, kind: &'static str, text: String) {
        *self.failures.entry(kind).or_default() += 1;
        self.last_failure = Some(text);
    }

    /// Filters that no group wants any more are not refused either.
    pub(super) fn keep_refused(&mut self, wanted: impl Fn(&str) -> bool) {
        self.refused_filters.retain(|filter| wanted(filter));
    }

    pub(super) fn granted(&mut self, filter: &str, granted: bool) {
        if granted {
            self.subscriptions_granted += 1;
            self.refused_filters.remove(filter);
        } else if self.refused_filters.len() < MAX_REFUSED {
            self.refused_filters.insert(filter.to_owned());
        }
    }
}
