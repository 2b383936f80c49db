//! Threads that drop closures whose deadline passed before they began.
//!
//! The destructor of such a closure is the user's code: it can take long, block or panic. The timer's thread must not run it, and the workers can be busy
//! for longer than the deadlines of many tasks. Therefore destructors run on up to four separate threads, which serve all pools. The first one is started for
//! the first closure. Another one is started if a closure comes while at least 64 for each of these threads are queued. If the first one cannot be started,
//! the caller queues the destructor in the pool.
//!
//! A destructor that blocks holds up the ones behind it until it returns, or until so many closures have come that another thread is started. With all four
//! threads blocked, further destructors wait.
//!
//! Models have no such threads.

use crate::sync::MODEL;
use crate::sys::PerProcess;
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Drops a closure that never ran, when it is called or itself dropped.
pub(super) type DeferredDrop = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Late {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<DeferredDrop>,
    threads: usize,
    /// How many of them wait for jobs.
    idle: usize,
}

/// The maximum number of threads.
const MOST: usize = 4;

/// Another thread is started if a job comes while this many are queued for each thread. Fewer jobs wait behind a job that blocks.
const CROWD: usize = 64;

/// How long a thread waits for another job before it ends.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Returns the queue and threads of this process. A forked child begins without jobs and threads.
fn late() -> &'static Late {
    static LATE: PerProcess<Late> = PerProcess::new();
    LATE.get()
}

fn queue() -> MutexGuard<'static, Queue> {
    let queue = late().queue.lock();
    queue.unwrap_or_else(PoisonError::into_inner)
}

/// Makes another thread run `job`, which does not unwind. Returns the job if there is no thread and none can be started.
pub(super) fn run(job: DeferredDrop) -> Result<(), DeferredDrop> {
    if MODEL {
        return Err(job);
    }
    let mut queue = queue();
    let held_up = queue.jobs.len() >= CROWD * queue.threads;
    if queue.idle == 0 && held_up && queue.threads < MOST {
        let thread = thread::Builder::new().name("heist-late".to_owned());
        match thread.spawn(work) {
            Ok(_) => queue.threads += 1,
            Err(_) if queue.threads == 0 => return Err(job),
            Err(_) => {}
        }
    }
    queue.jobs.push_back(job);
    if queue.idle > 0 {
        late().changed.notify_one();
    }
    Ok(())
}

fn work() {
    let mut queue = queue();
    loop {
        while let Some(job) = queue.jobs.pop_front() {
            drop(queue);
            job();
            queue = self::queue();
        }
        queue.idle += 1;
        let waited = late().changed.wait_timeout(queue, KEEP_ALIVE);
        let timeout;
        (queue, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        queue.idle -= 1;
        if timeout.timed_out() && queue.jobs.is_empty() {
            queue.threads -= 1;
            return;
        }
    }
}
