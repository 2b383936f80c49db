//! One thread for the deadlines of all pools, started when the first is set.
//!
//! If that thread cannot be started, others keep the deadlines. Whoever waits for a task ([`block`]) wakes at the next deadline and
//! does the thread's work; so does whoever asks whether a task has finished ([`look`]). The runner of a task asks the clock when it
//! begins and when it has ended it. Each new deadline, and each wait or question, tries to start the thread again.
//!
//! Not of the seam under loom: the models call what the timer calls, [`TaskRef::expire`], at any moment.

use super::cell::TaskRef;
use super::error::TaskId;
use crate::pool::worker::{self, Event};
#[cfg(shuttle)]
use crate::sync::{Condvar, Mutex, MutexGuard};
use crate::sync::{now, thread};
#[cfg(not(shuttle))]
use crate::sys::PerProcess;
use crate::unwind;
use std::collections::BTreeMap;
// Of std in models too: a hint that spares the lock.
use std::sync::atomic::{AtomicBool, Ordering};
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
    start(&mut queue);
}

/// The last start has failed. Written under the queue's lock.
static UNATTENDED: AtomicBool = AtomicBool::new(false);

/// Starts the thread.
fn start(queue: &mut Queue) {
    let thread = thread::Builder::new().name("heist-timer".to_owned());
    queue.running = thread.spawn(run).is_ok();
    // ORDERING: Relaxed: who waits for a task with a deadline has submitted it, or has its handle from whoever did.
    UNATTENDED.store(!queue.running, Ordering::Relaxed);
}

/// The first deadline that no thread watches.
fn unattended() -> Option<Instant> {
    if !UNATTENDED.load(Ordering::Relaxed) {
        return None;
    }
    let mut queue = queue();
    let (first, _) = *queue.tasks.first_key_value()?.0;
    if !queue.running {
        start(&mut queue);
    }
    (!queue.running).then_some(first)
}

/// Keeps the deadlines that have passed, if the timer has no thread: for those who ask about a task and do not wait.
pub(super) fn look() {
    if unattended().is_some() {
        while expire_next(queue()).is_ok() {}
    }
}

/// [`worker::block`], which keeps the deadlines of tasks meanwhile if the timer has no thread.
pub(super) fn block(event: &impl Event, deadline: Option<Instant>) -> bool {
    while let Some(first) = unattended() {
        if worker::block(
            event,
            Some(deadline.map_or(first, |deadline| deadline.min(first))),
        ) {
            return true;
        }
        if deadline.is_some_and(|deadline| now() >= deadline) {
            return event.is_set();
        }
        look();
    }
    worker::block(event, deadline)
}

pub(super) fn remove(deadline: Instant, task: TaskId) {
    let task = queue().tasks.remove(&(deadline, task));
    drop(task);
}

/// Ends the first task whose deadline has passed; the lock is free meanwhile. `Err`: there is none; the lock, and how long the first one has.
fn expire_next(
    mut queue: MutexGuard<'static, Queue>,
) -> Result<(), (MutexGuard<'static, Queue>, Option<Duration>)> {
    let now = now();
    let task = match queue.tasks.first_entry() {
        Some(first) if first.key().0 <= now => first.remove(),
        Some(first) => {
            let left = first.key().0 - now;
            return Err((queue, Some(left)));
        }
        None => return Err((queue, None)),
    };
    drop(queue);
    // If the pool goes here, so do its hooks, which are the user's: the thread is everybody's and must live.
    if let Err(payload) = unwind::catch(|| task.expire()) {
        unwind::drop_quietly(payload);
    }
    drop(task);
    Ok(())
}

fn run() {
    let mut queue = queue();
    loop {
        let left;
        (queue, left) = match expire_next(queue) {
            Ok(()) => {
                queue = self::queue();
                continue;
            }
            Err(later) => later,
        };
        let over;
        (queue, over) = wait_for_change(queue, left.unwrap_or(KEEP_ALIVE));
        if left.is_none() && over && queue.tasks.is_empty() {
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
