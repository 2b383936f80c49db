//! Errors: why a task has no result, and why a closure was refused.

use super::location::{PanicLocation, message};
use crate::unwind::Payload;
use std::cell::Cell;
use std::error::Error;
use std::fmt;
use std::io;
use std::num::NonZeroU64;
// From std in models too: ids order nothing.
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The id of a task, unique within a process for its whole life.
///
/// ```
/// let pool = heist::ThreadPool::new()?;
/// let handles = [pool.submit(|| 1), pool.submit(|| 2)];
/// assert_ne!(handles[0].id(), handles[1].id());
/// # Ok::<(), heist::BuildError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(pub(super) NonZeroU64);

/// The ids that a thread takes at a time.
const BLOCK: u64 = 1 << 12;

static BLOCKS_END: AtomicU64 = AtomicU64::new(0);

impl TaskId {
    /// Returns the number of a task whose lower half is known, if the task is one of the last 2^32.
    pub(crate) fn number_of(half: u32) -> u64 {
        let end = BLOCKS_END.load(Ordering::Relaxed);
        end.saturating_sub(u64::from((end as u32).wrapping_sub(half)))
    }

    /// Returns an id that no other task has. Each thread takes ids from the process in blocks, which end with multiples of `BLOCK`.
    pub(crate) fn next() -> Self {
        thread_local! {
            static LAST: Cell<u64> = const { Cell::new(0) };
        }
        let id = LAST.with(|last| {
            let mut id = last.get();
            if id.is_multiple_of(BLOCK) {
                id = BLOCKS_END.fetch_add(BLOCK, Ordering::Relaxed);
            }
            last.set(id + 1);
            id + 1
        });
        TaskId(NonZeroU64::new(id).expect("heist: task ids have overflowed"))
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// The reason why a handle has no result: the task panicked, was cancelled, missed its deadline, was refused by
/// a full or closed pool or dropped by a shutdown, or a promise failed or was dropped.
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
    /// Where the task panicked, if that is known.
    location: Option<PanicLocation>,
}

/// What there is in place of a result.
pub(super) enum Kind {
    /// The payload of the task's panic. The lock makes the error `Sync`, which payloads are not.
    Panic(Mutex<Payload>),
    /// The error with which a promise was failed.
    Failed(Arc<dyn Error + Send + Sync>),
    /// The process that ran the task ended.
    #[cfg_attr(
        not(all(feature = "process", target_os = "linux")),
        expect(dead_code, reason = "only back ends other than threads make it")
    )]
    Lost(Lost),
    /// The back end cannot do what the task asks for. The text says what, and what to do.
    #[cfg_attr(
        not(all(feature = "process", target_os = "linux")),
        expect(dead_code, reason = "only back ends other than threads make it")
    )]
    Refused(Arc<str>),
    /// Neither a payload nor an error.
    Ended(Cause),
}

/// Why a task ended without a result, a payload or an error of the user's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// Its handle, its token or its stream cancelled it.
    Cancelled,
    /// A shutdown dropped it, or the pool was dropped.
    ShutDown,
    /// The pool had been shut down before the task was submitted.
    Refused,
    /// The queue was full, and the pool rejects tasks in that case.
    Full,
    /// Its deadline passed.
    Deadline,
    /// Its promise was dropped.
    BrokenPromise,
}

impl JoinError {
    pub(super) fn new(kind: Kind, id: TaskId, name: Option<Arc<str>>) -> Self {
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

    /// Returns a copy of the error, for another item of a chunk. A payload cannot be copied, so the copy's payload is the error's text.
    pub(super) fn duplicate(&self) -> Self {
        let kind = match &self.0.kind {
            Kind::Panic(_) => Kind::Panic(Mutex::new(Box::new(self.to_string()))),
            Kind::Failed(error) => Kind::Failed(Arc::clone(error)),
            Kind::Lost(lost) => Kind::Lost(lost.clone()),
            Kind::Refused(text) => Kind::Refused(Arc::clone(text)),
            Kind::Ended(cause) => Kind::Ended(*cause),
        };
        Self::new(kind, self.0.id, self.0.name.clone()).at(self.0.location.clone())
    }

    /// Returns whether the task panicked.
    pub fn is_panic(&self) -> bool {
        matches!(self.0.kind, Kind::Panic(_))
    }

    /// Returns whether the task was dropped: cancelled by its handle or token, refused by a full or closed pool,
    /// or left over at a shutdown. A closure has not begun then. A future may have been polled.
    ///
    /// ```
    /// let pool = heist::ThreadPool::new()?;
    /// pool.shutdown();
    /// let error = pool.submit(|| 1).join().unwrap_err();
    /// assert!(error.is_cancelled() && !error.is_panic());
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn is_cancelled(&self) -> bool {
        matches!(self.0.kind, Kind::Ended(cause) if cause != Cause::Deadline && cause != Cause::BrokenPromise)
    }

    /// Returns whether the task missed its [deadline](crate::TaskBuilder::deadline), or the stream its
    /// [time limit](crate::Imap::timeout).
    ///
    /// ```
    /// use std::time::Duration;
    /// let pool = heist::ThreadPool::new()?;
    /// let late = pool.task().deadline(Duration::ZERO).submit(|| std::thread::sleep(Duration::from_millis(1)));
    /// assert!(late.join().unwrap_err().is_timeout());
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn is_timeout(&self) -> bool {
        matches!(self.0.kind, Kind::Ended(Cause::Deadline))
    }

    /// Returns whether the handle belongs to a [`promise`](crate::promise()) that
    /// [failed](crate::Promise::fail). The reason is the [`source`](Error::source).
    pub fn is_failed(&self) -> bool {
        matches!(self.0.kind, Kind::Failed(_))
    }

    /// Returns whether the handle belongs to a [`promise`](crate::promise()) that was dropped unresolved.
    pub fn is_broken_promise(&self) -> bool {
        matches!(self.0.kind, Kind::Ended(Cause::BrokenPromise))
    }

    /// Returns whether the process that ran the task ended before the task did. See [`Lost`].
    pub fn is_lost(&self) -> bool {
        self.lost().is_some()
    }

    /// Returns how the process ended that ran the task, if that is why there is no result.
    ///
    /// Tasks of a [`ThreadPool`](crate::ThreadPool) are never lost.
    pub fn lost(&self) -> Option<&Lost> {
        match &self.0.kind {
            Kind::Lost(lost) => Some(lost),
            _ => None,
        }
    }

    /// Returns whether the task was not accepted: its pool had been shut down, its queue was full, or the back
    /// end cannot do what the task asks for. The task has not begun.
    ///
    /// ```
    /// let pool = heist::ThreadPool::new()?;
    /// pool.shutdown();
    /// assert!(pool.submit(|| 1).join().unwrap_err().is_refused());
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn is_refused(&self) -> bool {
        matches!(
            self.0.kind,
            Kind::Refused(_) | Kind::Ended(Cause::Refused | Cause::Full)
        )
    }

    /// Returns the payload of the panic, for [`std::panic::resume_unwind`].
    ///
    /// # Panics
    ///
    /// Panics if the task did not panic. Check [`is_panic`](Self::is_panic) first, or use
    /// [`try_into_panic`](Self::try_into_panic).
    ///
    /// ```
    /// let error = heist::submit(|| panic!("no luck")).join().unwrap_err();
    /// assert_eq!(error.into_panic().downcast_ref(), Some(&"no luck"));
    /// ```
    pub fn into_panic(self) -> Box<dyn std::any::Any + Send + 'static> {
        self.try_into_panic()
            .unwrap_or_else(|error| panic!("{error}, so there is no panic to take"))
    }

    /// Returns the payload of the panic.
    ///
    /// # Errors
    ///
    /// Returns the error itself if the task did not panic.
    ///
    /// ```
    /// let (promise, handle) = heist::promise::<u32>();
    /// drop(promise);
    /// let error = handle.join().unwrap_err().try_into_panic().unwrap_err();
    /// assert!(error.is_broken_promise());
    /// ```
    pub fn try_into_panic(self) -> Result<Box<dyn std::any::Any + Send + 'static>, JoinError> {
        match self.0.kind {
            Kind::Panic(payload) => {
                Ok(payload.into_inner().unwrap_or_else(PoisonError::into_inner))
            }
            kind => Err(JoinError(Box::new(Inner { kind, ..*self.0 }))),
        }
    }

    /// Returns where in the source the task panicked, if the program has asked for it.
    ///
    /// Rust reports the location of a panic only to the process's panic hook. It is therefore known only if
    /// the program has called [`record_panic_locations`](crate::record_panic_locations) and the panic began
    /// on the thread that ran the task. It is `None` in these cases:
    ///
    /// - The panic came from another thread, such as that of the stolen side of a [`join`](crate::join).
    /// - The panic was caught and continued by [`resume_unwind`](std::panic::resume_unwind) with another
    ///   payload.
    /// - The item belongs to a stream with a [`chunk`](crate::Imap::chunk) of more than one item.
    /// - The error is not a panic.
    ///
    /// If a thread has several panics under way whose payloads are not text, the location can be that of another
    /// panic with a payload of this type.
    ///
    /// ```
    /// heist::record_panic_locations();
    /// let error = heist::submit(|| panic!("no luck")).join().unwrap_err();
    /// println!("{error} at {}", error.location().unwrap());
    /// ```
    pub fn location(&self) -> Option<&PanicLocation> {
        self.0.location.as_ref()
    }

    /// Returns the task's id.
    pub fn id(&self) -> TaskId {
        self.0.id
    }

    /// Returns the task's name, if it was given one.
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
                let payload = payload.lock().unwrap_or_else(PoisonError::into_inner);
                match message(&**payload) {
                    Some(message) => write!(f, "panicked: {message}"),
                    None => f.write_str("panicked"),
                }
            }
            Kind::Failed(error) => write!(f, "failed: {error}"),
            Kind::Lost(lost) => write!(f, "was lost: {lost}"),
            Kind::Refused(text) => write!(f, "was refused: {text}"),
            Kind::Ended(cause) => f.write_str(match cause {
                Cause::Cancelled => "was cancelled",
                Cause::ShutDown => "was cancelled: its pool was shut down",
                Cause::Refused => "was refused: its pool had been shut down",
                Cause::Full => "was refused: the pool's queue was full",
                Cause::Deadline => "missed its deadline",
                Cause::BrokenPromise => "was promised, and the promise was dropped",
            }),
        }
    }
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

/// Converts the error for programs whose errors are [`io::Error`], so that `handle.join()?` works there.
///
/// A missed deadline becomes [`TimedOut`](io::ErrorKind::TimedOut). A promise that
/// [failed](crate::Promise::fail) with an [`io::Error`] keeps the kind of that error. Everything else becomes
/// [`Other`](io::ErrorKind::Other), including cancelled tasks, because callers retry on `Interrupted`. The
/// [`JoinError`] is inside.
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
            Kind::Ended(Cause::Deadline) => io::ErrorKind::TimedOut,
            Kind::Failed(source) => source
                .downcast_ref::<io::Error>()
                .map_or(io::ErrorKind::Other, io::Error::kind),
            Kind::Panic(_) | Kind::Lost(_) | Kind::Refused(_) | Kind::Ended(_) => {
                io::ErrorKind::Other
            }
        };
        io::Error::new(kind, error)
    }
}

/// How the process ended that ran a task. See [`JoinError::lost`].
///
/// A task that was sent to the process and had not begun is not lost: it runs in another process.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lost {
    /// The id of the process.
    pub worker: u32,
    /// The signal that ended the process, such as 9 for SIGKILL or 11 for a segmentation fault.
    pub signal: Option<i32>,
    /// The exit code of the process, if it exited by itself.
    pub code: Option<i32>,
    /// How many times the task was started.
    pub starts: u32,
    /// Whether the task may have had effects. It is `false` if no process can have begun the task.
    pub may_have_run: bool,
}

impl Lost {
    #[cfg_attr(
        not(all(feature = "process", target_os = "linux")),
        expect(dead_code, reason = "only processes are lost")
    )]
    pub(crate) fn new(worker: u32, signal: Option<i32>, code: Option<i32>, starts: u32) -> Self {
        Lost {
            worker,
            signal,
            code,
            starts,
            may_have_run: starts > 0,
        }
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "worker {} ", self.worker)?;
        match (self.signal, self.code) {
            (Some(signal), _) => write!(f, "died of signal {signal}")?,
            (None, Some(code)) => write!(f, "exited with code {code}")?,
            (None, None) => f.write_str("ended")?,
        }
        let effects = if self.may_have_run {
            "; it may have had effects"
        } else {
            ""
        };
        write!(f, " while it ran the task (start {}){effects}", self.starts)
    }
}

/// The reason why [`try_submit`](crate::ThreadPool::try_submit) refused a closure, and the closure.
///
/// ```
/// let pool = heist::ThreadPool::new()?;
/// pool.shutdown();
/// match pool.try_submit(|| 6 * 7) {
///     Ok(handle) => assert_eq!(handle.join().unwrap(), 42),
///     Err(refused) => assert_eq!(refused.into_inner()(), 42),
/// }
/// # Ok::<(), heist::BuildError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum TrySubmitError<F> {
    /// The queue is full.
    Full(F),
    /// The pool has been shut down.
    ShutDown(F),
}

impl<F> TrySubmitError<F> {
    /// Returns the closure.
    pub fn into_inner(self) -> F {
        match self {
            TrySubmitError::Full(f) | TrySubmitError::ShutDown(f) => f,
        }
    }

    /// Returns whether the queue was full. If so, a later call can succeed.
    pub fn is_full(&self) -> bool {
        matches!(self, TrySubmitError::Full(_))
    }
}

impl<F> fmt::Debug for TrySubmitError<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TrySubmitError::Full(_) => "Full(..)",
            TrySubmitError::ShutDown(_) => "ShutDown(..)",
        })
    }
}

impl<F> fmt::Display for TrySubmitError<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TrySubmitError::Full(_) => {
                "the pool's queue is full: try again later, or raise queue_capacity"
            }
            TrySubmitError::ShutDown(_) => "the pool has been shut down and takes no more tasks",
        })
    }
}

impl<F> Error for TrySubmitError<F> {}
