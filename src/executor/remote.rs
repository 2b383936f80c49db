//! What back ends other than threads need of the executor: errors that are made elsewhere than in a runner, and promises with a name and a token.

use super::cell;
use super::error::{Cause, JoinError, Kind, Lost, TaskId};
use super::extra::Extra;
pub(crate) use super::extra::Probe;
use super::handle::JoinHandle;
use super::location::{self, PanicLocation};
use super::promise::Promise;
use super::shutdown::{RunningTask, ShutdownTimeout};
use super::state::EXTRA;
use super::token::{self, CancelToken};
use crate::lineage::Token;
use crate::pool::context;
use crate::unwind::Payload;
use std::error::Error;
use std::ptr;
use std::sync::Arc;
use std::time::Duration;

/// Why a task that does not run on a thread of this process has no result.
pub(crate) enum Failure {
    /// Its message, if it is text, and where it began, if that is known.
    Panic(Option<String>, Option<PanicLocation>),
    Failed(Box<dyn Error + Send + Sync>),
    Lost(Lost),
    Refused(Arc<str>),
    ShutDown,
    /// The pool had been shut down before.
    Closed,
    Full,
    Timeout,
}

impl JoinError {
    pub(crate) fn remote(failure: Failure, id: TaskId, name: Option<Arc<str>>) -> Self {
        match failure {
            Failure::Panic(message, location) => {
                let payload: Payload = match message {
                    Some(message) => Box::new(message),
                    None => Box::new(NoMessage),
                };
                JoinError::panicked(payload, id, name).at(location)
            }
            Failure::Failed(error) => JoinError::new(Kind::Failed(error.into()), id, name),
            Failure::Lost(lost) => JoinError::new(Kind::Lost(lost), id, name),
            Failure::Refused(text) => JoinError::new(Kind::Refused(text), id, name),
            Failure::ShutDown => JoinError::new(Kind::Ended(Cause::ShutDown), id, name),
            Failure::Closed => JoinError::new(Kind::Ended(Cause::Refused), id, name),
            Failure::Full => JoinError::new(Kind::Ended(Cause::Full), id, name),
            Failure::Timeout => JoinError::new(Kind::Ended(Cause::Deadline), id, name),
        }
    }

    pub(crate) fn of_panic(payload: Payload, id: TaskId, name: Arc<str>) -> Self {
        let location = location::of(&payload);
        JoinError::panicked(payload, id, Some(name)).at(location)
    }

    /// Returns a copy for another item of a chunk. See `duplicate`.
    pub(crate) fn copy(&self) -> Self {
        self.duplicate()
    }
}

/// The payload of a panic in another process whose payload was not text.
struct NoMessage;

/// Returns the message of a panic that was caught on this thread, and where it began, as far as they are known.
pub(crate) fn describe_panic(payload: &Payload) -> (Option<String>, Option<PanicLocation>) {
    let message = location::message(&**payload).map(str::to_owned);
    (message, location::of(payload))
}

impl PanicLocation {
    pub(crate) fn from_parts(file: &str, line: u32, column: u32) -> Self {
        PanicLocation::new(file.into(), line, column)
    }
}

/// Makes a promise whose handle has this name. The token, or else that of the current task, cancels the handle.
pub(crate) fn promise_with<T: Send + 'static>(
    name: Option<Arc<str>>,
    token: Option<CancelToken>,
) -> (Promise<T>, JoinHandle<T>) {
    let token = token.or_else(token::current);
    if name.is_none() && token.is_none() {
        return super::promise::promise();
    }
    let extra = Extra {
        name,
        token,
        ..Extra::default()
    };
    let (task, handle) = cell::make_promise_with::<T>(EXTRA, Some(Box::new(extra)));
    task.register_cancellers();
    (Promise::of(task), handle)
}

/// Makes `token` the current token on a thread that takes part in no pool, while it runs `f`.
pub(crate) fn with_token<R>(token: &CancelToken, f: impl FnOnce() -> R) -> R {
    let address = ptr::from_ref(token).cast();
    context::with_token_outside(Token::new(address), f)
}

impl ShutdownTimeout {
    pub(crate) fn remote(
        timeout: Duration,
        running: Vec<(TaskId, Option<Arc<str>>)>,
        queued: usize,
    ) -> Self {
        let running = running.into_iter();
        let running = running.map(|(id, name)| RunningTask { id, name }).collect();
        ShutdownTimeout::new(timeout, running, queued)
    }
}
