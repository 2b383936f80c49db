//! One thread for the deadlines of all pools, started when the first is set.
//!
//! Not of the seam under loom: the models call what the timer calls, [`TaskRef::expire`], at any moment.

use super::cell::TaskRef;
use super::error::TaskId;
#[cfg(shuttle)]
use crate::sync::{Condvar, Mutex, MutexGuard};
use crate::sync::{now, thread};
#[cfg(not(shuttle))]
use crate::sys::PerProcess;
use crate::unwind;
use std::collections::BTreeMap;
#[cfg(not(shuttle))]
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

#[derive(Default)]
struct Timer {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    tasks: BTreeMap<(Instant, TaskId), TaskRef>,
    /// There is a thread. It stays as long as there are deadlines, and some time more.
    running: bool,
}

/// A child process begins without deadlines: its parent's tasks are no concern of its.
#[cfg(not(shuttle))]
fn timer() -> &'static Timer {
    static TIMER: PerProcess<Timer> = PerProcess::new();
    TIMER.get()
}

// Each schedule has its own.
#[cfg(shuttle)]
shuttle::lazy_static! {
    static ref TIMER: Timer = Timer::default();
}

#[cfg(shuttle)]
fn timer() -> &'static Timer {
    &TIMER
}

/// How long the thread stays without a deadline.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

fn queue() -> MutexGuard<'static, Queue> {
    let queue = timer().queue.lock();
    queue.unwrap_or_else(|poison| poison.into_inner())
}

/// The task expires at `deadline` unless it is removed.
pub(super) fn add(deadline: Instant, task: TaskRef) {
    let mut queue = queue();
    let key = (deadline, task.id());
    let first = queue
        .tasks
        .first_key_value()
        .is_none_or(|(first, _)| key < *first);
    queue.tasks.insert(key, task);
    if queue.running {
        if first {
            timer().changed.notify_one();
        }
        return;
    }
    let thread = thread::Builder::new().name("heist-timer".to_owned());
    // Without a thread deadlines are not kept; the next one tries again.
    queue.running = thread.spawn(run).is_ok();
}

pub(super) fn remove(deadline: Instant, task: TaskId) {
    let task = queue().tasks.remove(&(deadline, task));
    drop(task);
}

fn run() {
    let mut queue = queue();
    loop {
        let now = now();
        let wait = match queue.tasks.first_entry() {
            Some(first) if first.key().0 <= now => {
                let task = first.remove();
                drop(queue);
                // If the pool goes here, so do its hooks, which are the user's: the thread is everybody's and must live.
                if let Err(payload) = unwind::catch(|| task.expire()) {
                    unwind::drop_quietly(payload);
                }
                drop(task);
                queue = self::queue();
                continue;
            }
            Some(first) => first.key().0 - now,
            None => KEEP_ALIVE,
        };
        let idle = queue.tasks.is_empty();
        let over;
        (queue, over) = wait_for_change(queue, wait);
        if idle && over && queue.tasks.is_empty() {
            queue.running = false;
            return;
        }
    }
}

/// Waits for another deadline. True: the time was over before.
fn wait_for_change(
    queue: MutexGuard<'static, Queue>,
    time: Duration,
) -> (MutexGuard<'static, Queue>, bool) {
    #[cfg(not(shuttle))]
    {
        let (queue, waited) = timer()
            .changed
            .wait_timeout(queue, time)
            .unwrap_or_else(|poison| poison.into_inner());
        (queue, waited.timed_out())
    }
    #[cfg(shuttle)]
    crate::sync::wait_timeout(&timer().queue, queue, time, |_| false)
}
