//! `broadcast`: once on each worker.

use crate::job::{Fate, Task};
use crate::latch::Latch;
use crate::pool::{ThreadPool, with_pool, worker};
use crate::sync::{Arc, Mutex, lock};
use crate::unwind::{self, Payload};
use std::ptr;

/// # A closure on each worker
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
        // Where a wait may run anything, what is addressed to this worker comes in its order, behind what it has queued itself.
        let own = own.filter(|_| !worker::waits_any(registry));
        for index in (0..count).filter(|&index| Some(index) != own) {
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
            registry.deliver(index, letter);
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

    /// [`broadcast`](Self::broadcast) that nobody waits for.
    ///
    /// # Panics
    /// Panics of `f` go to the [`panic_handler`](crate::ThreadPoolBuilder::panic_handler).
    ///
    /// ```
    /// let pool = heist::ThreadPool::builder().num_threads(3).build()?;
    /// let (sender, receiver) = std::sync::mpsc::channel();
    /// pool.spawn_broadcast(move |index| sender.send(index).unwrap());
    /// assert_eq!(receiver.iter().sum::<usize>(), 0 + 1 + 2);
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn spawn_broadcast(&self, f: impl Fn(usize) + Send + Sync + 'static) {
        let registry = self.registry();
        registry.check_fork();
        let (id, f) = (registry.id, Arc::new(f));
        let count = self.num_threads();
        registry.count(|counters| &counters.submitted, count as u64);
        for index in 0..count {
            let f = Arc::clone(&f);
            let letter = move |fate| {
                let outcome = (fate == Fate::Run).then(|| unwind::catch(|| f(index)));
                // Before the end is counted: the pool may have waited for that.
                unwind::drop_quietly(f);
                with_pool(id, |registry| {
                    let Some(registry) = registry else { return };
                    match outcome {
                        Some(Ok(())) => registry.count(|counters| &counters.completed, 1),
                        Some(Err(payload)) => {
                            registry.lost_panic(payload);
                            registry.count(|counters| &counters.failed, 1);
                        }
                        None => registry.count(|counters| &counters.cancelled, 1),
                    }
                });
            };
            // SAFETY: `f` borrows nothing.
            let letter = unsafe { Task::new(ptr::null(), None, letter) };
            registry.deliver(index, letter);
        }
    }
}
