//! `spawn` and `spawn_fifo`.

use crate::global::{global, with_current};
use crate::settings::is_breadth_first;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// Spawns a task that nobody waits for, on the current pool. If it panics, the pool's panic handler is called, or else the process aborts.
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
    } else if heist::in_pool() {
        heist::spawn(func);
    } else {
        global().spawn(func);
    }
}

/// Spawns a task like [`spawn`]. Tasks that one worker spawns with this function begin in the order of spawning.
pub fn spawn_fifo<F>(func: F)
where
    F: FnOnce() + Send + 'static,
{
    with_current(|pool| spawn_fifo_in(pool, func));
}

type Fifo = Arc<Mutex<VecDeque<Box<dyn FnOnce() + Send>>>>;

thread_local! {
    /// The tasks that this worker has spawned with [`spawn_fifo`] and that have not begun, oldest first.
    static FIFO: Fifo = Fifo::default();
}

/// Queues `func` in the worker's own FIFO queue and pushes one entry to its deque. Whichever thread takes an entry runs the oldest task of that queue.
pub(crate) fn spawn_fifo_in(pool: &heist::ThreadPool, func: impl FnOnce() + Send + 'static) {
    // A thread outside the pool pushes to one queue, which is in order already. A thread that belongs to the pool for its whole life still
    // spawns when its thread-locals are gone.
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
