//! The task between the link and the deployments: feeds the [`Agent`] and does what it says.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::deploys::{Deploys, Outcome};
use super::document::Order;
use super::execution::{Agent, Command, Event};
use crate::mqtt::jobs::JobsChannel;
use crate::mqtt::link::Link;

/// How often it is looked whether an answer is overdue.
const TICK: Duration = Duration::from_secs(1);

/// What is shown of the jobs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobsStatus {
    /// The job that is worked on.
    pub current: Option<String>,
    /// Jobs taken on since the start.
    pub taken_on: u64,
}

/// The task, to be spawned.
pub struct JobsAgent {
    link: Link,
    channel: JobsChannel,
    deploys: Arc<dyn Deploys>,
    agent: Agent,
    status: watch::Sender<JobsStatus>,
}

impl std::fmt::Debug for JobsAgent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JobsAgent").field("channel", &self.channel).field("agent", &self.agent).finish_non_exhaustive()
    }
}

impl JobsAgent {
    /// Speaks with Jobs over `link`, which must have been started with the subscriptions of `channel`, and has jobs
    /// carried out by `deploys`. `step_timeout` in minutes.
    pub fn new(link: Link, channel: JobsChannel, deploys: Arc<dyn Deploys>, step_timeout: u16) -> Self {
        Self { link, channel, deploys, agent: Agent::new(step_timeout), status: watch::Sender::default() }
    }

    /// What is shown, now and whenever it changes.
    pub fn status(&self) -> watch::Receiver<JobsStatus> {
        self.status.subscribe()
    }

    /// Works until the link is gone.
    pub async fn run(mut self) {
        let (outcomes, mut deployments) = mpsc::channel(8);
        let mut followers = Followers { tasks: JoinSet::new(), job: None, outcomes };
        let mut state = self.link.state();
        let mut ticks = tokio::time::interval(TICK);
        let mut connected = false;
        loop {
            let event = tokio::select! {
                said = self.channel.next() => match said {
                    Some(said) => Event::Said(said),
                    None => return,
                },
                Some((job_id, outcome)) = deployments.recv() => Event::Deployment { job_id, outcome },
                changed = state.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let now = state.borrow_and_update().is_connected();
                    if now == connected {
                        continue;
                    }
                    connected = now;
                    if now { Event::Connected } else { Event::Disconnected }
                }
                _ = ticks.tick() => {
                    // The connection may have stood before this task began.
                    let now = state.borrow().is_connected();
                    let event = if now && !connected { Event::Connected } else { Event::Tick };
                    connected |= now;
                    event
                }
                Some(_) = followers.tasks.join_next() => continue,
            };
            self.act(event, &mut followers);
        }
    }

    fn act(&mut self, event: Event, followers: &mut Followers) {
        let commands = self.agent.on(event, Instant::now().into_std());
        if followers.job.is_some() && self.agent.current() != followers.job.as_deref() {
            // Nobody wants it any more: what has not been submitted yet never is.
            followers.tasks.abort_all();
            followers.job = None;
        }
        for command in commands {
            match command {
                Command::Ask(ask) => match self.channel.ask(&self.link, &ask) {
                    Ok(token) => self.agent.sent(token),
                    Err(error) => {
                        tracing::debug!(%error, "a request to AWS IoT Jobs waits");
                        self.agent.not_sent(Instant::now().into_std());
                    }
                },
                Command::Withdraw(id) => {
                    tracing::warn!(job = %id, "the cloud ended the job: its deployment is broken off");
                    self.deploys.withdraw(&id);
                }
                Command::Deploy(order) => {
                    tracing::info!(job = %order.id, group = %order.group, "a job asks for a deployment");
                    self.status.send_modify(|status| status.taken_on += 1);
                    followers.job = Some(order.id.to_string());
                    let outcome = self.deploys.deploy(&order);
                    followers.tasks.spawn(follow(outcome, order, followers.outcomes.clone()));
                }
            }
        }
        let current = self.agent.current().map(str::to_owned);
        self.status.send_if_modified(|status| {
            let changed = status.current != current;
            status.current = current;
            changed
        });
    }
}

/// Who listens to the deployment of the job that is worked on.
struct Followers {
    tasks: JoinSet<()>,
    job: Option<String>,
    outcomes: mpsc::Sender<(String, Outcome)>,
}

/// Tells every outcome until the last.
async fn follow(mut outcome: watch::Receiver<Outcome>, order: Order, told: mpsc::Sender<(String, Outcome)>) {
    loop {
        let now = outcome.borrow_and_update().clone();
        let is_final = !matches!(now, Outcome::Working(_));
        if told.send((order.id.to_string(), now)).await.is_err() || is_final || outcome.changed().await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
