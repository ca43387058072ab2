//! What Margay promises its users, a file a promise in `tests/promises/`. Everything here speaks real protocols over
//! real sockets on loopback; a test that needs more than the repository says what, and how to enable it.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test that fails says so by panicking")]

#[path = "support/support.rs"]
mod support;

#[path = "../crates/inference/tests/models/protobuf.rs"]
#[allow(dead_code, reason = "shared with the tests of the engines, which make more kinds of models")]
mod protobuf;

#[path = "../crates/inference/tests/models/networks.rs"]
#[allow(dead_code, reason = "shared with the tests of the engines, which make more kinds of models")]
mod networks;

#[path = "promises/accuracy.rs"]
mod accuracy;
#[path = "promises/artefacts.rs"]
mod artefacts;
#[path = "promises/bad_input.rs"]
mod bad_input;
#[path = "promises/bench.rs"]
mod bench;
#[path = "promises/broken_input.rs"]
mod broken_input;
#[path = "promises/camera.rs"]
mod camera;
#[path = "promises/clock.rs"]
mod clock;
#[path = "promises/containment.rs"]
mod containment;
#[path = "promises/credentials.rs"]
mod credentials;
#[path = "promises/cycles.rs"]
mod cycles;
#[path = "promises/demo.rs"]
mod demo;
#[path = "promises/deployments.rs"]
mod deployments;
#[path = "promises/documents.rs"]
mod documents;
#[path = "promises/engines.rs"]
mod engines;
#[path = "promises/escape.rs"]
mod escape;
#[path = "promises/escape_links.rs"]
mod escape_links;
#[path = "promises/examples.rs"]
mod examples;
#[path = "promises/exit_codes.rs"]
mod exit_codes;
#[path = "promises/feedback.rs"]
mod feedback;
#[path = "promises/functions.rs"]
mod functions;
#[path = "promises/functions_contained.rs"]
mod functions_contained;
#[path = "promises/functions_inspected.rs"]
mod functions_inspected;
#[path = "promises/functions_node.rs"]
mod functions_node;
#[path = "promises/functions_packages.rs"]
mod functions_packages;
#[path = "promises/functions_s3.rs"]
mod functions_s3;
#[path = "promises/functions_uncontained.rs"]
mod functions_uncontained;
#[path = "promises/hostile.rs"]
mod hostile;
#[path = "promises/identity.rs"]
mod identity;
#[path = "promises/import.rs"]
mod import;
#[path = "promises/import_refused.rs"]
mod import_refused;
#[path = "promises/inventory.rs"]
mod inventory;
#[path = "promises/jobs.rs"]
mod jobs;
#[path = "promises/jobs_peers.rs"]
mod jobs_peers;
#[path = "promises/layers.rs"]
mod layers;
#[path = "promises/ledger.rs"]
mod ledger;
#[path = "promises/local_resources.rs"]
mod local_resources;
#[path = "promises/logs.rs"]
mod logs;
#[path = "promises/messages.rs"]
mod messages;
#[path = "promises/metrics.rs"]
mod metrics;
#[path = "promises/ml_sdk.rs"]
mod ml_sdk;
#[path = "promises/mutations.rs"]
mod mutations;
#[path = "promises/outage.rs"]
mod outage;
#[path = "promises/packing.rs"]
mod packing;
#[path = "promises/page.rs"]
mod page;
#[path = "promises/policy.rs"]
mod policy;
#[path = "promises/power_cuts.rs"]
mod power_cuts;
#[path = "promises/proxy.rs"]
mod proxy;
#[path = "promises/quantize.rs"]
mod quantize;
#[path = "promises/s3_peers.rs"]
mod s3_peers;
#[path = "promises/self_test.rs"]
mod self_test;
#[path = "promises/service.rs"]
mod service;
#[path = "promises/serving.rs"]
mod serving;
#[path = "promises/signatures.rs"]
mod signatures;
#[path = "promises/soak.rs"]
mod soak;
#[path = "promises/sources.rs"]
mod sources;
#[path = "promises/spool.rs"]
mod spool;
#[path = "promises/state.rs"]
mod state;
#[path = "promises/token_exchange.rs"]
mod token_exchange;
#[path = "promises/triggers.rs"]
mod triggers;
#[path = "promises/uplink.rs"]
mod uplink;
