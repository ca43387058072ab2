//! The operations that no safe interface offers, each wrapped so that its conditions are met here and not by its callers.
//!
//! All of them are for the starter and its copies, which have one thread, except [`landlock_abi`], which only asks, and
//! [`release`], which any process may call.

#![allow(unsafe_code)]

mod descriptors;
mod loader;
mod process;
mod start_up;

pub(crate) use descriptors::{adopt, close_all_except, place};
pub(crate) use loader::loaded_objects;
pub(crate) use process::{
    clone_lending_memory, clone_process, clone_process_into, landlock_abi, leave_keyring, reset_signals,
};
pub(crate) use start_up::{StartUpMemory, release};
