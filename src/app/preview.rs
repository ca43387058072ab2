//! The page, where the configuration asks for one: bound at the start, told of predictions and, every second, of the
//! core's status.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::report::Report;
use crate::causes::explain;
use crate::classifier::SharedRing;
use crate::config::Config;
use crate::page::{Feed, Page, PageStatus, RingSource};

/// How often the page is told the core's status.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);

/// A group has one instance of a connector (contract A1), and so one camera.
const CAMERAS: usize = 1;

/// The page, or none.
#[derive(Debug, Clone)]
pub(super) struct Preview {
    page: Option<Page>,
    /// What each camera shows, whichever group runs.
    rings: Vec<watch::Sender<Option<SharedRing>>>,
    failure: Option<String>,
}

impl Preview {
    /// Binds the page's port, if there is to be one. Where that fails the core runs without: any user of this machine
    /// could take the port first.
    pub(super) fn bind(config: &Config) -> Self {
        let rings = (0..CAMERAS).map(|_| watch::Sender::new(None)).collect();
        match config.page.map(|page| Page::bind(page.port, &config.directories.state)) {
            None => Self { page: None, rings, failure: None },
            Some(Ok(page)) => Self { page: Some(page), rings, failure: None },
            Some(Err(error)) => {
                let why = explain(&error);
                tracing::error!(why, "the page is not served before the next start");
                let failure = Some(format!("the page is not served before the next start: {why}"));
                Self { page: None, rings, failure }
            }
        }
    }

    /// Why there is no page although there should be.
    pub(super) fn failure(&self) -> Option<String> {
        self.failure.clone()
    }

    /// Where the camera at this place of the list tells of its predictions.
    pub(super) fn feed(&self, camera: usize) -> Option<Feed> {
        self.rings.get(camera)?;
        Some(self.page.as_ref()?.feed(camera))
    }

    /// The camera at this place of the list shows `ring` from now on, until its classifier ends.
    pub(super) fn show(&self, camera: usize, mut ring: RingSource) {
        let Some(shown) = self.rings.get(camera).filter(|_| self.page.is_some()).cloned() else { return };
        tokio::spawn(async move {
            while ring.changed().await.is_ok() {
                shown.send_replace(ring.borrow_and_update().clone());
            }
        });
    }

    /// What the status says of it.
    pub(super) fn status(&self) -> Option<PageStatus> {
        Some(self.page.as_ref()?.status())
    }

    /// Serves browsers, and keeps them informed.
    pub(super) fn start(&self, tasks: &mut JoinSet<()>, report: Arc<Report>) {
        let Some(page) = &self.page else { return };
        tracing::info!(url = page.status().url, "the page is served; `margay status --page` prints how to open it");
        tasks.spawn(page.clone().run(self.rings.iter().map(watch::Sender::subscribe).collect()));
        tasks.spawn(tell_status(page.clone(), report));
    }
}

async fn tell_status(page: Page, report: Arc<Report>) {
    let mut interval = tokio::time::interval(STATUS_INTERVAL);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let status = report.clone().now().await;
        page.tell_status(serde_json::to_value(status).unwrap_or_default());
    }
}
