//! tokio's runtime of many threads: a task is a future that never waits.

use super::peer::{Peer, SubmitPeer};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

/// A tokio runtime.
pub struct Tokio {
    runtime: Runtime,
}

impl Peer for Tokio {
    const NAME: &'static str = "tokio";

    fn build(threads: usize) -> Self {
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads)
            .build()
            .expect("tokio's runtime could not be built");
        Self { runtime }
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
