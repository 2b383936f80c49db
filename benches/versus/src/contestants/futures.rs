//! The thread pool of the crate `futures`: all threads share one queue.

use super::peer::{AsyncPeer, Peer};
use futures::executor::{self, ThreadPool};
use futures::future::RemoteHandle;
use futures::task::SpawnExt;
use std::future::Future;

/// A pool of the crate `futures`.
pub struct Futures {
    pool: ThreadPool,
}

impl Peer for Futures {
    const NAME: &'static str = "futures";

    fn build(threads: usize) -> Self {
        let pool = ThreadPool::builder()
            .pool_size(threads)
            .create()
            .expect("the pool of futures could not be built");
        Self { pool }
    }
}

impl AsyncPeer for Futures {
    type Task<T: Send + 'static> = RemoteHandle<T>;

    fn submit_async<F>(&self, future: F) -> RemoteHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let handle = self.pool.spawn_with_handle(future);
        handle.expect("the pool takes tasks as long as it exists")
    }

    fn spawn_async<F>(&self, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.pool.spawn_ok(future);
    }

    fn result<T: Send + 'static>(task: RemoteHandle<T>) -> impl Future<Output = T> + Send {
        task
    }

    fn yield_now() -> impl Future<Output = ()> + Send {
        futures_lite::future::yield_now()
    }

    fn block_on<F: Future>(&self, future: F) -> F::Output {
        executor::block_on(future)
    }
}
