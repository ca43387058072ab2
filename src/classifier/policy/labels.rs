//! Which labels may be said: all but those denied, or only those allowed.

use std::collections::BTreeSet;

use crate::payload::Ranked;

/// Labels by their names in the model's label file. A denied label never leaves the device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LabelRule {
    /// If there are any, only these.
    pub allow: BTreeSet<String>,
    /// Not these.
    pub deny: BTreeSet<String>,
}

impl LabelRule {
    /// Whether every label may be said.
    pub fn is_empty(&self) -> bool {
        self.allow.is_empty() && self.deny.is_empty()
    }

    /// Those of `classes` that may be said, in the same order.
    pub(super) fn pick(&self, classes: &[Ranked]) -> Vec<Ranked> {
        classes.iter().filter(|class| self.permits(&class.label)).cloned().collect()
    }

    fn permits(&self, label: &str) -> bool {
        (self.allow.is_empty() || self.allow.contains(label)) && !self.deny.contains(label)
    }
}
