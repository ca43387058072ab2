//! The core's sign of life for the watchdog. It is given only when every part has answered in its own task: a supervisor
//! that hangs or is gone, or a link that ended unasked, keeps it back, and the service manager starts the core again.

use std::sync::Arc;

use super::report::Report;
use super::service_manager::ServiceManager;
use super::status::{CameraStatus, LinkStatus};
use crate::classifier::ClassifierStatus;

/// Takes the pulse again and again, and tells `manager` as often as it wants to know. Never returns.
pub(super) async fn keep<F>(manager: &ServiceManager, pulse: impl Fn() -> F)
where
    F: Future<Output = Option<String>>,
{
    if !manager.is_there() {
        return std::future::pending().await;
    }
    let mut due = tokio::time::interval(manager.interval());
    loop {
        due.tick().await;
        if let Some(line) = pulse().await {
            manager.alive(&line);
        }
    }
}

/// What `systemctl status` shows of a core whose parts all answer; `None`, with a line in the log, where one is gone.
pub(super) async fn pulse(report: Arc<Report>) -> Option<String> {
    let link_is_running = report.link.is_running();
    let status = report.now().await;
    if let Some(camera) = status.cameras.iter().find(|camera| camera.classifier.is_none()) {
        tracing::error!(topic = camera.topic, "the classifier's supervisor is gone: no sign of life is given");
        return None;
    }
    if !link_is_running {
        tracing::error!("the link to the cloud has ended unasked: no sign of life is given");
        return None;
    }
    Some(line(&status.cameras, &status.link))
}

/// The frames of each camera, and how the link stands.
fn line(cameras: &[CameraStatus], link: &LinkStatus) -> String {
    let cameras = cameras.iter().filter_map(|camera| camera.classifier.as_ref()).map(frames);
    let up = if link.connected { "up" } else { "down" };
    let link = format!("link {up}, {} queued", link.queued + link.in_flight);
    cameras.chain([link]).collect::<Vec<_>>().join("; ")
}

fn frames(classifier: &ClassifierStatus) -> String {
    let ClassifierStatus { camera, captured, ledger, .. } = classifier;
    let dropped: u64 = ledger.drops().map(|(_, count)| count).sum();
    format!("camera {camera}: {captured} frames, {} classified, {dropped} dropped", ledger.inferred())
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_part_that_does_not_answer_keeps_the_sign_of_life_back() {
        const ANSWERS: u32 = 3;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_nonblocking(true).unwrap();
        // Due every millisecond: had anything but the answers fed the watchdog, hundreds would have come.
        let manager = ServiceManager::at(Some(path.as_os_str()), Some("2000"));
        let asked = AtomicU32::new(0);
        let pulse = || async {
            if asked.fetch_add(1, Ordering::Relaxed) >= ANSWERS {
                std::future::pending::<()>().await;
            }
            Some("fine".to_owned())
        };
        let ended = tokio::time::timeout(Duration::from_millis(500), keep(&manager, pulse)).await;
        assert!(ended.is_err(), "it is kept for as long as the core runs");
        let mut buffer = [0; 256];
        let signs = std::iter::from_fn(|| socket.recv(&mut buffer).ok()).count();
        assert_eq!((signs, asked.into_inner()), (ANSWERS as usize, ANSWERS + 1));
    }

    #[tokio::test]
    async fn a_part_that_is_gone_keeps_the_sign_of_life_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_nonblocking(true).unwrap();
        let manager = ServiceManager::at(Some(path.as_os_str()), Some("2000"));
        let _ = tokio::time::timeout(Duration::from_millis(50), keep(&manager, || async { None })).await;
        assert!(socket.recv(&mut [0; 16]).is_err());
    }
}
