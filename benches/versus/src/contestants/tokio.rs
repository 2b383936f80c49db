//! tokio's runtime of many threads. A closure becomes a future that never waits.

use super::peer::{AsyncPeer, Peer, SubmitPeer};
use std::future::Future;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

/// A tokio runtime.
pub struct Tokio {
    runtime: Runtime,
}

impl Tokio {
    /// A runtime that also serves sockets and timers.
    pub fn with_drivers(threads: usize) -> Self {
        let mut builder = Builder::new_multi_thread();
        builder.enable_io().enable_time();
        Self::from_builder(builder, threads)
    }

    fn from_builder(mut builder: Builder, threads: usize) -> Self {
        let runtime = builder
            .worker_threads(threads)
            .build()
            .expect("tokio's runtime could not be built");
        Self { runtime }
    }

    /// The runtime itself, for its sockets and timers.
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }
}

impl Peer for Tokio {
    const NAME: &'static str = "tokio";

    fn build(threads: usize) -> Self {
        Self::from_builder(Builder::new_multi_thread(), threads)
    }
}

impl SubmitPeer for Tokio {
    type Handle<T: Send + 'static> = JoinHandle<T>;

    fn submit<T, F>(&self, task: F) -> JoinHandle<T>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        self.runtime.spawn(async move { task() })
    }

    fn spawn<F>(&self, task: F)
    where
        F: FnOnce() + Send + 'static,
    {
        self.runtime.spawn(async move { task() });
    }

    fn join_all<T>(&self, handles: Vec<JoinHandle<T>>, mut each: impl FnMut(T) + Send)
    where
        T: Send + 'static,
    {
        self.runtime.block_on(async {
            for handle in handles {
                each(handle.await.expect("a task panicked"));
            }
        });
    }

    fn join<T>(&self, handle: JoinHandle<T>) -> T
    where
        T: Send + 'static,
    {
        self.runtime.block_on(handle).expect("a task panicked")
    }
}

impl AsyncPeer for Tokio {
    type Task<T: Send + 'static> = JoinHandle<T>;

    fn submit_async<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.runtime.spawn(future)
    }

    fn spawn_async<F>(&self, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.runtime.spawn(future);
    }

    async fn result<T: Send + 'static>(task: JoinHandle<T>) -> T {
        task.await.expect("a task panicked")
    }

    fn yield_now() -> impl Future<Output = ()> + Send {
        tokio::task::yield_now()
    }

    fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }
}
