//! Running a future on the thread that needs its result.

use crate::executor::help::{self, Target};
use crate::sleep::{Event, Parker, Waited};
use crate::sync::{Arc, AtomicBool, Mutex, Ordering, lock};
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Wake, Waker};

/// Polls `future` on the current thread until it is ready, and returns its result.
///
/// Use it to call async code from a thread that may block, such as `main`. On a thread of a pool, another
/// thread takes over its work meanwhile, as in every wait. Inside async code, use `.await`.
///
/// # Panics
///
/// Panics if the future does.
///
/// # Blocking
///
/// Waits until the future is ready. Where no other thread of the pool can begin a task whose handle the future
/// awaits, as on the only worker of a pool without spare threads, the current thread runs it to its end, even if
/// the future could be ready without it. A future that waits for a task in another way, by a channel or a
/// combinator with wakers of its own, waits forever there. Threads of the pool that are blocked outside this
/// crate, and threads that cannot be started, count as others that can.
///
/// ```
/// let pool = heist::ThreadPool::new()?;
/// let handle = pool.submit(|| 6 * 7);
/// assert_eq!(heist::block_on(async { handle.await.unwrap() }), 42);
/// # Ok::<(), heist::BuildError>(())
/// ```
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let signal = std::sync::Arc::new(Signal::default());
    let waker = Waker::from(std::sync::Arc::clone(&signal));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
        help::block_for(&*signal, Target::Waker(&waker));
        // ORDERING: Acquire pairs with the Release in `wake_by_ref`: the next poll sees what was done before each wake-up that this forgets.
        signal.woken.swap(false, Ordering::Acquire);
    }
}

/// The event that a waker was called.
#[derive(Default)]
struct Signal {
    woken: AtomicBool,
    waiter: Mutex<Option<Arc<Parker>>>,
}

impl Wake for Signal {
    fn wake(self: std::sync::Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &std::sync::Arc<Self>) {
        // ORDERING: Release pairs with the Acquire in `block_on`.
        if !self.woken.swap(true, Ordering::AcqRel) {
            // The lock is free before the woken thread runs, which takes it.
            let waiter = lock(&self.waiter).take();
            if let Some(waiter) = waiter {
                waiter.unpark();
            }
        }
    }
}

impl Event for Signal {
    fn is_set(&self) -> bool {
        self.woken.load(Ordering::Acquire)
    }

    fn register(&self, parker: &Arc<Parker>) -> bool {
        let mut waiter = lock(&self.waiter);
        // Checked under the lock: a later wake-up finds the waiter.
        if self.is_set() {
            return false;
        }
        *waiter = Some(Arc::clone(parker));
        true
    }

    fn unregister(&self, _: &Arc<Parker>) {
        *lock(&self.waiter) = None;
    }

    fn waited(&self) -> Waited {
        Waited::WAKER
    }
}
