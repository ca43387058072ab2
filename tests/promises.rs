//! What Margay promises its users, a file a promise in `tests/promises/`. Everything here speaks real protocols over
//! real sockets on loopback; a test that needs more than the repository says what, and how to enable it.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test that fails says so by panicking")]

#[path = "support/support.rs"]
mod support;

#[path = "promises/bad_input.rs"]
mod bad_input;
#[path = "promises/clock.rs"]
mod clock;
#[path = "promises/containment.rs"]
mod containment;
#[path = "promises/credentials.rs"]
mod credentials;
#[path = "promises/demo.rs"]
mod demo;
#[path = "promises/documents.rs"]
mod documents;
#[path = "promises/exit_codes.rs"]
mod exit_codes;
#[path = "promises/identity.rs"]
mod identity;
#[path = "promises/layers.rs"]
mod layers;
#[path = "promises/ledger.rs"]
mod ledger;
#[path = "promises/outage.rs"]
mod outage;
#[path = "promises/proxy.rs"]
mod proxy;
#[path = "promises/s3_peers.rs"]
mod s3_peers;
#[path = "promises/token_exchange.rs"]
mod token_exchange;
