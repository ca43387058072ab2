//! What the demo's pictures really show, joined to predictions by the picture's number in its folder.

use std::collections::BTreeMap;

use anyhow::Context;

use super::assets;

/// The labels of the demo's pictures, in the order in which the folder is read.
#[derive(Debug)]
pub(super) struct Truth {
    labels: Vec<String>,
}

impl Truth {
    /// The truth of the bundled pictures.
    pub(super) fn of_assets() -> anyhow::Result<Self> {
        let by_name: BTreeMap<String, String> =
            serde_json::from_str(assets::TRUTH).context("the bundled truth.json")?;
        let labels = assets::FRAMES
            .iter()
            .map(|(name, _)| by_name.get(*name).cloned().with_context(|| format!("no truth for {name}")))
            .collect::<anyhow::Result<_>>()?;
        Ok(Self { labels })
    }

    /// What picture number `item` shows; the folder is repeated, so numbers go round.
    pub(super) fn of(&self, item: u64) -> &str {
        let index = usize::try_from(item).map_or(0, |item| item % self.labels.len().max(1));
        self.labels.get(index).map_or("?", String::as_str)
    }
}
