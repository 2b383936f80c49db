//! One thread for the deadlines of all pools, started when the first is set.
//!
//! Not of the loom seam: the models call what the timer calls, [`TaskRef::expire`], at any moment.

use super::cell::TaskRef;
use super::error::TaskId;
use crate::{sys, unwind};
use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Instant;

struct Timer {
    queue: Mutex<Queue>,
    changed: Condvar,
}

struct Queue {
    tasks: BTreeMap<(Instant, TaskId), TaskRef>,
    /// There is a thread. It stays as long as there are deadlines, and some time more.
    running: bool,
    /// In which process: a child has none of its parent's threads.
    forks: u64,
}

static TIMER: Timer = Timer {
    queue: Mutex::new(Queue {
        tasks: BTreeMap::new(),
        running: false,
        forks: 0,
    }),
    changed: Condvar::new(),
};

/// How long the thread stays without a deadline.
const KEEP_ALIVE: std::time::Duration = std::time::Duration::from_secs(10);

fn queue() -> MutexGuard<'static, Queue> {
    TIMER
        .queue
        .lock()
        .unwrap_or_else(|poison| poison.into_inner())
}

/// The task expires at `deadline` unless it is removed.
pub(super) fn add(deadline: Instant, task: TaskRef) {
    let mut queue = queue();
    if queue.forks != sys::forks() {
        queue.forks = sys::forks();
        queue.running = false;
        // The parent's tasks: their pools are its own.
        std::mem::forget(std::mem::take(&mut queue.tasks));
    }
    let key = (deadline, task.id());
    let first = queue
        .tasks
        .first_key_value()
        .is_none_or(|(first, _)| key < *first);
    queue.tasks.insert(key, task);
    if queue.running {
        if first {
            TIMER.changed.notify_one();
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
