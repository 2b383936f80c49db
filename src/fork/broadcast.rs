//! `broadcast`: runs a closure once on each worker.

use super::join::after_panic;
use crate::job::{Fate, Task};
use crate::latch::Latch;
use crate::pool::{ThreadPool, context, with_pool, worker};
use crate::record::{Entry, Named, SiteInfo, Work};
use crate::sync::{Arc, Mutex, lock};
use crate::unwind::{self, Payload};
use std::ptr;

/// The site of a broadcast of this closure.
fn broadcast_of<F>(_: &F) -> &'static SiteInfo {
    Named::<F>::BROADCAST
}

/// # A closure on each worker
impl ThreadPool {
    /// Runs `f` once on each worker, passing the worker's index, and returns the results in index order.
    ///
    /// Workers without a thread are started; for a worker whose thread cannot be started, the caller runs
    /// `f`. Guests and spare threads do not run it. A busy worker runs `f` when it next looks for work. A
    /// worker that waits in a `join`, `scope` or `map` runs it at once, on top of that wait, so do not hold a
    /// lock that `f` takes across such a wait.
    ///
    /// # Panics
    ///
    /// If `f` panics, the panic of the lowest index resumes in the caller after all workers have run it.
    ///
    /// # Blocking
    ///
    /// Waits until every worker has run `f`, which takes at least as long as the longest task that is
    /// running.
    ///
    /// ```
    /// let pool = heist::ThreadPool::builder().num_threads(3).build()?;
    /// assert_eq!(pool.broadcast(|index| index * 10), [0, 10, 20]);
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn broadcast<R: Send>(&self, f: impl Fn(usize) -> R + Sync) -> Vec<R> {
        let site = broadcast_of(&f);
        let registry = self.registry();
        registry.check_fork();
        let count = self.num_threads();
        let results: Vec<Mutex<Option<Result<R, Payload>>>> =
            (0..count).map(|_| Mutex::new(None)).collect();
        let latch = Latch::new(count);
        let token = context::token();
        let run = |index: usize, fate: Fate| {
            let run = || unwind::catch(|| context::with_token(token, || f(index)));
            let outcome = worker::recorded(fate, Work::Broadcast, site, run);
            *lock(&results[index]) = Some(outcome);
        };
        // If waits may run any work, a worker does not run `f` at once, but after what it has queued itself.
        let own = worker::home_index(registry)
            .filter(|&index| index < count && !worker::waits_any(registry));
        for index in (0..count).filter(|&index| Some(index) != own) {
            let (run, latch) = (&run, latch.clone());
            let task = move |fate: Fate| {
                if fate.runs() {
                    run(index, fate);
                }
                latch.count_down();
            };
            // SAFETY: (1) this function does not return before the latch is set. Counting down is the last thing that the task does, and its latch is a clone
            // of its own, so that it uses no borrow afterwards. (2) There is no group. (3) The task does not unwind: `run` catches the panics of `f`.
            let task = unsafe { Task::new(ptr::null(), None, task) };
            registry.deliver(index, task);
        }
        if let Some(index) = own {
            run(index, Fate::Run);
            latch.count_down();
        }
        worker::block(&latch, None);
        // The panic of the lowest index wins. Results and other payloads are then dropped, and panics of their destructors too.
        let mut panic = None;
        let mut values = Vec::with_capacity(count);
        for result in &results {
            let outcome = lock(result).take();
            match outcome.expect("heist: a worker ended without its broadcast") {
                Ok(value) => values.push(value),
                Err(payload) if panic.is_none() => panic = Some(payload),
                Err(payload) => unwind::drop_quietly(payload),
            }
        }
        match panic {
            None => values,
            Some(payload) => after_panic(payload, || drop(values)),
        }
    }

    /// Runs `f` once on each worker, as [`broadcast`](Self::broadcast) does, without waiting for it.
    ///
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
        let site = broadcast_of(&f);
        let registry = self.registry();
        registry.check_fork();
        let (id, f) = (registry.id, Arc::new(f));
        let count = self.num_threads();
        registry.count(|counters| &counters.submitted, count as u64);
        for index in 0..count {
            let f = Arc::clone(&f);
            let task = move |fate: Fate| {
                let run = || unwind::catch(|| f(index));
                let run = || worker::recorded(fate, Work::Broadcast, site, run);
                let outcome = fate.runs().then(run);
                // Before the end is counted: from then on `wait_idle` can return, and the captures must be gone.
                unwind::drop_quietly(f);
                with_pool(id, |registry| match outcome {
                    Some(Ok(())) => registry.count(|counters| &counters.completed, 1),
                    Some(Err(payload)) => {
                        registry.report_lost_panic(payload);
                        registry.count(|counters| &counters.failed, 1);
                    }
                    None => {
                        registry.count(|counters| &counters.cancelled, 1);
                        registry.record(Entry::Cancelled { id: 0 });
                    }
                });
            };
            // SAFETY: (1) `f` is `'static`: it borrows nothing. (2) There is no group. (3) The task does not unwind: panics of `f` and of its destructor are caught.
            let task = unsafe { Task::new(ptr::null(), None, task) };
            registry.deliver(index, task);
        }
    }
}
