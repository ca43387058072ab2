//! Models for other programs on the same machine: the Open Inference Protocol (KServe v2) over HTTP on loopback, with
//! the extensions for binary tensors, classification, model configuration and statistics as Triton defines them.
//!
//! A package is served twice: as `NAME`, which takes an encoded picture and prepares it by the package's own rules, and
//! as `NAME.tensor`, which takes the model's input tensor as it is. Both run in the package's one sandboxed worker, one
//! request after the other.
//!
//! * [`model`]: what is served, and the worker behind it
//! * `request`, `response`: the protocol's two documents
//! * [`server`]: connections, limits, paths

pub mod model;
mod request;
mod response;
pub mod server;
mod statistics;

pub use model::{Model, ServeError};
pub use server::serve;
