//! Futures that wait for time.

use super::timer::{self, Key};
use crate::sync::now;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// Returns a future that is ready once `duration` has passed from this call. [`Duration::MAX`] never passes.
///
/// A sleep takes no thread: one thread of this crate keeps the times of all pools. Dropping the future
/// cancels it. It works on any executor.
///
/// # Complexity
///
/// Takes constant time to begin and to cancel, however many sleeps and deadlines are under way.
///
/// ```
/// use std::time::{Duration, Instant};
/// let before = Instant::now();
/// heist::block_on(heist::sleep(Duration::from_millis(5)));
/// assert!(before.elapsed() >= Duration::from_millis(5));
/// ```
pub fn sleep(duration: Duration) -> Sleep {
    Sleep::until(timer::deadline_after(duration))
}

/// Returns a future that is ready at `deadline`, or at once if that has passed. See [`sleep`].
///
/// ```
/// use std::time::{Duration, Instant};
/// let deadline = Instant::now() + Duration::from_millis(5);
/// heist::block_on(heist::sleep_until(deadline));
/// assert!(Instant::now() >= deadline);
/// ```
pub fn sleep_until(deadline: Instant) -> Sleep {
    Sleep::until(Some(deadline))
}

/// A future that is ready at a certain time. See [`sleep`].
#[must_use = "a future does nothing until it is awaited"]
pub struct Sleep {
    /// `None` never comes.
    deadline: Option<Instant>,
    /// The entry in the timer's queue, and the waker that it holds.
    entry: Option<(Key, Waker)>,
}

impl Sleep {
    pub(crate) fn until(deadline: Option<Instant>) -> Self {
        let entry = None;
        Sleep { deadline, entry }
    }

    /// Returns when the future is ready, or `None` if it never is.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Returns whether the time has come.
    pub fn is_elapsed(&self) -> bool {
        self.deadline.is_some_and(|deadline| now() >= deadline)
    }

    fn cancel(&mut self) {
        if let Some((key, _)) = self.entry.take() {
            timer::remove(key);
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        timer::check_deadlines();
        if self.is_elapsed() {
            self.cancel();
            return Poll::Ready(());
        }
        let waker = context.waker();
        if let Some(deadline) = self.deadline
            && !matches!(&self.entry, Some((_, old)) if old.will_wake(waker))
        {
            let old = self.entry.as_ref().map(|entry| entry.0);
            let key = timer::add_waker(deadline, old, waker.clone());
            self.entry = Some((key, waker.clone()));
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.cancel();
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sleep")
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}
