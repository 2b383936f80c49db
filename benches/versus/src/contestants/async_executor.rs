//! async-executor, the executor of smol, on threads that run it until a channel is closed.

use super::peer::{AsyncPeer, Peer};
use async_executor::{Executor, Task};
use futures_lite::future;
use std::future::Future;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

/// An executor and its threads.
pub struct AsyncExecutor {
    executor: Arc<Executor<'static>>,
    /// The threads end when this channel is closed.
    open: async_channel::Sender<()>,
    threads: Vec<JoinHandle<()>>,
}

impl Peer for AsyncExecutor {
    const NAME: &'static str = "async-executor";

    fn build(threads: usize) -> Self {
        let executor = Arc::new(Executor::new());
        let (open, closed) = async_channel::bounded::<()>(1);
        let threads = (0..threads)
            .map(|_| {
                let (executor, closed) = (Arc::clone(&executor), closed.clone());
                thread::spawn(move || {
                    let end = future::block_on(executor.run(closed.recv()));
                    assert!(end.is_err(), "the channel was only closed");
                })
            })
            .collect();
        Self {
            executor,
            open,
            threads,
        }
    }
}

impl Drop for AsyncExecutor {
    fn drop(&mut self) {
        self.open.close();
        for thread in self.threads.drain(..) {
            thread.join().expect("a worker panicked");
        }
    }
}

impl AsyncPeer for AsyncExecutor {
    type Task<T: Send + 'static> = Task<T>;

    fn submit_async<F>(&self, future: F) -> Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.executor.spawn(future)
    }

    fn spawn_async<F>(&self, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.executor.spawn(future).detach();
    }

    fn result<T: Send + 'static>(task: Task<T>) -> impl Future<Output = T> + Send {
        task
    }

    fn yield_now() -> impl Future<Output = ()> + Send {
        future::yield_now()
    }

    fn block_on<F: Future>(&self, future: F) -> F::Output {
        future::block_on(future)
    }
}
