//! The pool as the executor that other crates ask for.

use crate::pool::ThreadPool;

/// With the feature `futures`, for crates that take any `Spawn`. The pool never refuses: a future that is given to a closed pool is dropped and counted as cancelled.
#[cfg(feature = "futures")]
impl futures_task::Spawn for ThreadPool {
    fn spawn_obj(
        &self,
        future: futures_task::FutureObj<'static, ()>,
    ) -> Result<(), futures_task::SpawnError> {
        self.spawn_async(future);
        Ok(())
    }
}

/// With the feature `hyper`, for connections of HTTP/2.
#[cfg(feature = "hyper")]
impl<F> hyper::rt::Executor<F> for ThreadPool
where
    F: std::future::Future<Output = ()> + Send + 'static,
{
    fn execute(&self, future: F) {
        self.spawn_async(future);
    }
}
