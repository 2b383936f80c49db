//! A limit on the time of a future.

use super::beside::beside;
use crate::executor::sleep;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

/// Limits the time of a future: resolves to its result, or to an error if `duration` has passed from this call
/// before the future is ready.
///
/// When the time limit expires, the future is not polled again. It is dropped together with the one that this
/// function returns. Dropping a [`JoinHandle`](crate::JoinHandle) detaches its task: to cancel the task, pass
/// `handle.abort_on_drop()`. To limit the time of a task on any thread, use
/// [`TaskBuilder::deadline`](crate::TaskBuilder::deadline).
///
/// # Errors
///
/// Resolves to [`Elapsed`] if the time limit expires first. If both happen between two polls, the future wins.
///
/// ```
/// use std::time::Duration;
/// let never = std::future::pending::<u32>();
/// let late = heist::block_on(heist::timeout(Duration::from_millis(1), never));
/// assert!(late.is_err());
/// let soon = heist::block_on(heist::timeout(Duration::from_secs(60), async { 42 }));
/// assert_eq!(soon.unwrap(), 42);
/// ```
pub fn timeout<F: Future>(
    duration: Duration,
    future: F,
) -> impl Future<Output = Result<F::Output, Elapsed>> {
    beside(future, sleep(duration), |future, sleep, context| {
        if let Poll::Ready(value) = future.poll(context) {
            return Poll::Ready(Ok(value));
        }
        Pin::new(sleep).poll(context).map(|()| Err(Elapsed(())))
    })
}

/// The error of [`timeout`]: the time limit expired before the future was ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed(());

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the time limit expired before the future was ready")
    }
}

impl Error for Elapsed {}

impl From<Elapsed> for std::io::Error {
    fn from(elapsed: Elapsed) -> Self {
        Self::new(std::io::ErrorKind::TimedOut, elapsed)
    }
}
