//! `spawn` and `spawn_fifo`.

use crate::global::{global, with_current};
use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// Starts a task that nobody waits for, on the current pool. Its panic goes to the pool's panic handler; without one it aborts.
///
/// ```
/// let (sender, receiver) = std::sync::mpsc::channel();
/// rayon_core::spawn(move || sender.send(1).unwrap());
/// assert_eq!(receiver.recv(), Ok(1));
/// ```
pub fn spawn<F>(func: F)
where
    F: FnOnce() + Send + 'static,
{
    if is_breadth_first() {
        spawn_fifo(func);
    } else if heist::takes_part() {
        heist::spawn(func);
    } else {
        global().spawn(func);
    }
}

/// [`spawn`], but what one worker spawns so begins in the order in which it was spawned.
pub fn spawn_fifo<F>(func: F)
where
    F: FnOnce() + Send + 'static,
{
    with_current(|pool| spawn_fifo_in(pool, func));
}

thread_local! {
    /// This thread is a worker of a pool that is built so.
    static BREADTH_FIRST: Cell<bool> = const { Cell::new(false) };
}

/// From now on what this thread spawns begins in order.
pub(crate) fn set_breadth_first() {
    BREADTH_FIRST.set(true);
}

pub(crate) fn is_breadth_first() -> bool {
    BREADTH_FIRST.get()
}

type Fifo = Arc<Mutex<VecDeque<Box<dyn FnOnce() + Send>>>>;

thread_local! {
    /// What this worker has spawned in order.
    static FIFO: Fifo = Fifo::default();
}

/// Each task has an entry in the worker's deque that stands for the oldest task in the worker's queue.
pub(crate) fn spawn_fifo_in(pool: &heist::ThreadPool, func: impl FnOnce() + Send + 'static) {
    // From outside they are in one queue anyway. A current thread that is in the pool for its life is so still when its variables are gone.
    let own = pool.current_thread_index().is_some();
    let Some(fifo) = own.then(|| FIFO.try_with(Arc::clone).ok()).flatten() else {
        return pool.spawn(func);
    };
    let lock = |fifo: &Fifo, change: &mut dyn FnMut(&mut VecDeque<_>)| {
        change(&mut fifo.lock().unwrap_or_else(PoisonError::into_inner));
    };
    let mut func: Option<Box<dyn FnOnce() + Send>> = Some(Box::new(func));
    lock(&fifo, &mut |queue| queue.extend(func.take()));
    pool.spawn(move || {
        let mut oldest = None;
        lock(&fifo, &mut |queue| oldest = queue.pop_front());
        if let Some(func) = oldest {
            func();
        }
    });
}
