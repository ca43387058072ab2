//! The link to the cloud as the configuration wants it: version, pace, session, and what the core tells of its presence.

use std::sync::Arc;

use bytes::Bytes;

use super::services::Services;
use crate::clock::Clock;
use crate::config::{Config, Jobs, PresenceSetting};
use crate::group::{Spooler, SubscriptionQuality};
use crate::mqtt::jobs::JobsChannel;
use crate::mqtt::link::LinkSettings;
use crate::mqtt::presence::{Event, Presence};
use crate::name::ThingName;
use crate::payload::status::{Reason, STATUS_SCHEMA, State, Status};
use crate::payload::{self, ClockSource};

/// Fills in everything but the spool, which the group document decides.
pub(super) fn configure(settings: &mut LinkSettings, config: &Config, services: &Services, spooler: &Spooler) {
    settings.retry_ceiling = config.mqtt.max_retry_interval;
    settings.publishes_per_second = config.mqtt.publishes_per_second;
    settings.connection.persistent = spooler.subscription_quality == SubscriptionQuality::AtLeastOncePersistent;
    settings.presence = presence(config, services);
}

/// The channel of AWS IoT Jobs, if the core takes part in them; its subscriptions are added to the link's.
pub(super) fn jobs_channel(settings: &mut LinkSettings, config: &Config) -> Option<(JobsChannel, Jobs)> {
    let jobs = config.jobs?;
    let (channel, subscriptions) = JobsChannel::new(config.core_thing.thing_arn.thing());
    settings.subscriptions.extend(subscriptions);
    Some((channel, jobs))
}

fn presence(config: &Config, services: &Services) -> Option<Presence> {
    let retain = match config.mqtt.presence {
        PresenceSetting::Off => return None,
        PresenceSetting::Published => false,
        PresenceSetting::Retained => true,
    };
    let thing = config.core_thing.thing_arn.thing().clone();
    let topic = format!("margay/{thing}/status").parse().ok()?;
    let clock = services.clock.clone();
    Some(Presence { topic, retain, document: Arc::new(move |event| document(&thing, clock.as_ref(), event)) })
}

fn document(thing: &ThingName, clock: &dyn Clock, event: Event) -> Bytes {
    let (state, reason) = match event {
        Event::Online => (State::Online, Reason::Connected),
        Event::Stopping => (State::Offline, Reason::Stopped),
        Event::Lost => (State::Offline, Reason::ConnectionLost),
    };
    let status = Status {
        schema: STATUS_SCHEMA.to_owned(),
        thing: thing.to_string(),
        state,
        reason,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        at: payload::timestamp(clock.now()),
        clock: if clock.reckoning().is_confirmed() { ClockSource::Server } else { ClockSource::System },
    };
    serde_json::to_vec(&status).map(Bytes::from).unwrap_or_default()
}
