//! A pool with a limit on how many futures are under way.

use super::beside::beside;
use super::block_on;
use super::semaphore::{Acquire, Permit, Semaphore};
use crate::executor::JoinHandle;
use crate::pool::ThreadPool;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

/// Polls futures on a [`ThreadPool`], at most `limit` of them between their start and their end.
///
/// The others wait for their turn, in the order of their submission. It is what an `asyncio.Semaphore` around
/// each coroutine does in Python. Clones are handles of the same pool with the same limit, and several such
/// pools may use one `ThreadPool`.
///
/// ```
/// use std::time::Duration;
/// let threads = heist::ThreadPool::new()?;
/// let pool = heist::AsyncPool::new(&threads, 4);
/// let handles: Vec<_> = (0..10)
///     .map(|n| {
///         pool.submit(async move {
///             heist::sleep(Duration::from_millis(1)).await;
///             n * n
///         })
///     })
///     .collect();
/// assert!(pool.active() <= 4);
/// assert_eq!(heist::try_join_all(handles).unwrap()[9], 81);
/// # Ok::<(), heist::BuildError>(())
/// ```
#[derive(Clone)]
pub struct AsyncPool {
    pool: ThreadPool,
    limit: usize,
    shared: Arc<Shared>,
}

struct Shared {
    permits: Semaphore,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    pending: usize,
    active: usize,
    /// The wakers of those who wait until nothing is pending or active.
    idle: Vec<Waker>,
}

impl Shared {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsyncPool {
    /// Creates a pool that has at most `limit` futures under way on `pool`.
    ///
    /// # Panics
    ///
    /// Panics if `limit` is 0, with which nothing would ever begin.
    pub fn new(pool: &ThreadPool, limit: usize) -> Self {
        assert!(
            limit > 0,
            "heist: an AsyncPool with a limit of 0 would begin nothing: give at least 1"
        );
        AsyncPool {
            pool: pool.clone(),
            limit,
            shared: Arc::new(Shared {
                permits: Semaphore::new(limit),
                counts: Mutex::default(),
            }),
        }
    }

    /// Submits `future`, which begins when fewer than `limit` others are under way.
    ///
    /// The handle is that of [`ThreadPool::submit_async`]: it cancels a future that waits for its turn or has
    /// begun. A future that is cancelled makes room when it has been dropped.
    ///
    /// # Blocking
    ///
    /// Waits only as [`ThreadPool::submit`] does: if the pool's queue is full.
    #[track_caller]
    pub fn submit<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let mut turn = Turn::new(&self.shared);
        self.pool
            .submit_async(beside(Some(future), (), move |mut future, (), context| {
                if !turn.has_begun() && turn.poll(context).is_pending() {
                    return Poll::Pending;
                }
                let begun = future.as_mut().as_pin_mut();
                let begun = begun.expect("heist: a future was polled after it was ready");
                let polled = begun.poll(context);
                if polled.is_ready() {
                    // It is dropped before the next one begins.
                    future.set(None);
                    turn.end();
                }
                polled
            }))
    }

    /// Submits the future that `make` returns. `make` is called when it is the future's turn, on a worker.
    ///
    /// Use it for futures that hold much memory, so that only `limit` of them exist at a time.
    ///
    /// ```
    /// let threads = heist::ThreadPool::new()?;
    /// let pool = heist::AsyncPool::new(&threads, 1);
    /// let handle = pool.submit_with(|| {
    ///     let buffer = vec![1_u8; 1 << 20];
    ///     async move { buffer.len() }
    /// });
    /// assert_eq!(handle.join().unwrap(), 1 << 20);
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    #[track_caller]
    pub fn submit_with<F, M>(&self, make: M) -> JoinHandle<F::Output>
    where
        M: FnOnce() -> F + Send + 'static,
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.submit(async move { make().await })
    }

    /// Returns how many futures wait for their turn.
    pub fn pending(&self) -> usize {
        self.shared.counts().pending
    }

    /// Returns how many futures have begun and have not ended: at most [`limit`](Self::limit).
    pub fn active(&self) -> usize {
        self.shared.counts().active
    }

    /// Returns the limit.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Waits until no future is pending or active.
    ///
    /// ```
    /// let threads = heist::ThreadPool::new()?;
    /// let pool = heist::AsyncPool::new(&threads, 2);
    /// for n in 0..10 {
    ///     pool.submit(async move { n }).detach();
    /// }
    /// heist::block_on(pool.wait_idle());
    /// assert_eq!((pool.pending(), pool.active()), (0, 0));
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn wait_idle(&self) -> impl Future<Output = ()> + Send + use<> {
        let shared = Arc::clone(&self.shared);
        std::future::poll_fn(move |context| {
            let waker = context.waker().clone();
            let mut counts = shared.counts();
            if counts.pending + counts.active == 0 {
                return Poll::Ready(());
            }
            if !counts.idle.iter().any(|other| other.will_wake(&waker)) {
                counts.idle.push(waker);
            }
            Poll::Pending
        })
    }

    /// Waits as [`wait_idle`](Self::wait_idle) does, on the current thread.
    ///
    /// # Blocking
    ///
    /// Waits until no future is pending or active.
    pub fn wait_idle_blocking(&self) {
        block_on(self.wait_idle());
    }
}

impl fmt::Debug for AsyncPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncPool")
            .field("limit", &self.limit)
            .field("pending", &self.pending())
            .field("active", &self.active())
            .finish_non_exhaustive()
    }
}

/// The turn of one future. It is counted as pending, then as active, and no more when it has ended or is dropped.
struct Turn {
    shared: Arc<Shared>,
    state: TurnState,
}

enum TurnState {
    Pending(Acquire),
    Active(#[expect(dead_code, reason = "held until the end")] Permit),
    Ended,
}

impl Turn {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.counts().pending += 1;
        Turn {
            shared: Arc::clone(shared),
            state: TurnState::Pending(shared.permits.acquire()),
        }
    }

    fn has_begun(&self) -> bool {
        matches!(self.state, TurnState::Active(_))
    }

    fn poll(&mut self, context: &mut std::task::Context<'_>) -> Poll<()> {
        let TurnState::Pending(acquire) = &mut self.state else {
            return Poll::Ready(());
        };
        let Poll::Ready(permit) = Pin::new(acquire).poll(context) else {
            return Poll::Pending;
        };
        {
            let mut counts = self.shared.counts();
            counts.pending -= 1;
            counts.active += 1;
        }
        self.state = TurnState::Active(permit);
        Poll::Ready(())
    }

    /// Counts the end, then gives the permit back, so that no more than the limit are ever counted as active.
    fn end(&mut self) {
        let idle = {
            let mut counts = self.shared.counts();
            match self.state {
                TurnState::Pending(_) => counts.pending -= 1,
                TurnState::Active(_) => counts.active -= 1,
                TurnState::Ended => return,
            }
            if counts.pending + counts.active == 0 {
                std::mem::take(&mut counts.idle)
            } else {
                Vec::new()
            }
        };
        self.state = TurnState::Ended;
        idle.into_iter().for_each(Waker::wake);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.end();
    }
}
