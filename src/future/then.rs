//! Closures that run after a task.

use crate::executor::{JoinError, JoinHandle};

impl<T: Send + 'static> JoinHandle<T> {
    /// Calls `f` with the outcome on the task's pool when the task has ended, and returns a handle for the
    /// result of `f`.
    ///
    /// No thread waits in the meantime. Use it to build a chain of tasks; for a callback that returns nothing
    /// and is quick, use [`on_finish`](Self::on_finish). The handle of a [`promise`](crate::promise()) has no
    /// pool: `f` then runs on the pool of the current thread or the [`global`](crate::global) one.
    ///
    /// `f` is called whether or not the task has a result. Cancelling the new handle drops `f` and detaches
    /// the first task. If the pool has been shut down, the new handle resolves to an error.
    ///
    /// ```
    /// let pool = heist::ThreadPool::new()?;
    /// let length = pool.submit(|| "hello".to_owned()).then(|text| text.unwrap().len());
    /// assert_eq!(length.join().unwrap(), 5);
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    #[track_caller]
    pub fn then<U, F>(self, f: F) -> JoinHandle<U>
    where
        U: Send + 'static,
        F: FnOnce(Result<T, JoinError>) -> U + Send + 'static,
    {
        let pool = self.pool();
        let next = async move { f(self.await) };
        match pool {
            Some(registry) => crate::executor::submit_async_in(&registry, next),
            None => crate::executor::submit_async(next),
        }
    }
}
