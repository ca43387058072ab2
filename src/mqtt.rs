//! The cloud link: MQTT 3.1.1 or 5 over mutual TLS, at least once (QoS 1), with a bounded spool for the time offline.
//!
//! This module and what is below it are the only places that name the MQTT library. The library forgets
//! unacknowledged messages when the broker lost the session, and can hang after a packet-id collision; so the promises
//! are kept here: every message stays in the [`spool`] until its PUBACK, each connection is built anew, and what was
//! not acknowledged on the last one is sent first on the next.
//!
//! ```text
//! Link::accept → spool (in order, bounded) → publisher: session → session → … → broker
//!                   ↑ ↑                                 └ PUBACK ┘
//!                   │ └─────────── delivered, counted, reported ◄┘
//!                   └ committer: writes it to disk, on a thread of its own
//! ```
//!
//! Beside the spool go *errands*: what is worth something only now, such as the requests of AWS IoT Jobs and the core's
//! [`presence`]. What comes in goes to the inboxes of the link's own subscriptions, or is the group's [`inflow`].
//!
//! It refuses nothing for policy: which messages reach the cloud is the router's decision. It serves `app`, and
//! [`viewer`] serves `margay subscribe`, [`single`] `margay publish`.

pub mod connect_error;
pub mod connection;
pub mod counters;
pub mod failure;
pub mod history;
pub mod inflow;
pub mod jobs;
pub mod link;
pub mod message;
pub mod presence;
pub mod single;
pub mod spool;
pub mod viewer;

mod asides;
mod committer;
mod flight;
mod pacer;
mod packets;
mod publisher;
mod session;
mod suspicion;
mod wire;

#[cfg(test)]
mod against_failing_disks;
#[cfg(test)]
mod against_kills;
#[cfg(test)]
mod against_localcloud;
#[cfg(test)]
mod against_mosquitto;
#[cfg(test)]
mod testing_broker;
#[cfg(test)]
mod testing_certificates;
#[cfg(test)]
mod through_a_proxy;
