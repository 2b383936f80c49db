//! What can become of a task other than a result.

use super::location::PanicLocation;
use crate::unwind::Payload;
use std::any::Any;
use std::error::Error;
use std::fmt;
use std::io;
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex};

/// Tells tasks apart, within one process and for its whole life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(pub(super) NonZeroU64);

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// Why there is no result: the task panicked, was cancelled, or its deadline passed; or a promise was failed or dropped.
///
/// ```
/// let pool = heist::ThreadPool::new()?;
/// let error = pool.submit(|| -> u32 { panic!("no luck") }).join().unwrap_err();
/// assert!(error.is_panic());
/// assert!(error.to_string().ends_with("panicked: no luck"));
/// # Ok::<(), heist::BuildError>(())
/// ```
pub struct JoinError(Box<Inner>);

struct Inner {
    kind: Kind,
    id: TaskId,
    name: Option<Arc<str>>,
    /// Where it panicked, if that is known.
    location: Option<PanicLocation>,
}

enum Kind {
    /// The lock makes the error `Sync`, which payloads are not.
    Panic(Mutex<Payload>),
    Cancelled(Cause),
    Timeout,
    /// Somebody has failed the promise.
    Failed(Arc<dyn Error + Send + Sync>),
    /// The promise was dropped.
    BrokenPromise,
}

/// Who saw to it that a task does not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// Its handle, its token, or a stream that ended.
    Asked,
    /// `shutdown_now`, or the pool went.
    ShutDown,
    /// It came after the shutdown.
    Refused,
    /// The queue was full, and the pool rejects.
    Full,
}

impl JoinError {
    fn new(kind: Kind, id: TaskId, name: Option<Arc<str>>) -> Self {
        JoinError(Box::new(Inner {
            kind,
            id,
            name,
            location: None,
        }))
    }

    pub(super) fn panicked(payload: Payload, id: TaskId, name: Option<Arc<str>>) -> Self {
        Self::new(Kind::Panic(Mutex::new(payload)), id, name)
    }

    /// Adds the place of the panic to this error.
    pub(super) fn at(mut self, location: Option<PanicLocation>) -> Self {
        self.0.location = location;
        self
    }

    pub(super) fn cancelled(cause: Cause, id: TaskId, name: Option<Arc<str>>) -> Self {
        Self::new(Kind::Cancelled(cause), id, name)
    }

    pub(super) fn timed_out(id: TaskId, name: Option<Arc<str>>) -> Self {
        Self::new(Kind::Timeout, id, name)
    }

    pub(super) fn failed(error: Arc<dyn Error + Send + Sync>, id: TaskId) -> Self {
        Self::new(Kind::Failed(error), id, None)
    }

    pub(super) fn broken_promise(id: TaskId) -> Self {
        Self::new(Kind::BrokenPromise, id, None)
    }

    /// The same error for another item of the task. A panic's payload cannot be shared, so that there it says what it was.
    pub(super) fn again(&self) -> Self {
        let kind = match &self.0.kind {
            Kind::Panic(_) => Kind::Panic(Mutex::new(Box::new(self.to_string()))),
            Kind::Cancelled(cause) => Kind::Cancelled(*cause),
            Kind::Timeout => Kind::Timeout,
            Kind::Failed(error) => Kind::Failed(Arc::clone(error)),
            Kind::BrokenPromise => Kind::BrokenPromise,
        };
        Self::new(kind, self.0.id, self.0.name.clone()).at(self.0.location.clone())
    }

    /// The task panicked.
    pub fn is_panic(&self) -> bool {
        matches!(self.0.kind, Kind::Panic(_))
    }

    /// The task was dropped before it began: cancelled, refused, or its pool was shut down.
    pub fn is_cancelled(&self) -> bool {
        matches!(self.0.kind, Kind::Cancelled(_))
    }

    /// The task's deadline passed.
    pub fn is_timeout(&self) -> bool {
        matches!(self.0.kind, Kind::Timeout)
    }

    /// The handle is that of a [`promise`](crate::promise()) that somebody has [failed](crate::Promise::fail): the
    /// [`source`](Error::source) says why.
    pub fn is_failed(&self) -> bool {
        matches!(self.0.kind, Kind::Failed(_))
    }

    /// The handle is that of a [`promise`](crate::promise()) that was dropped unresolved.
    pub fn is_broken_promise(&self) -> bool {
        matches!(self.0.kind, Kind::BrokenPromise)
    }

    /// What the panic carried, for [`std::panic::resume_unwind`].
    ///
    /// # Panics
    /// If the task did not panic: ask [`is_panic`](Self::is_panic), or use [`try_into_panic`](Self::try_into_panic).
    pub fn into_panic(self) -> Box<dyn std::any::Any + Send + 'static> {
        self.try_into_panic()
            .unwrap_or_else(|error| panic!("{error}, so there is no panic to take"))
    }

    /// What the panic carried.
    ///
    /// # Errors
    /// The error itself, if the task did not panic.
    pub fn try_into_panic(self) -> Result<Box<dyn std::any::Any + Send + 'static>, JoinError> {
        match *self.0 {
            Inner {
                kind: Kind::Panic(payload),
                ..
            } => Ok(payload
                .into_inner()
                .unwrap_or_else(|poison| poison.into_inner())),
            other => Err(JoinError(Box::new(other))),
        }
    }

    /// Where in its source the task panicked, if that is known.
    ///
    /// Rust tells the place of a panic to the process's panic hook only, so it is known if the program has called
    /// [`record_panic_locations`](crate::record_panic_locations), and the panic began on the thread that ran the task. It is `None` for a panic that came
    /// from another thread, as that of the stolen side of a [`join`](crate::join) does, for one that was caught and goes on by
    /// [`resume_unwind`](std::panic::resume_unwind) with another payload, for items of a stream with a [`chunk`](crate::Imap::chunk) of more than one,
    /// and for errors that are no panics. A payload that is no text is told by its type alone.
    ///
    /// ```
    /// heist::record_panic_locations();
    /// let error = heist::submit(|| panic!("no luck")).join().unwrap_err();
    /// println!("{error} at {}", error.location().unwrap());
    /// ```
    pub fn location(&self) -> Option<&PanicLocation> {
        self.0.location.as_ref()
    }

    /// Which task.
    pub fn id(&self) -> TaskId {
        self.0.id
    }

    /// The task's name, if it was given one.
    pub fn name(&self) -> Option<&str> {
        self.0.name.as_deref()
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.name {
            Some(name) => write!(f, "task \"{name}\" ")?,
            None => write!(f, "task {} ", self.0.id)?,
        }
        match &self.0.kind {
            Kind::Panic(payload) => {
                let payload = payload.lock().unwrap_or_else(|poison| poison.into_inner());
                match message(&**payload) {
                    Some(message) => write!(f, "panicked: {message}"),
                    None => f.write_str("panicked"),
                }
            }
            Kind::Cancelled(Cause::Asked) => f.write_str("was cancelled before it began"),
            Kind::Cancelled(Cause::ShutDown) => {
                f.write_str("was cancelled: its pool was shut down before it began")
            }
            Kind::Cancelled(Cause::Refused) => {
                f.write_str("was refused: its pool had been shut down")
            }
            Kind::Cancelled(Cause::Full) => f.write_str("was refused: the pool's queue was full"),
            Kind::Timeout => f.write_str("missed its deadline"),
            Kind::Failed(error) => write!(f, "failed: {error}"),
            Kind::BrokenPromise => f.write_str("was promised, and the promise was dropped"),
        }
    }
}

/// The text of a panic, where it is one.
pub(super) fn message(payload: &(dyn Any + Send)) -> Option<&str> {
    payload
        .downcast_ref::<&'static str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
}

impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinError({self})")
    }
}

impl Error for JoinError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0.kind {
            Kind::Failed(error) => Some(&**error),
            _ => None,
        }
    }
}

/// For programs whose errors are [`io::Error`]: `handle.join()?`.
///
/// A missed deadline is [`TimedOut`](io::ErrorKind::TimedOut); a promise that was [failed](crate::Promise::fail) with an [`io::Error`] has the kind of that;
/// everything else is [`Other`](io::ErrorKind::Other), cancelled tasks too: `Interrupted` has callers try again. The [`JoinError`] itself is inside.
///
/// ```
/// fn count() -> std::io::Result<usize> {
///     let handle = heist::submit(|| "three words here".split(' ').count());
///     Ok(handle.join()?)
/// }
/// assert_eq!(count()?, 3);
/// # Ok::<(), std::io::Error>(())
/// ```
impl From<JoinError> for io::Error {
    fn from(error: JoinError) -> Self {
        let kind = match &error.0.kind {
            Kind::Timeout => io::ErrorKind::TimedOut,
            Kind::Failed(source) => source
                .downcast_ref::<io::Error>()
                .map_or(io::ErrorKind::Other, io::Error::kind),
            Kind::Panic(_) | Kind::Cancelled(_) | Kind::BrokenPromise => io::ErrorKind::Other,
        };
        io::Error::new(kind, error)
    }
}

/// Why [`try_submit`](crate::ThreadPool::try_submit) did not take a closure. It gives it back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum TrySubmitError<F> {
    /// As many tasks are queued as the pool may hold.
    Full(F),
    /// The pool has been shut down.
    ShutDown(F),
}

impl<F> TrySubmitError<F> {
    /// The closure.
    pub fn into_inner(self) -> F {
        match self {
            TrySubmitError::Full(f) | TrySubmitError::ShutDown(f) => f,
        }
    }

    /// The queue was full: a later try may succeed.
    pub fn is_full(&self) -> bool {
        matches!(self, TrySubmitError::Full(_))
    }
}

impl<F> fmt::Debug for TrySubmitError<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_full() {
            "Full(..)"
        } else {
            "ShutDown(..)"
        })
    }
}

impl<F> fmt::Display for TrySubmitError<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_full() {
            "the pool's queue is full: try again later, or raise queue_capacity"
        } else {
            "the pool has been shut down and takes no more tasks"
        })
    }
}

impl<F> Error for TrySubmitError<F> {}
