//! The operations that no safe interface offers, each wrapped so that its conditions are met here and not by its callers.
//!
//! All of them are for the launcher, which has one thread, except [`landlock_abi`], which only asks.

#![allow(unsafe_code)]

mod descriptors;
mod loader;
mod process;

pub(crate) use descriptors::{adopt, close_all_except, place};
pub(crate) use loader::loaded_objects;
pub(crate) use process::{clone_process, landlock_abi, reset_signals};
