//! Closures that run later, or repeatedly.

use crate::executor::{JoinError, JoinHandle, Sleep, timer};
use crate::pool::ThreadPool;
use crate::sync::now;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// # Time
impl ThreadPool {
    /// Runs `f` on a worker after at least `duration`, and returns a handle for its result.
    ///
    /// Until then the task takes no thread, and [`cancel`](JoinHandle::cancel) drops `f`. A graceful
    /// [`shutdown`](Self::shutdown) waits for the time and for `f`.
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// let pool = heist::ThreadPool::new()?;
    /// let before = Instant::now();
    /// let handle = pool.delay(Duration::from_millis(5), move || before.elapsed());
    /// assert!(handle.join().unwrap() >= Duration::from_millis(5));
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    #[track_caller]
    pub fn delay<F, T>(&self, duration: Duration, f: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let sleep = Sleep::until(timer::deadline_after(duration));
        self.submit_async(async move {
            sleep.await;
            f()
        })
    }

    /// Runs `f` on a worker every `period`, for the first time after one period.
    ///
    /// The rate is fixed: run number *n* is due *n* periods after this call, however long the runs take. A run
    /// never overlaps the one before. If a run is due while the one before goes on, it is skipped and
    /// [counted](Every::missed).
    ///
    /// Dropping the [`Every`] stops the runs, and so does a panic of `f`, which is the error of
    /// [`Every::join`]. A shutdown of any kind stops them too, after the run that is under way.
    ///
    /// # Panics
    ///
    /// Panics if `period` is zero.
    ///
    /// ```
    /// use std::time::Duration;
    /// let pool = heist::ThreadPool::new()?;
    /// let (sender, receiver) = std::sync::mpsc::channel();
    /// let mut n = 0;
    /// let every = pool.every(Duration::from_millis(1), move || {
    ///     n += 1;
    ///     let _ = sender.send(n);
    /// });
    /// assert_eq!((receiver.recv(), receiver.recv()), (Ok(1), Ok(2)));
    /// every.cancel();
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    #[track_caller]
    pub fn every<F>(&self, period: Duration, mut f: F) -> Every
    where
        F: FnMut() + Send + 'static,
    {
        assert!(
            !period.is_zero(),
            "heist: every with a period of zero: give the time between two runs"
        );
        let counts = Arc::new(Counts::default());
        let shared = Arc::clone(&counts);
        let mut due = timer::deadline_after(period);
        let handle = crate::executor::submit_daemon(self.registry(), async move {
            loop {
                Sleep::until(due).await;
                f();
                shared.runs.fetch_add(1, Ordering::Relaxed);
                let (next, missed) = after(due, period);
                shared.missed.fetch_add(missed, Ordering::Relaxed);
                due = next;
            }
        });
        Every { handle, counts }
    }
}

/// Returns the first time in the future that is a multiple of `period` after `due`, and how many such times before it have passed.
fn after(due: Option<std::time::Instant>, period: Duration) -> (Option<std::time::Instant>, u64) {
    let Some(next) = due.and_then(|due| due.checked_add(period)) else {
        return (None, 0);
    };
    let late = now().saturating_duration_since(next);
    // A run that is due this very moment is not missed.
    let missed = late.as_nanos().div_ceil(period.as_nanos());
    let skipped = missed.checked_mul(period.as_nanos());
    let skipped = skipped.and_then(|ns| u64::try_from(ns).ok().map(Duration::from_nanos));
    let missed = u64::try_from(missed).unwrap_or(u64::MAX);
    (
        skipped.and_then(|skipped| next.checked_add(skipped)),
        missed,
    )
}

#[derive(Default)]
struct Counts {
    runs: AtomicU64,
    missed: AtomicU64,
}

/// A closure that runs repeatedly. Dropping it stops the runs. See [`ThreadPool::every`].
#[must_use = "dropping it stops the runs"]
pub struct Every {
    handle: JoinHandle<()>,
    counts: Arc<Counts>,
}

impl Every {
    /// Returns how many runs have ended.
    pub fn runs(&self) -> u64 {
        self.counts.runs.load(Ordering::Relaxed)
    }

    /// Returns how many runs were skipped, because they were due while the one before went on or while all
    /// workers were busy.
    pub fn missed(&self) -> u64 {
        self.counts.missed.load(Ordering::Relaxed)
    }

    /// Stops the runs. One that is under way goes on to its end. Returns false if they have ended before, by a
    /// panic or a shutdown.
    pub fn cancel(&self) -> bool {
        self.handle.cancel()
    }

    /// Returns whether the runs have ended: by a cancel, a panic or a shutdown.
    pub fn is_finished(&self) -> bool {
        self.handle.is_finished()
    }

    /// Waits until the runs have ended, and returns why.
    ///
    /// # Blocking
    ///
    /// Waits until a run panics, the pool is shut down, or another thread has cancelled the runs.
    ///
    /// ```
    /// use std::time::Duration;
    /// let pool = heist::ThreadPool::new()?;
    /// let every = pool.every(Duration::from_millis(1), || panic!("no more"));
    /// assert!(every.join().is_panic());
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn join(mut self) -> JoinError {
        let handle = &mut self.handle;
        match crate::future::block_on(handle) {
            Err(error) => error,
            Ok(()) => unreachable!("heist: endless runs have ended"),
        }
    }
}

impl Drop for Every {
    fn drop(&mut self) {
        self.handle.cancel();
    }
}

impl fmt::Debug for Every {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Every")
            .field("runs", &self.runs())
            .field("missed", &self.missed())
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, not(any(heist_loom, heist_shuttle))))]
mod tests {
    use crate::future::periodic::after;
    use crate::sync::now;
    use std::time::Duration;

    #[test]
    fn a_short_period_after_a_long_time() {
        let period = Duration::from_nanos(1);
        let due = now().checked_sub(Duration::from_secs(10)).unwrap();
        let (next, missed) = after(Some(due), period);
        assert!(missed >= 9_999_999_999);
        assert!(next.unwrap() >= due + Duration::from_secs(10));
    }
}
