//! A future that lets others run.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Returns a future that is ready when it is polled for the second time, so that the tasks that are queued get
/// their turn.
///
/// Use it in a long computation inside async code. On a worker with nothing else to do, the task goes on at
/// once. In closures, use [`yield_now`](crate::yield_now).
///
/// ```
/// let pool = heist::ThreadPool::new()?;
/// let handle = pool.submit_async(async {
///     let mut sum = 0;
///     for n in 0..10 {
///         sum += n;
///         heist::yield_async().await;
///     }
///     sum
/// });
/// assert_eq!(handle.join().unwrap(), 45);
/// # Ok::<(), heist::BuildError>(())
/// ```
pub fn yield_async() -> YieldAsync {
    YieldAsync(false)
}

/// The future of [`yield_async`].
#[derive(Debug)]
#[must_use = "a future does nothing until it is awaited"]
pub struct YieldAsync(bool);

impl Future for YieldAsync {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}
