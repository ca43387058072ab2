//! One way to take a mutex. A panic in one test's request must not poison the whole cloud: every value behind these
//! locks is valid after each statement, so a poisoned lock is entered as any other.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks `mutex`, whether or not another thread panicked while it held it.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
