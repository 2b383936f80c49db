//! One thread for the deadlines of all pools, started when the first is set.
//!
//! Not of the loom seam: the models call what the timer calls, [`TaskRef::expire`], at any moment.

use super::cell::TaskRef;
use super::error::TaskId;
use crate::sys::PerProcess;
use crate::unwind;
use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Instant;

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
static TIMER: PerProcess<Timer> = PerProcess::new();

/// How long the thread stays without a deadline.
const KEEP_ALIVE: std::time::Duration = std::time::Duration::from_secs(10);

fn queue() -> MutexGuard<'static, Queue> {
    let queue = TIMER.get().queue.lock();
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
            TIMER.get().changed.notify_one();
        }
        return;
    }
    let thread = std::thread::Builder::new().name("heist-timer".to_owned());
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
        let now = Instant::now();
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
        let (next, waited) = TIMER
            .get()
            .changed
            .wait_timeout(queue, wait)
            .unwrap_or_else(|poison| poison.into_inner());
        queue = next;
        if idle && waited.timed_out() && queue.tasks.is_empty() {
            queue.running = false;
            return;
        }
    }
}
