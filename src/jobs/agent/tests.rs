//! A fleet over the real protocol: links with certificates of their own against the local cloud's Jobs. Deployments are
//! simulated; that they are confirmed and rolled back is `tests/promises/jobs.rs`.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Mutex;

use margay_localcloud::{Execution, JobStatus, LocalCloud, Settings};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::deployment::DeploymentId;
use crate::jobs::execution::detail;
use crate::mqtt::connection::{BrokerAddress, ConnectionSettings};
use crate::mqtt::link::LinkSettings;

const PATIENCE: Duration = Duration::from_secs(120);
const DIGEST: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

/// Deployments that go through their steps and end as they are told to.
struct Simulated {
    fails: bool,
    /// Until this says so, a deployment does not end.
    release: watch::Receiver<bool>,
    known: Mutex<HashMap<String, watch::Receiver<Outcome>>>,
    withdrawn: Mutex<Vec<String>>,
}

impl Simulated {
    fn new(fails: bool, release: watch::Receiver<bool>) -> Arc<Self> {
        Arc::new(Self { fails, release, known: Mutex::default(), withdrawn: Mutex::default() })
    }
}

impl Deploys for Simulated {
    fn deploy(&self, order: &Order) -> watch::Receiver<Outcome> {
        let begin = || {
            let (told, outcome) = watch::channel(Outcome::Working(detail("step", "fetching")));
            let (fails, mut release) = (self.fails, self.release.clone());
            tokio::spawn(async move {
                told.send_replace(Outcome::Working(detail("step", "activating")));
                let _ = release.wait_for(|released| *released).await;
                let end = match fails {
                    true => Outcome::Failed(detail("error", "the model misses its samples; rolled back")),
                    false => Outcome::Succeeded(detail("step", "confirmed")),
                };
                told.send_replace(end);
            });
            outcome
        };
        self.known.lock().unwrap().entry(order.id.to_string()).or_insert_with(begin).clone()
    }

    fn withdraw(&self, id: &DeploymentId) {
        self.withdrawn.lock().unwrap().push(id.to_string());
    }
}

struct Scene {
    cloud: LocalCloud,
    folder: TempDir,
}

impl Scene {
    async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { cloud: LocalCloud::start(Settings::new(folder.path())).await.unwrap(), folder }
    }

    fn settings(&self, thing: &str) -> LinkSettings {
        let files = self.cloud.provision_thing(thing, &self.folder.path().join(thing)).unwrap();
        let read = |path: &Path| CertificateDer::pem_file_iter(path).unwrap().map(Result::unwrap).collect::<Vec<_>>();
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(read(&files.ca));
        let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(read(&files.certificate), PrivateKeyDer::from_pem_file(&files.private_key).unwrap())
            .unwrap();
        let broker = BrokerAddress { host: "localhost".parse().unwrap(), port: self.cloud.mqtt_port() };
        let mut settings = LinkSettings::new(ConnectionSettings::new(broker, thing, Arc::new(tls)));
        settings.retry_floor = Duration::from_millis(20);
        settings.retry_ceiling = Duration::from_millis(200);
        settings
    }

    /// A core without cameras.
    fn core(&self, thing: &str, deploys: Arc<dyn Deploys>) -> JoinSet<()> {
        self.core_of(self.settings(thing), thing, deploys)
    }

    fn core_of(&self, mut settings: LinkSettings, thing: &str, deploys: Arc<dyn Deploys>) -> JoinSet<()> {
        let (channel, subscriptions) = JobsChannel::new(&thing.parse().unwrap());
        settings.subscriptions = subscriptions;
        let mut task = JoinSet::new();
        task.spawn(JobsAgent::new(Link::start(settings), channel, deploys, 60).run());
        task
    }

    async fn until(&self, what: &str, thing: &str, job: &str, wanted: impl Fn(&Execution) -> bool) -> Execution {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if let Some(execution) = self.cloud.job_execution(thing, job).filter(&wanted) {
                return execution;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("waited in vain for {what} of {job} on {thing}: {:?}", self.cloud.job_execution(thing, job))
    }
}

fn document() -> Value {
    json!({ "margay": { "operation": "deploy", "group": { "s3Uri": "s3://fleet/group.json", "sha256": DIGEST } } })
}

fn is(status: JobStatus) -> impl Fn(&Execution) -> bool {
    move |execution| execution.status == status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_cores_take_one_rollout_and_each_tells_its_own_end() {
    let scene = Scene::open().await;
    let things: Vec<String> = (0..200).map(|index| format!("core-{index:03}")).collect();
    let fails = |index: usize| index % 20 == 7; // 5 %
    let (released, release) = watch::channel(false);
    let begin = Instant::now();
    let cores: Vec<_> = things
        .iter()
        .enumerate()
        .map(|(index, thing)| scene.core(thing, Simulated::new(fails(index), release.clone())))
        .collect();
    let names: Vec<&str> = things.iter().map(String::as_str).collect();
    scene.cloud.create_job("rollout-1", &document(), &names);
    for thing in &things {
        scene.until("the beginning", thing, "rollout-1", is(JobStatus::InProgress)).await;
    }
    released.send_replace(true);
    let mut ends: HashMap<JobStatus, usize> = HashMap::new();
    for (index, thing) in things.iter().enumerate() {
        let end = scene.until("the end", thing, "rollout-1", |execution| execution.status.is_terminal()).await;
        *ends.entry(end.status).or_default() += 1;
        let expected = if fails(index) { JobStatus::Failed } else { JobStatus::Succeeded };
        assert_eq!(end.status, expected, "{thing}");
        let told = if fails(index) { ("error", "rolled back") } else { ("step", "confirmed") };
        assert!(end.details[told.0].contains(told.1), "{:?}", end.details);
    }
    assert_eq!((ends[&JobStatus::Succeeded], ends[&JobStatus::Failed]), (190, 10));
    println!("200 cores, 1 rollout: {ends:?} after {:?}", begin.elapsed());
    drop(cores);
}

#[tokio::test]
async fn a_rollout_survives_a_broker_that_is_stopped_in_the_middle_of_it() {
    let scene = Scene::open().await;
    let (released, release) = watch::channel(false);
    let _core = scene.core("door", Simulated::new(false, release));
    scene.cloud.create_job("rollout-1", &document(), &["door"]);
    scene.until("progress", "door", "rollout-1", |execution| execution.details.contains_key("step")).await;
    scene.cloud.stop_broker().await;
    released.send_replace(true);
    scene.cloud.start_broker().await.unwrap();
    scene.until("the end", "door", "rollout-1", is(JobStatus::Succeeded)).await;
}

#[tokio::test]
async fn a_core_that_is_killed_takes_its_job_up_again() {
    let scene = Scene::open().await;
    let (released, release) = watch::channel(false);
    let (settings, deployments) = (scene.settings("door"), Simulated::new(false, release));
    let core = scene.core_of(settings.clone(), "door", deployments.clone());
    scene.cloud.create_job("rollout-1", &document(), &["door"]);
    scene.until("progress", "door", "rollout-1", |execution| execution.details.contains_key("step")).await;
    drop(core);
    let _core = scene.core_of(settings, "door", deployments.clone());
    released.send_replace(true);
    scene.until("the end", "door", "rollout-1", is(JobStatus::Succeeded)).await;
    assert_eq!(deployments.known.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn jobs_that_are_no_deployments_are_rejected_with_field_and_rule_and_do_not_hold_up_the_next() {
    let scene = Scene::open().await;
    let (_released, release) = watch::channel(true);
    let mut wrong = document();
    wrong["margay"]["group"]["sha256"] = json!("none");
    scene.cloud.create_job("wrong", &wrong, &["door"]);
    scene.cloud.create_job("right", &document(), &["door"]);
    let _core = scene.core("door", Simulated::new(false, release));
    let rejected = scene.until("a refusal", "door", "wrong", is(JobStatus::Rejected)).await;
    let reason = &rejected.details["reason"];
    assert!(reason.contains("margay.group.sha256") && reason.contains("64 hexadecimal digits"), "{reason}");
    scene.until("the next", "door", "right", is(JobStatus::Succeeded)).await;
}

#[tokio::test]
async fn a_job_that_is_cancelled_or_times_out_under_way_is_let_go() {
    let scene = Scene::open().await;
    let (released, release) = watch::channel(false);
    let deployments = Simulated::new(false, release);
    let _core = scene.core("door", deployments.clone());
    for job in ["cancelled", "overdue", "last"] {
        scene.cloud.create_job(job, &document(), &["door"]);
    }
    let begun = |execution: &Execution| execution.details.contains_key("step");
    scene.until("progress", "door", "cancelled", begun).await;
    scene.cloud.cancel_job("cancelled", true);
    scene.until("progress", "door", "overdue", begun).await;
    scene.cloud.faults().set_clock_offset(time::Duration::hours(2));
    scene.until("the timeout", "door", "overdue", is(JobStatus::TimedOut)).await;
    // A deployment that ended before the core learned of the timeout would be over, and not taken back.
    scene.until("progress", "door", "last", begun).await;
    released.send_replace(true);
    scene.until("the end", "door", "last", is(JobStatus::Succeeded)).await;
    assert_eq!(scene.cloud.job_execution("door", "cancelled").unwrap().status, JobStatus::Canceled);
    assert_eq!(*deployments.withdrawn.lock().unwrap(), ["cancelled", "overdue"]);
}

#[tokio::test]
async fn a_cloud_that_takes_requests_and_does_not_answer_is_asked_again_on_the_next_connection() {
    let scene = Scene::open().await;
    let (_released, release) = watch::channel(true);
    scene.cloud.faults().silence_jobs(true);
    scene.cloud.create_job("rollout-1", &document(), &["door"]);
    let _core = scene.core("door", Simulated::new(false, release));
    scene.cloud.counters().wait_until(|served| served.publishes >= 1).await;
    assert_eq!(scene.cloud.job_execution("door", "rollout-1").unwrap().status, JobStatus::Queued);
    scene.cloud.faults().silence_jobs(false);
    scene.cloud.disconnect_clients();
    scene.until("the end", "door", "rollout-1", is(JobStatus::Succeeded)).await;
}

/// Deployments that wait for something for ever, and tell when nobody wants them any more.
struct Waiting(watch::Sender<bool>);

impl Deploys for Waiting {
    fn deploy(&self, _: &Order) -> watch::Receiver<Outcome> {
        let (told, outcome) = watch::channel(Outcome::Working(detail("step", "waiting")));
        let abandoned = self.0.clone();
        tokio::spawn(async move {
            told.closed().await;
            abandoned.send_replace(true);
        });
        outcome
    }

    fn withdraw(&self, _: &DeploymentId) {}
}

#[tokio::test]
async fn what_a_cancelled_job_still_waits_for_is_given_up() {
    let scene = Scene::open().await;
    let abandoned = watch::Sender::new(false);
    let mut seen = abandoned.subscribe();
    let _core = scene.core("door", Arc::new(Waiting(abandoned)));
    scene.cloud.create_job("rollout-1", &document(), &["door"]);
    scene.until("progress", "door", "rollout-1", |execution| execution.details.contains_key("step")).await;
    assert!(!*seen.borrow());
    scene.cloud.cancel_job("rollout-1", true);
    tokio::time::timeout(PATIENCE, seen.wait_for(|abandoned| *abandoned)).await.expect("it is given up").unwrap();
}
