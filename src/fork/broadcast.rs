//! `broadcast`: once on each worker.

use crate::job::{Fate, Task};
use crate::latch::Latch;
use crate::pool::{Seat, ThreadPool, worker};
use crate::sync::{Mutex, lock};
use crate::unwind::{self, Payload};
use std::ptr;

impl ThreadPool {
    /// Runs `f` once on each worker, with the worker's index, and returns the results by index.
    ///
    /// Workers that have no thread yet are started; for one that cannot be started, the caller runs `f`. A worker
    /// that waits in a `join`, `scope` or `map` runs it at once, on top of that wait: so hold no lock
    /// across such a wait that `f` takes. A busy worker runs it when it next looks for work.
    ///
    /// # Panics
    /// With the panic of the lowest index, after all have ended.
    ///
    /// # Blocking
    /// Until every worker has run it: as long as the longest task that runs now.
    ///
    /// ```
    /// let pool = heist::ThreadPool::builder().num_threads(3).build()?;
    /// assert_eq!(pool.broadcast(|index| index * 10), [0, 10, 20]);
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn broadcast<R: Send>(&self, f: impl Fn(usize) -> R + Sync) -> Vec<R> {
        let registry = self.registry();
        registry.check_fork();
        let count = self.num_threads();
        let results: Vec<Mutex<Option<Result<R, Payload>>>> =
            (0..count).map(|_| Mutex::new(None)).collect();
        let latch = Latch::new(count);
        let run = |index: usize| {
            let outcome = unwind::catch(|| f(index));
            *lock(&results[index]) = Some(outcome);
        };
        let own = worker::home_index(registry).filter(|&index| index < count);
        for index in (0..count).filter(|&index| Some(index) != own) {
            if registry.sleep.claim_worker(index) && registry.start(Seat::Worker(index)).is_err() {
                run(index);
                latch.count_down();
                continue;
            }
            let (run, latch) = (&run, latch.clone());
            let letter = move |fate| {
                if fate == Fate::Run {
                    run(index);
                }
                latch.count_down();
            };
            // SAFETY: this function does not return before the latch is set, which is the last thing that the letter
            // does with anything it borrows (its latch is its own clone).
            let letter = unsafe { Task::new(ptr::null(), None, letter) };
            registry.post(index, letter);
        }
        if let Some(index) = own {
            run(index);
            latch.count_down();
        }
        worker::block(&latch, None);
        let outcomes = results.into_iter().map(|cell| {
            cell.into_inner()
                .unwrap_or_else(|poison| poison.into_inner())
                .expect("heist: a worker ended without its broadcast")
        });
        // The first panic wins; later results and payloads are dropped without a word.
        let mut panic = None;
        let mut values = Vec::with_capacity(count);
        for outcome in outcomes {
            match outcome {
                Ok(value) => values.push(value),
                Err(payload) if panic.is_none() => panic = Some(payload),
                Err(payload) => unwind::drop_quietly(payload),
            }
        }
        match panic {
            None => values,
            Some(payload) => {
                unwind::drop_quietly(values);
                unwind::resume(payload)
            }
        }
    }
}
