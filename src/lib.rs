//! Margay turns a Linux box into an image-classification core: it exchanges the device's X.509 certificate for
//! temporary credentials, pulls model packages from S3, runs them in sandboxes over camera frames, and publishes
//! predictions over MQTT.
//!
//! The modules form layers, lowest last; each may use only what stands below it, and within a layer only what stands
//! to its right. `tests/layers.rs` holds them.
//!
//! | layer | modules |
//! |---|---|
//! | shell | [`cli`] → [`app`] |
//! | services | [`import`], [`jobs`] → [`packing`], [`serving`], [`deployment`] → [`documents`] → [`connector`], [`page`] → [`feedback`], [`inference_service`] → [`classifier`] → [`function`] → [`router`] |
//! | edges | [`mqtt`], [`s3`] → [`credentials`] → [`http`] → [`identity`], [`store`], [`ipc`], `log_file` |
//! | contracts | [`config`], [`group`], [`package`], [`topic`], [`payload`] |
//! | words | [`document`] → [`problem`], [`arn`] → [`name`], [`units`], [`secret`], [`clock`], [`backoff`], [`causes`], [`metrics`], [`statistics`], `disk` |
#![forbid(unsafe_code)]

pub mod app;
pub mod cli;

pub mod classifier;
pub mod connector;
pub mod deployment;
pub mod documents;
pub mod feedback;
pub mod function;
pub mod import;
pub mod inference_service;
pub mod jobs;
pub mod packing;
pub mod page;
pub mod router;
pub mod serving;

pub mod credentials;
pub mod http;
pub mod identity;
pub mod ipc;
mod log_file;
pub mod mqtt;
pub mod s3;
pub mod store;

pub mod config;
pub mod group;
pub mod package;
pub mod payload;
pub mod topic;

pub mod arn;
pub mod backoff;
pub mod causes;
pub mod clock;
mod disk;
pub mod document;
pub mod metrics;
pub mod name;
pub mod problem;
pub mod secret;
pub mod statistics;
pub mod units;
