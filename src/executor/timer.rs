//! The timer: one thread that keeps the deadlines of all pools, and wakes the futures that sleep. It is started when the first deadline is set.
//!
//! If that thread cannot be started, other threads keep the deadlines. A thread that waits for a task ([`block`]) wakes at the next deadline and expires tasks,
//! and so does a thread that asks whether a task has finished ([`check_deadlines`]). The runner of a task checks its deadline before and after the run. Each new
//! deadline, each wait and each question tries to start the thread again.
//!
//! Loom's models have no timer: they call [`TaskRef::expire`] at any moment.

use super::error::TaskId;
use super::task::TaskRef;
use crate::pool::worker;
use crate::sleep::Event;
#[cfg(heist_shuttle)]
use crate::sync::{Condvar, Mutex, MutexGuard};
use crate::sync::{now, thread};
#[cfg(not(heist_shuttle))]
use crate::sys::PerProcess;
use crate::unwind;
use std::collections::BTreeMap;
// From std in models too: a hint that saves taking the lock.
use std::sync::atomic::{AtomicBool, Ordering};
#[cfg(not(heist_shuttle))]
use std::sync::{Condvar, Mutex, MutexGuard};
use std::task::Waker;
use std::time::{Duration, Instant};

#[derive(Default)]
struct Timer {
    queue: Mutex<Queue>,
    changed: Condvar,
}

/// What the timer does at its time.
enum Entry {
    /// Expires a task.
    Task(TaskRef),
    /// Wakes a future.
    Waker(Waker),
}

impl Entry {
    /// Called on the timer's thread, which serves all pools and therefore survives panics. An expired task may drop the last reference to a pool, and with it
    /// the user's hooks. A waker is the user's code.
    fn fire(self) {
        let fired = unwind::catch(|| match self {
            Entry::Task(task) => task.expire(),
            Entry::Waker(waker) => waker.wake(),
        });
        fired.unwrap_or_else(unwind::drop_quietly);
    }
}

#[derive(Default)]
struct Queue {
    /// By time. Entries with the same time are told apart by a number that no other entry has.
    entries: BTreeMap<(Instant, TaskId), Entry>,
    /// Whether the thread is running. It runs as long as there are deadlines, and for [`KEEP_ALIVE`] afterwards.
    running: bool,
}

/// Returns the timer of this process. A forked child begins with an empty one.
#[cfg(not(heist_shuttle))]
fn timer() -> &'static Timer {
    static TIMER: PerProcess<Timer> = PerProcess::new();
    TIMER.get()
}

// Each schedule of shuttle has its own timer.
#[cfg(heist_shuttle)]
shuttle::lazy_static! {
    static ref TIMER: Timer = Timer::default();
}

#[cfg(heist_shuttle)]
fn timer() -> &'static Timer {
    &TIMER
}

/// Returns the moment that is `timeout` from now, or `None` if it is beyond what [`Instant`] can hold and never comes.
pub(crate) fn deadline_after(timeout: Duration) -> Option<Instant> {
    now().checked_add(timeout)
}

/// How long the thread waits for another deadline before it ends.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

fn queue() -> MutexGuard<'static, Queue> {
    let queue = timer().queue.lock();
    queue.unwrap_or_else(|poison| poison.into_inner())
}

/// Adds a task, which expires at `deadline` unless it is [removed](remove) before.
pub(super) fn add(deadline: Instant, task: TaskRef) {
    insert((deadline, task.id), Entry::Task(task));
}

/// Adds a waker, which is called at `deadline` unless the entry is [removed](remove) before, or replaces the one of this number.
pub(crate) fn add_waker(deadline: Instant, number: TaskId, waker: Waker) {
    insert((deadline, number), Entry::Waker(waker));
}

fn insert(key: (Instant, TaskId), entry: Entry) {
    let mut queue = queue();
    let replaced = queue.entries.insert(key, entry);
    if !queue.running {
        start(&mut queue);
    } else if queue.entries.keys().next() == Some(&key) {
        timer().changed.notify_one();
    }
    drop(queue);
    drop(replaced);
}

/// Whether the last attempt to start the thread failed. Written under the queue's lock.
static UNWATCHED: AtomicBool = AtomicBool::new(false);

/// Starts the thread.
fn start(queue: &mut Queue) {
    let thread = thread::Builder::new().name("heist-timer".to_owned());
    queue.running = thread.spawn(run).is_ok();
    // ORDERING: Relaxed: a thread that waits for a task with a deadline has submitted the task, or has got the handle from the thread that did.
    UNWATCHED.store(!queue.running, Ordering::Relaxed);
}

/// Returns the first deadline, if the thread is not running and cannot be started.
fn unwatched_deadline() -> Option<Instant> {
    if !UNWATCHED.load(Ordering::Relaxed) {
        return None;
    }
    let mut queue = queue();
    let (first, _) = *queue.entries.first_key_value()?.0;
    if !queue.running {
        start(&mut queue);
    }
    (!queue.running).then_some(first)
}

/// Expires the tasks whose deadlines have passed, if the timer's thread is not running. Called before a question about a task that does not wait.
pub(crate) fn check_deadlines() {
    if unwatched_deadline().is_some() {
        while fire_due(queue()).is_ok() {}
    }
}

/// Waits as [`worker::block`] does, and expires tasks meanwhile if the timer's thread is not running.
pub(crate) fn block(event: &impl Event, deadline: Option<Instant>) -> bool {
    while let Some(first) = unwatched_deadline() {
        let next = deadline.map_or(first, |deadline| deadline.min(first));
        if worker::block(event, Some(next)) {
            return true;
        }
        if deadline.is_some_and(|deadline| now() >= deadline) {
            return event.is_set();
        }
        check_deadlines();
    }
    worker::block(event, deadline)
}

/// Waits as [`block`] does without a deadline, and runs no work on the current thread, even if the waits of its pool may run anything.
pub(super) fn block_idly(event: &impl Event) {
    // A wait with a time limit runs no work, and this limit is never reached.
    while !block(event, now().checked_add(LONG)) {}
}

/// About 136 years.
const LONG: Duration = Duration::from_secs(1 << 32);

/// Removes the entry of a task that has ended, or of a future that no longer sleeps.
pub(crate) fn remove(deadline: Instant, number: TaskId) {
    // Dropped after the lock is released.
    let entry = queue().entries.remove(&(deadline, number));
    drop(entry);
}

/// The most entries that are taken out of the queue at once.
const BATCH: usize = 64;

/// Releases the lock and serves the first entries whose time has come. If there are none, returns the lock, and the time until the first one if there is one.
fn fire_due(
    mut queue: MutexGuard<'static, Queue>,
) -> Result<(), (MutexGuard<'static, Queue>, Option<Duration>)> {
    let (now, mut due) = (now(), Vec::new());
    let left = loop {
        let Some(first) = queue.entries.first_entry() else {
            break None;
        };
        let left = first.key().0.saturating_duration_since(now);
        if !left.is_zero() || due.len() == BATCH {
            break Some(left);
        }
        due.push(first.remove());
    };
    if due.is_empty() {
        return Err((queue, left));
    }
    drop(queue);
    due.into_iter().for_each(Entry::fire);
    Ok(())
}

/// The timer's thread.
fn run() {
    let mut queue = queue();
    loop {
        match fire_due(queue) {
            Ok(()) => queue = self::queue(),
            Err((unchanged, left)) => {
                let over;
                (queue, over) = wait_for_change(unchanged, left.unwrap_or(KEEP_ALIVE));
                if left.is_none() && over && queue.entries.is_empty() {
                    queue.running = false;
                    return;
                }
            }
        }
    }
}

/// Waits until a deadline is added, for at most `time`. Returns whether the time passed first.
fn wait_for_change(
    queue: MutexGuard<'static, Queue>,
    time: Duration,
) -> (MutexGuard<'static, Queue>, bool) {
    #[cfg(not(heist_shuttle))]
    {
        let (queue, waited) = timer()
            .changed
            .wait_timeout(queue, time)
            .unwrap_or_else(|poison| poison.into_inner());
        (queue, waited.timed_out())
    }
    #[cfg(heist_shuttle)]
    crate::sync::wait_timeout(&timer().queue, queue, time, |_| false)
}
