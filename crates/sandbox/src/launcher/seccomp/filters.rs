//! Which lists hold for whom.

use super::calls::{self, PRETEND_MISSING};
use super::program::Program;

/// An inference or capture worker.
pub(super) static WORKER: Program = Program::new(&[calls::WORKER, calls::OPENING], calls::ARGUMENTS, PRETEND_MISSING);

/// A worker that takes connections from a socket that it was given.
pub(super) static WORKER_THAT_ACCEPTS: Program =
    Program::new(&[calls::WORKER, calls::OPENING, calls::ACCEPT], calls::ARGUMENTS, PRETEND_MISSING);

/// A user's function.
pub(super) static FUNCTION: Program =
    Program::new(&[calls::WORKER, calls::FUNCTION], calls::FUNCTION_ARGUMENTS, PRETEND_MISSING);

/// The first process of a PID namespace, while it watches.
pub(super) static INIT: Program = Program::new(&[calls::INIT], &[], &[]);

/// The same where there is no PID namespace.
pub(super) static INIT_AMONG_OTHERS: Program = Program::new(&[calls::INIT, calls::INIT_AMONG_OTHERS], &[], &[]);
