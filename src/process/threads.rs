//! Threads as a back end.

use super::options::CallOptions;
use super::task::Task;
use crate::executor::remote::{Failure, promise_with};
use crate::executor::timer;
use crate::pool::ThreadPool;
use crate::sync::{Mutex, lock, now};
use crate::{JoinError, JoinHandle, Promise, TaskBuilder, TaskId};
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::time::Duration;

/// A builder with the options of a call that do not concern its time.
pub(super) fn builder<'a, T: Task>(pool: &'a ThreadPool, options: &CallOptions) -> TaskBuilder<'a> {
    let mut task = pool.task().priority(options.priority);
    task = task.name(options.name.as_deref().unwrap_or(T::NAME));
    match &options.token {
        Some(token) => task.token(token),
        None => task,
    }
}

/// The promise of a task with a time limit. The task and the timer race for it.
struct Timed<R: Send + 'static> {
    id: TaskId,
    name: Arc<str>,
    promise: Mutex<Option<Promise<R>>>,
    token: crate::CancelToken,
}

impl<R: Send + 'static> Wake for Timed<R> {
    fn wake(self: Arc<Self>) {
        let promise = lock(&self.promise).take();
        if let Some(promise) = promise {
            let error = JoinError::remote(Failure::Timeout, self.id, Some(Arc::clone(&self.name)));
            promise.fail(error);
            self.token.cancel();
        }
    }
}

/// Submits a task whose handle resolves when the task has run for `timeout`, even if it then still runs: a thread cannot be stopped.
pub(super) fn submit_timed<T: Task, R, F>(
    pool: &ThreadPool,
    options: &CallOptions,
    timeout: Duration,
    f: F,
) -> JoinHandle<R>
where
    R: Send + 'static,
    F: FnOnce() -> R + Send + 'static,
{
    let name = options.name.clone().unwrap_or_else(|| T::NAME.into());
    let token = match &options.token {
        Some(token) => token.child(),
        None => crate::current_token().child(),
    };
    let (promise, handle) = promise_with(Some(Arc::clone(&name)), Some(token.clone()));
    let cancelled = token.clone();
    promise.on_cancel(move || cancelled.cancel());
    let timed = Arc::new(Timed {
        id: promise.id(),
        name,
        promise: Mutex::new(Some(promise)),
        token: token.clone(),
    });
    let run = Arc::clone(&timed);
    let mut inner = builder::<T>(pool, options).token(&token).submit(move || {
        let deadline = timer::deadline_after(timeout);
        let timed = deadline
            .map(|deadline| timer::add_waker(deadline, None, Waker::from(Arc::clone(&run))));
        let value = crate::unwind::catch(f);
        if let Some(key) = timed {
            timer::remove(key);
        }
        // The timer's thread can be late on a busy machine. What ends after its limit has missed it, whoever notices first.
        if deadline.is_some_and(|deadline| now() >= deadline) {
            Arc::clone(&run).wake();
        }
        let promise = lock(&run.promise).take();
        match (value, promise) {
            (Ok(value), Some(promise)) => drop(promise.resolve(value)),
            (Ok(_), None) => {}
            (Err(payload), Some(promise)) => {
                let (id, name) = (run.id, Arc::clone(&run.name));
                promise.fail(JoinError::of_panic(payload, id, name));
            }
            (Err(payload), None) => crate::unwind::drop_quietly(payload),
        }
    });
    // A task that does not begin has an error of its own.
    inner.on_finish(move |outcome| {
        let promise = lock(&timed.promise).take();
        if let (Err(error), Some(promise)) = (outcome, promise) {
            promise.fail(error.copy());
        }
    });
    handle
}
