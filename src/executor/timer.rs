//! The timer: one thread that keeps the deadlines of all pools, and wakes the futures that sleep. It is started when the first deadline is set.
//!
//! The deadlines are in a timing wheel ([`wheel`](super::wheel)) under a lock. No thread holds the lock for longer than a step of the wheel takes.
//!
//! If that thread cannot be started, other threads keep the deadlines. A thread that waits for a task ([`block`]) wakes at the next deadline and expires tasks,
//! and so does a thread that asks whether a task has finished ([`check_deadlines`]). The runner of a task checks its deadline before and after the run. Each new
//! deadline, each wait and each question tries to start the thread again.
//!
//! Loom's models have no timer: they call [`TaskRef::expire`] at any moment.

use super::task::TaskRef;
pub(crate) use super::wheel::Key;
use super::wheel::{BATCH, Next, Wheel};
use crate::pool::worker;
use crate::sleep::Event;
#[cfg(heist_shuttle)]
use crate::sync::{Condvar, Mutex, MutexGuard};
use crate::sync::{now, thread};
#[cfg(not(heist_shuttle))]
use crate::sys::PerProcess;
use crate::unwind;
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

struct Queue {
    /// Its times are nanoseconds from `start`.
    wheel: Wheel<Entry>,
    start: Instant,
    /// When the wheel's next step is due. The thread waits until then.
    next: u64,
    /// Whether the thread is running. It runs as long as there are deadlines, and for [`KEEP_ALIVE`] afterwards.
    running: bool,
}

impl Default for Queue {
    fn default() -> Self {
        Queue {
            wheel: Wheel::default(),
            start: now(),
            next: u64::MAX,
            running: false,
        }
    }
}

impl Queue {
    /// The time of the wheel. A moment before the start counts as the start, and one more than 584 years after it never comes.
    fn time(&self, moment: Instant) -> u64 {
        let since = moment.saturating_duration_since(self.start).as_nanos();
        u64::try_from(since).unwrap_or(u64::MAX)
    }

    fn insert(&mut self, deadline: Instant, entry: Entry) -> Key {
        let (key, next) = self.wheel.insert(self.time(deadline), entry);
        let earlier = next < self.next;
        if earlier {
            self.next = next;
        }
        if !self.running {
            start(self);
        } else if earlier {
            timer().changed.notify_one();
        }
        key
    }
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

/// Adds a task, which expires at `deadline` unless the entry is [removed](remove) before.
pub(super) fn add(deadline: Instant, task: TaskRef) -> Key {
    queue().insert(deadline, Entry::Task(task))
}

/// Adds a waker, which is called at `deadline` unless the entry is [removed](remove) before. If the entry `old` is still there, the waker takes the place of its
/// waker.
pub(crate) fn add_waker(deadline: Instant, old: Option<Key>, waker: Waker) -> Key {
    let (mut queue, entry) = (queue(), Entry::Waker(waker));
    let Some((key, place)) = old.and_then(|key| Some((key, queue.wheel.get_mut(key)?))) else {
        return queue.insert(deadline, entry);
    };
    let replaced = std::mem::replace(place, entry);
    // A waker's destructor is the user's code, so it runs after the lock is released.
    drop(queue);
    drop(replaced);
    key
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

/// Returns a moment that is not after the first deadline, if the thread is not running and cannot be started.
fn unwatched_deadline() -> Option<Instant> {
    if !UNWATCHED.load(Ordering::Relaxed) {
        return None;
    }
    let mut queue = queue();
    if queue.wheel.is_empty() {
        return None;
    }
    if !queue.running {
        start(&mut queue);
    }
    let next = Duration::from_nanos(queue.next);
    (!queue.running).then(|| queue.start.checked_add(next))?
}

/// Expires the tasks whose deadlines have passed, if the timer's thread is not running. Called before a question about a task that does not wait.
pub(crate) fn check_deadlines() {
    if unwatched_deadline().is_some() {
        let mut due = Vec::new();
        while fire_due(queue(), &mut due).is_ok() {}
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

/// Removes the entry of a task that has ended, or of a future that no longer sleeps. Does nothing if the deadline has come.
pub(crate) fn remove(key: Key) {
    // Dropped after the lock is released.
    let entry = queue().wheel.remove(key);
    drop(entry);
}

/// The most steps of the wheel between two releases of the lock.
const STEPS: usize = 4;

/// Lets the wheel make some steps, and serves the entries whose time has come with the lock released. If there is nothing to do now, returns the lock, and the
/// time until there is if there are entries. `due` is empty before and after the call, and keeps its memory.
fn fire_due(
    mut queue: MutexGuard<'static, Queue>,
    due: &mut Vec<Entry>,
) -> Result<(), (MutexGuard<'static, Queue>, Option<Duration>)> {
    let now = queue.time(now());
    let mut next = queue.wheel.step(now, due);
    for _ in 1..STEPS {
        if next != Next::Now || due.len() >= BATCH {
            break;
        }
        next = queue.wheel.step(now, due);
    }
    let left = match next {
        _ if !due.is_empty() => {
            drop(queue);
            due.drain(..).for_each(Entry::fire);
            return Ok(());
        }
        Next::Now => return Ok(()),
        Next::At(time) => {
            queue.next = time;
            Some(Duration::from_nanos(time - now))
        }
        Next::Never => {
            queue.next = u64::MAX;
            None
        }
    };
    Err((queue, left))
}

/// The timer's thread.
fn run() {
    let (mut queue, mut due) = (queue(), Vec::new());
    loop {
        match fire_due(queue, &mut due) {
            Ok(()) => queue = self::queue(),
            Err((unchanged, left)) => {
                let over;
                (queue, over) = wait_for_change(unchanged, left.unwrap_or(KEEP_ALIVE));
                if left.is_none() && over && queue.wheel.is_empty() {
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
