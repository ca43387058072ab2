//! The threads that run a program together: they wait for the next picture by spinning for a moment, then sleeping.

use std::fmt;
use std::hint::spin_loop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::abort;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};

/// Threads that one program may use at most.
pub const MAX_THREADS: usize = 64;

/// Turns of a waiting thread before it sleeps: some 50 µs, longer than the steps of one picture lie apart.
const SPINS: usize = 2000;

/// A meeting point: nobody goes on before all are there.
pub(crate) struct Barrier {
    threads: usize,
    arrived: AtomicUsize,
    generation: AtomicUsize,
    sleepers: AtomicUsize,
    lock: Mutex<()>,
    wake: Condvar,
}

impl Barrier {
    fn new(threads: usize) -> Self {
        Self {
            threads,
            arrived: AtomicUsize::new(0),
            generation: AtomicUsize::new(0),
            sleepers: AtomicUsize::new(0),
            lock: Mutex::new(()),
            wake: Condvar::new(),
        }
    }

    /// Waits for the others. What each did before is seen by all afterwards.
    pub(crate) fn wait(&self) {
        let generation = self.generation.load(Ordering::SeqCst);
        if self.arrived.fetch_add(1, Ordering::SeqCst) + 1 == self.threads {
            self.arrived.store(0, Ordering::SeqCst);
            // A sleeper announces itself before it looks at the generation once more: either it sees the new one, or it
            // is seen here. Emulators of Arm on x86 let a load pass a plain store; this one they keep in its place.
            self.generation.fetch_add(1, Ordering::SeqCst);
            if self.sleepers.load(Ordering::SeqCst) > 0 {
                let _held = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
                self.wake.notify_all();
            }
            return;
        }
        for _ in 0..SPINS {
            if self.generation.load(Ordering::SeqCst) != generation {
                return;
            }
            spin_loop();
        }
        let mut held = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        while self.generation.load(Ordering::SeqCst) == generation {
            held = self.wake.wait(held).unwrap_or_else(PoisonError::into_inner);
        }
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What all threads do at once; they tell themselves apart by number.
type Job<'a> = dyn Fn(usize) + Sync + 'a;

struct Shared {
    /// Where a job begins and ends; set once it is known how many threads there are.
    gate: OnceLock<Barrier>,
    /// The job at hand; `None` ends the threads.
    job: Mutex<Option<&'static Job<'static>>>,
}

impl Shared {
    fn put(&self, job: Option<&'static Job<'static>>) {
        *self.job.lock().unwrap_or_else(PoisonError::into_inner) = job;
    }

    fn meet(&self) {
        self.gate.wait().wait();
    }
}

/// A team of threads, of which the caller is the first.
pub struct Threads {
    shared: Arc<Shared>,
    /// Where the threads meet within a job.
    barrier: Barrier,
    others: Vec<JoinHandle<()>>,
}

impl Threads {
    /// A team of `count` threads (1 to [`MAX_THREADS`]), or of as many as the system gives. One thread starts no other.
    #[must_use]
    pub fn new(count: usize) -> Self {
        let shared = Arc::new(Shared { gate: OnceLock::new(), job: Mutex::new(None) });
        let start = |number| {
            let shared = Arc::clone(&shared);
            thread::Builder::new().name(format!("kernels-{number}")).spawn(move || serve(&shared, number)).ok()
        };
        let others: Vec<_> = (1..count.clamp(1, MAX_THREADS)).map_while(start).collect();
        let count = others.len() + 1;
        shared.gate.get_or_init(|| Barrier::new(count));
        Self { shared, barrier: Barrier::new(count), others }
    }

    /// How many there are, the caller included.
    #[must_use]
    pub fn count(&self) -> usize {
        self.others.len() + 1
    }

    /// Has every thread do the job, and returns when all have done it. The job's threads meet at its second argument.
    pub(crate) fn run(&mut self, job: &(dyn Fn(usize, &Barrier) + Sync)) {
        let barrier = &self.barrier;
        let job = &move |number| job(number, barrier);
        if self.others.is_empty() {
            job(0);
            return;
        }
        let job: &Job<'_> = job;
        // SAFETY: only the lifetime is changed. The other threads use the job between the two meetings at the gate, and
        // this function, which borrows it, does not return before the second.
        let job = unsafe { std::mem::transmute::<&Job<'_>, &'static Job<'static>>(job) };
        self.shared.put(Some(job));
        self.shared.meet();
        unless_it_panics(|| job(0));
        self.shared.meet();
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if !self.others.is_empty() {
            self.shared.put(None);
            self.shared.meet();
            for thread in self.others.drain(..) {
                // A thread that panicked has ended the process.
                let _ = thread.join();
            }
        }
    }
}

impl fmt::Debug for Threads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Threads").field("count", &self.count()).finish_non_exhaustive()
    }
}

fn serve(shared: &Shared, number: usize) {
    loop {
        shared.meet();
        let Some(job) = *shared.job.lock().unwrap_or_else(PoisonError::into_inner) else { return };
        unless_it_panics(|| job(number));
        shared.meet();
    }
}

/// The others would wait at the next barrier for ever, with the job's memory borrowed: a job that panics, which none
/// does that was planned by this crate, ends the process. Its supervisor starts another.
fn unless_it_panics(job: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(job)).is_err() {
        abort();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_thread_does_every_job_once() {
        let mut team = Threads::new(4);
        let counts: Vec<AtomicUsize> = (0..4).map(|_| AtomicUsize::new(0)).collect();
        for _ in 0..1000 {
            team.run(&|number, _| {
                counts[number].fetch_add(1, Ordering::Relaxed);
            });
        }
        assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == 1000), "{counts:?}");
    }

    #[test]
    fn threads_that_fell_asleep_wake_up() {
        let mut team = Threads::new(3);
        let sum = AtomicUsize::new(0);
        for _ in 0..3 {
            thread::sleep(Duration::from_millis(30));
            team.run(&|number, _| {
                sum.fetch_add(number, Ordering::Relaxed);
            });
        }
        assert_eq!(sum.load(Ordering::Relaxed), 9);
    }

    #[test]
    fn nobody_passes_a_barrier_before_all_are_there() {
        let mut team = Threads::new(3);
        let steps = AtomicUsize::new(0);
        team.run(&|_, barrier| {
            for step in 1..=500 {
                steps.fetch_add(1, Ordering::SeqCst);
                barrier.wait();
                assert_eq!(steps.load(Ordering::SeqCst), 3 * step);
                barrier.wait();
            }
        });
    }
}
