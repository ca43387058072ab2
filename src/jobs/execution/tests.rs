//! The conversation against a model of the cloud, over a network that loses, repeats and delays, with restarts of the
//! core, cancellations and timeouts at any moment.

use std::collections::{HashMap, VecDeque};

use proptest::prelude::*;
use serde_json::json;

use super::*;

const DIGEST: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

/// What the cloud keeps of a job.
#[derive(Debug, Clone)]
struct Job {
    id: String,
    /// Whether its document is one that a core understands.
    sound: bool,
    /// How its deployment will end.
    good: bool,
    status: Option<Status>,
    version: i64,
}

/// Cloud, network, deployments and core.
struct World {
    jobs: Vec<Job>,
    /// Answers on their way to the core.
    answers: VecDeque<Said>,
    agent: Agent,
    connected: bool,
    tokens: u64,
    now: Instant,
    /// Deployments by id, as they stand: they outlive the core.
    deployments: HashMap<String, Option<bool>>,
}

impl World {
    fn new(jobs: Vec<Job>) -> Self {
        let (agent, now) = (Agent::new(60), Instant::now());
        let (answers, deployments) = (VecDeque::new(), HashMap::new());
        Self { jobs, answers, agent, connected: false, tokens: 0, now, deployments }
    }

    fn next(&self) -> Option<usize> {
        let running = self.jobs.iter().position(|job| job.status == Some(Status::InProgress));
        running.or_else(|| self.jobs.iter().position(|job| job.status.is_none()))
    }

    fn feed(&mut self, event: Event) {
        let commands = self.agent.on(event, self.now);
        let questions = commands.iter().filter(|command| matches!(command, Command::Ask(_))).count();
        assert!(questions <= 1, "one question at a time: {commands:?}");
        for command in commands {
            match command {
                Command::Deploy(order) => {
                    self.deployments.entry(order.id.to_string()).or_insert(None);
                }
                Command::Withdraw(id) => {
                    let job = self.jobs.iter().find(|job| job.id == id.as_str()).expect("it is a job of the cloud");
                    // An offer that comes twice is taken on again, and the cloud says then that it was over before.
                    assert!(
                        job.status.is_some_and(Status::is_terminal),
                        "only what is over in the cloud is taken back"
                    );
                    self.deployments.entry(id.to_string()).and_modify(|ended| *ended = ended.or(Some(false)));
                }
                Command::Ask(_) if !self.connected => self.agent.not_sent(self.now),
                Command::Ask(ask) => {
                    self.tokens += 1;
                    self.agent.sent(self.tokens);
                    self.be_asked(ask);
                }
            }
        }
    }

    /// The cloud's side of a request.
    fn be_asked(&mut self, ask: Ask) {
        let token = self.tokens;
        let answer = match ask {
            Ask::StartNext { .. } => Said::Started(self.next().map(|index| {
                let job = &mut self.jobs[index];
                if job.status.is_none() {
                    (job.status, job.version) = (Some(Status::InProgress), job.version + 1);
                }
                let group = json!({ "s3Uri": "s3://fleet/group.json", "sha256": DIGEST });
                let operation = if job.sound { "deploy" } else { "dance" };
                let document = json!({ "margay": { "operation": operation, "group": group } });
                Offer { job_id: job.id.clone(), document, version: job.version }
            })),
            Ask::Update { job_id, status, expected_version, .. } => {
                let job = self.jobs.iter_mut().find(|job| job.id == job_id).expect("it is a job of the cloud");
                let before = job.status.unwrap_or(Status::InProgress);
                if before.is_terminal() {
                    Said::Rejected { token: Some(token), why: Why::Over, message: String::new() }
                } else if expected_version != job.version {
                    let why = Why::VersionMismatch { version: job.version, status: before };
                    Said::Rejected { token: Some(token), why, message: String::new() }
                } else {
                    match status {
                        Status::Succeeded => {
                            assert!(self.deployments[&job_id] == Some(true), "only what runs succeeded")
                        }
                        Status::Failed => assert!(self.deployments[&job_id] == Some(false), "only what failed"),
                        Status::Rejected => assert!(!job.sound, "only what is refused is rejected"),
                        Status::InProgress => {}
                        Status::Ended => panic!("a core does not say so"),
                    }
                    (job.status, job.version) = (Some(status), job.version + 1);
                    Said::Updated { token, version: Some(job.version) }
                }
            }
        };
        self.answers.push_back(answer);
    }

    fn connect(&mut self, connected: bool) {
        self.connected = connected;
        // Errands and answers of a connection end with it.
        self.answers.clear();
        self.feed(if connected { Event::Connected } else { Event::Disconnected });
    }

    fn restart(&mut self) {
        self.agent = Agent::new(60);
        self.connect(self.connected);
    }

    fn end_in_the_cloud(&mut self, index: usize) {
        let job = &mut self.jobs[index];
        if !job.status.is_some_and(Status::is_terminal) {
            (job.status, job.version) = (Some(Status::Ended), job.version + 1);
            self.notify();
        }
    }

    fn notify(&mut self) {
        let next = self.next().map(|index| self.jobs[index].id.clone());
        if self.connected {
            self.answers.push_back(Said::NextChanged(next));
        }
    }

    fn deliver(&mut self) {
        if let Some(said) = self.answers.pop_front() {
            self.feed(Event::Said(said));
        }
    }

    /// The deployment of the job that the core works on moves on.
    fn progress(&mut self, to_its_end: bool) {
        let Some(job_id) = self.agent.current().map(str::to_owned) else { return };
        let good = self.jobs.iter().any(|job| job.id == job_id && job.good);
        let Some(ended) = self.deployments.get_mut(&job_id) else { return };
        if to_its_end {
            *ended = Some(good);
        }
        let outcome = match *ended {
            None => Outcome::Working(detail("step", "fetching")),
            Some(true) => Outcome::Succeeded(Details::new()),
            Some(false) => Outcome::Failed(detail("error", "no")),
        };
        self.feed(Event::Deployment { job_id, outcome });
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.feed(Event::Tick);
    }

    /// What `choice` makes happen.
    fn happen(&mut self, choice: u8) {
        match choice % 13 {
            0 => self.connect(!self.connected),
            1 => drop(self.answers.pop_front()),
            2 => {
                if let Some(said) = self.answers.front().cloned() {
                    self.answers.push_back(said);
                }
            }
            3 => self.restart(),
            4 => self.end_in_the_cloud(usize::from(choice) % self.jobs.len()),
            5 => self.notify(),
            6 => self.pass(Duration::from_secs(u64::from(choice))),
            7 => self.answers.rotate_left(usize::from(!self.answers.is_empty())),
            8 => self.progress(true),
            9 => self.progress(false),
            _ => self.deliver(),
        }
    }

    /// Lets everything go well for long enough.
    fn settle(&mut self) {
        if !self.connected {
            self.connect(true);
        }
        for _ in 0..60 {
            self.notify();
            for _ in 0..20 {
                self.progress(true);
                self.deliver();
            }
            self.pass(ANSWER * 3);
        }
    }
}

fn jobs() -> impl Strategy<Value = Vec<Job>> {
    let job = (any::<bool>(), any::<bool>());
    proptest::collection::vec(job, 1..5).prop_map(|jobs| {
        let job = |(index, (unsound, good)): (usize, (bool, bool))| Job {
            id: format!("job-{index}"),
            sound: !unsound,
            good,
            status: None,
            version: 1,
        };
        jobs.into_iter().enumerate().map(job).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]
    #[test]
    fn whatever_happens_every_job_comes_to_the_end_that_its_deployment_came_to(
        jobs in jobs(),
        happenings in proptest::collection::vec(any::<u8>(), 0..120),
    ) {
        let mut world = World::new(jobs);
        world.connect(true);
        for choice in happenings {
            world.happen(choice);
        }
        world.settle();
        for job in &world.jobs {
            let expected = match (job.sound, job.good) {
                (false, _) => Status::Rejected,
                (true, true) => Status::Succeeded,
                (true, false) => Status::Failed,
            };
            prop_assert!(
                job.status == Some(expected) || job.status == Some(Status::Ended),
                "{job:?}, {:?}", world.agent
            );
        }
        prop_assert_eq!(world.agent.current(), None);
    }
}

#[test]
fn a_job_in_progress_is_taken_up_again_after_a_restart_and_done_once() {
    let job = Job { id: "one".to_owned(), sound: true, good: true, status: None, version: 1 };
    let mut world = World::new(vec![job]);
    world.connect(true);
    world.deliver();
    world.restart();
    assert_eq!(world.agent.current(), None);
    world.deliver();
    assert_eq!(world.agent.current(), Some("one"));
    world.settle();
    assert_eq!((world.jobs[0].status, world.deployments.len()), (Some(Status::Succeeded), 1));
}

#[test]
fn a_job_cancelled_under_way_is_let_go_and_the_next_one_begins() {
    let job = |id: &str| Job { id: id.to_owned(), sound: true, good: true, status: None, version: 1 };
    let mut world = World::new(vec![job("one"), job("two")]);
    world.connect(true);
    world.deliver();
    assert_eq!(world.agent.current(), Some("one"));
    world.end_in_the_cloud(0);
    for _ in 0..4 {
        world.deliver();
    }
    assert_eq!(world.agent.current(), Some("two"));
    assert_eq!(world.deployments["one"], Some(false), "its deployment is broken off");
}

#[test]
fn a_job_cancelled_after_its_deployment_was_confirmed_takes_nothing_back() {
    let mut world = World::new(vec![Job { id: "one".to_owned(), sound: true, good: true, status: None, version: 1 }]);
    world.connect(true);
    world.deliver();
    world.connect(false);
    world.progress(true);
    world.end_in_the_cloud(0);
    world.settle();
    assert_eq!((world.agent.current(), world.deployments["one"]), (None, Some(true)));
}

#[test]
fn details_fit_what_jobs_takes() {
    let details = bounded(Details::from([("error".to_owned(), "é".repeat(3000)), ("step".to_owned(), String::new())]));
    assert_eq!(details.len(), 1);
    assert_eq!(details["error"].chars().count(), MAX_DETAIL);
}

#[test]
fn silence_in_the_middle_of_a_job_is_broken_before_the_cloud_gives_it_up() {
    let job = Job { id: "one".to_owned(), sound: true, good: true, status: None, version: 1 };
    let mut world = World::new(vec![job]);
    world.connect(true);
    world.deliver();
    let before = world.jobs[0].version;
    world.pass(Duration::from_secs(29 * 60));
    assert_eq!(world.jobs[0].version, before);
    world.pass(Duration::from_secs(60));
    assert_eq!(world.jobs[0].version, before + 1);
}
