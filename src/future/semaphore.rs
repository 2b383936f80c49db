//! A semaphore: a number of permits, which futures and threads wait for in the order of their calls.

use super::block_on;
use crate::sync::{Arc, Mutex, MutexGuard, lock};
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// A number of permits that limits how many pieces of code run at the same time.
///
/// It is fair: permits are given in the order in which they were asked for, and nobody overtakes those who
/// wait. Clones share the permits. A permit is a guard that gives itself back when it is dropped.
///
/// To limit how many futures are under way, use [`AsyncPool`](crate::AsyncPool).
///
/// ```
/// let pool = heist::ThreadPool::new()?;
/// let connections = heist::Semaphore::new(2);
/// let handles: Vec<_> = (0..10)
///     .map(|n| {
///         let connections = connections.clone();
///         pool.submit_async(async move {
///             let _permit = connections.acquire().await;
///             n
///         })
///     })
///     .collect();
/// assert_eq!(heist::try_join_all(handles).unwrap(), (0..10).collect::<Vec<_>>());
/// assert_eq!(connections.available(), 2);
/// # Ok::<(), heist::BuildError>(())
/// ```
#[derive(Clone)]
pub struct Semaphore(Arc<Mutex<Permits>>);

struct Permits {
    available: usize,
    /// Those who wait, by the number of their call. The waker is missing until the first poll.
    waiting: BTreeMap<u64, Option<Waker>>,
    next: u64,
}

impl Semaphore {
    /// Creates a semaphore with `permits` permits. With 0, every `acquire` waits until
    /// [`add_permits`](Self::add_permits) is called.
    pub fn new(permits: usize) -> Self {
        Semaphore(Arc::new(Mutex::new(Permits {
            available: permits,
            waiting: BTreeMap::new(),
            next: 0,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Permits> {
        lock(&self.0)
    }

    /// Returns a future that waits for a permit.
    ///
    /// The place in the queue is taken by this call. Dropping the future gives the place up, and a permit that
    /// it has been given goes to the next one.
    pub fn acquire(&self) -> Acquire {
        let mut permits = self.lock();
        let state = if permits.take() {
            State::Granted
        } else {
            let number = permits.next;
            permits.next += 1;
            permits.waiting.insert(number, None);
            State::Waiting(number)
        };
        drop(permits);
        Acquire {
            semaphore: self.clone(),
            state,
        }
    }

    /// Waits for a permit on the current thread.
    ///
    /// # Blocking
    ///
    /// Waits until there is a permit. In async code, use [`acquire`](Self::acquire).
    ///
    /// ```
    /// let semaphore = heist::Semaphore::new(1);
    /// let permit = semaphore.acquire_blocking();
    /// assert_eq!(semaphore.available(), 0);
    /// drop(permit);
    /// assert_eq!(semaphore.available(), 1);
    /// ```
    pub fn acquire_blocking(&self) -> Permit {
        block_on(self.acquire())
    }

    /// Takes a permit if there is one that nobody waits for.
    ///
    /// ```
    /// let semaphore = heist::Semaphore::new(1);
    /// let permit = semaphore.try_acquire().unwrap();
    /// assert!(semaphore.try_acquire().is_none());
    /// drop(permit);
    /// ```
    pub fn try_acquire(&self) -> Option<Permit> {
        self.lock().take().then(|| Permit(self.clone()))
    }

    /// Returns how many permits are available.
    pub fn available(&self) -> usize {
        self.lock().available
    }

    /// Returns how many futures and threads wait for a permit.
    pub fn waiting(&self) -> usize {
        self.lock().waiting.len()
    }

    /// Adds permits, which go to those who wait first.
    ///
    /// # Panics
    ///
    /// Panics if more than `usize::MAX` permits would be available.
    ///
    /// ```
    /// let semaphore = heist::Semaphore::new(0);
    /// semaphore.add_permits(1);
    /// assert!(semaphore.try_acquire().is_some());
    /// ```
    pub fn add_permits(&self, count: usize) {
        assert!(
            self.give(count),
            "heist: a semaphore has no room for {count} more permits"
        );
    }

    /// Gives a permit back. A semaphore that has no room for it is as full as can be.
    fn give_one(&self) {
        self.give(1);
    }

    /// Gives permits to those who wait, and makes the rest available. Returns false, and gives the rest to nobody, if it has no room for it.
    fn give(&self, mut count: usize) -> bool {
        while count > 0 {
            let mut permits = self.lock();
            let Some((_, waker)) = permits.waiting.pop_first() else {
                let available = permits.available.checked_add(count);
                permits.available = available.unwrap_or(permits.available);
                return available.is_some();
            };
            // A waker's methods are the user's code.
            drop(permits);
            count -= 1;
            if let Some(waker) = waker {
                waker.wake();
            }
        }
        true
    }
}

impl Permits {
    fn take(&mut self) -> bool {
        // Whoever waits comes first: a permit that is given back goes to them and is never available.
        let is_free = self.available > 0;
        self.available -= usize::from(is_free);
        is_free
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Semaphore")
            .field("available", &self.available())
            .field("waiting", &self.waiting())
            .finish()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The number of the call.
    Waiting(u64),
    Granted,
    /// The permit was returned.
    Over,
}

/// A future that waits for a permit. See [`Semaphore::acquire`].
#[must_use = "a future does nothing until it is awaited"]
pub struct Acquire {
    semaphore: Semaphore,
    state: State,
}

/// Resolves to the permit.
///
/// # Panics
///
/// Panics if polled again after it was ready.
impl Future for Acquire {
    type Output = Permit;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Permit> {
        if let State::Waiting(number) = self.state {
            // Cloned before the lock is taken, because a waker's methods are the user's code.
            let mut waker = Some(context.waker().clone());
            let mut permits = self.semaphore.lock();
            if let Some(waiting) = permits.waiting.get_mut(&number) {
                std::mem::swap(waiting, &mut waker);
                drop(permits);
                return Poll::Pending;
            }
        }
        let state = std::mem::replace(&mut self.state, State::Over);
        assert!(
            state != State::Over,
            "heist: a future was polled again after it was ready"
        );
        Poll::Ready(Permit(self.semaphore.clone()))
    }
}

impl Drop for Acquire {
    fn drop(&mut self) {
        match self.state {
            State::Over => {}
            State::Granted => self.semaphore.give_one(),
            State::Waiting(number) => {
                let removed = self.semaphore.lock().waiting.remove(&number);
                if removed.is_none() {
                    // The permit was given to this future, which does not use it.
                    self.semaphore.give_one();
                }
            }
        }
    }
}

impl fmt::Debug for Acquire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acquire").finish_non_exhaustive()
    }
}

/// A permit of a [`Semaphore`], which is given back when it is dropped.
#[must_use = "a permit that is dropped is given back at once"]
pub struct Permit(Semaphore);

impl Permit {
    /// Removes the permit from the semaphore for good.
    ///
    /// ```
    /// let semaphore = heist::Semaphore::new(1);
    /// semaphore.try_acquire().unwrap().forget();
    /// assert_eq!(semaphore.available(), 0);
    /// ```
    pub fn forget(self) {
        // The semaphore's memory is still released.
        let mut this = std::mem::ManuallyDrop::new(self);
        let placeholder = Semaphore::new(0);
        drop(std::mem::replace(&mut this.0, placeholder));
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.give_one();
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Permit")
    }
}
