//! The local cloud: what an appliance needs of AWS, on loopback, in one process.
//!
//! It owns a certificate authority, a credentials provider on mutual TLS, an S3 endpoint that verifies Signature
//! Version 4, and an MQTT broker with certificate identity, topic policies and AWS IoT Jobs. It checks what AWS checks, so that a
//! client that works here is not surprised there; `README.md` beside this crate says where that ends. It serves
//! `margay demo` and the tests, and refuses to listen anywhere but on 127.0.0.1.
#![forbid(unsafe_code)]

mod authority;
mod broker;
mod cloud;
mod cloud_clock;
mod counters;
mod credentials;
mod device;
mod endpoint;
mod error;
mod faults;
mod issued;
mod jobs;
mod lock;
mod policy;
mod random;
mod registry;
mod s3;
mod sagemaker;
mod settings;
mod tls;

pub use cloud::LocalCloud;
pub use counters::{Counters, Served};
pub use device::DeviceFiles;
pub use error::CloudError;
pub use faults::{CredentialsFault, Faults, Lasting, S3Fault};
pub use jobs::{Execution, JobStatus};
pub use policy::{THING_NAME, TopicPolicy};
pub use registry::CertificateId;
pub use s3::StoredVersion;
pub use settings::{Ports, Settings};
