//! The page, where the configuration asks for one: bound at the start, told of predictions and, every second, of the
//! core's status.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::report::Report;
use crate::classifier::explain;
use crate::config::Config;
use crate::page::{Feed, Page, PageStatus};

/// How often the page is told the core's status.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);

/// The page, or none.
#[derive(Debug, Clone)]
pub(super) struct Preview {
    page: Option<Page>,
    failure: Option<String>,
}

impl Preview {
    /// Binds the page's port, if there is to be one. Where that fails the core runs without: any user of this machine
    /// could take the port first.
    pub(super) fn bind(config: &Config) -> Self {
        match config.page.map(|page| Page::bind(page.port, &config.directories.state)) {
            None => Self { page: None, failure: None },
            Some(Ok(page)) => Self { page: Some(page), failure: None },
            Some(Err(error)) => {
                let why = explain(&error);
                tracing::error!(why, "the page is not served before the next start");
                Self { page: None, failure: Some(format!("the page is not served before the next start: {why}")) }
            }
        }
    }

    /// Why there is no page although there should be.
    pub(super) fn failure(&self) -> Option<String> {
        self.failure.clone()
    }

    /// Where the camera at this place of the list tells of its predictions.
    pub(super) fn feed(&self, camera: usize) -> Option<Feed> {
        Some(self.page.as_ref()?.feed(camera))
    }

    /// What the status says of it.
    pub(super) fn status(&self) -> Option<PageStatus> {
        Some(self.page.as_ref()?.status())
    }

    /// Serves browsers, and keeps them informed.
    pub(super) fn start(&self, tasks: &mut JoinSet<()>, report: Arc<Report>) {
        let Some(page) = &self.page else { return };
        tracing::info!(url = page.status().url, "the page is served; `margay status --page` prints how to open it");
        tasks.spawn(page.clone().run(report.cameras.iter().map(|camera| camera.classifier.ring()).collect()));
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
