//! The options of a task, and the methods of the builders that set them.

use super::extra::Extra;
use super::state::{DEADLINE, EXTRA, InitialFlags};
use super::timer::deadline_after;
use super::token::{self, CancelToken};
use crate::pool::Priority;
use std::time::Duration;

/// The options of a task.
#[derive(Clone, Default)]
pub(super) struct Options {
    pub(super) name: Option<std::sync::Arc<str>>,
    pub(super) priority: Priority,
    pub(super) deadline: Option<Duration>,
    pub(super) token: Option<CancelToken>,
    /// The flags that do not follow from the other options.
    pub(super) flags: InitialFlags,
    pub(super) if_full: IfFull,
}

/// What happens to a task when the pool's queue is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum IfFull {
    /// The pool's [`WhenFull`](crate::WhenFull) decides.
    #[default]
    PoolDecides,
    /// The submitter waits for room, even if the pool rejects tasks.
    Waits,
    /// The submitter waits for room, even if the pool rejects tasks or has the caller run them.
    WaitsForWorkers,
    /// The task is admitted.
    Exceeds,
}

impl Options {
    /// Returns the task's second block, if it needs one, and its flags.
    #[inline]
    pub(super) fn lower(self) -> (Option<Box<Extra>>, InitialFlags) {
        let plain = self.name.is_none() && self.token.is_none() && self.deadline.is_none();
        if plain && !token::is_set() {
            return (None, self.flags);
        }
        self.lower_slow()
    }

    #[cold]
    fn lower_slow(self) -> (Option<Box<Extra>>, InitialFlags) {
        let mut flags = self.flags | EXTRA;
        let mut token = self.token.or_else(token::current);
        if self.deadline.is_some() {
            flags |= DEADLINE;
            // A deadline cancels the token of its own task and no other.
            token = Some(token.map_or_else(CancelToken::new, |token| token.child()));
        }
        let extra = Extra {
            name: self.name,
            token,
            deadline: self.deadline.and_then(deadline_after),
            ..Extra::default()
        };
        (Some(Box::new(extra)), flags)
    }
}

/// Gives a builder with a field `options` the methods that set them. For the examples: the statement that begins with making a builder, and the method that
/// submits the task.
macro_rules! option_methods {
    ($builder:ident $(, $parameter:ident)?; $start:literal, $submit:literal) => {
        impl<$($parameter)?> $builder<'_ $(, $parameter)?> {
            /// Names the task. Errors show the name instead of the id, and
            /// [`shutdown_timeout`](crate::ThreadPool::shutdown_timeout) lists running tasks by name.
            ///
            /// ```
            /// let pool = heist::ThreadPool::new()?;
            #[doc = concat!($start, ".name(\"thumbnail\").", $submit, "(|| 640 * 480);")]
            /// # pool.wait_idle();
            /// # Ok::<(), heist::BuildError>(())
            /// ```
            pub fn name(mut self, name: impl AsRef<str>) -> Self {
                self.options.name = Some(name.as_ref().into());
                self
            }

            /// Sets which of the queued tasks begin first. The default is [`Priority::Normal`](crate::Priority::Normal).
            ///
            /// ```
            /// let pool = heist::ThreadPool::new()?;
            #[doc = concat!($start, ".priority(heist::Priority::High).", $submit, "(|| 1);")]
            /// # pool.wait_idle();
            /// # Ok::<(), heist::BuildError>(())
            /// ```
            pub fn priority(mut self, priority: crate::Priority) -> Self {
                self.options.priority = priority;
                self
            }

            /// Limits the time from the submission to the end of the task. The limit is a [`Duration`](std::time::Duration) that is counted
            /// from the submission.
            ///
            /// A task that misses its deadline resolves to an error that [is a time-out](crate::JoinError::is_timeout), on time even if all
            /// workers are busy. If it has not begun, it never runs. If it is running, it sees [`current_token`](crate::current_token)
            /// cancelled, and its result is dropped. To limit only the time of a wait, use
            /// [`join_timeout`](crate::JoinHandle::join_timeout).
            ///
            /// A closure that never runs is dropped on a thread of this crate, soon after the task resolves. This thread runs such destructors
            /// one after the other, for all pools. A destructor that blocks therefore delays those behind it. More threads, up to four in
            /// all, are started only while 64 destructors for each thread are queued. A [shutdown](crate::ThreadPool::shutdown) and
            /// [`wait_idle`](crate::ThreadPool::wait_idle) wait for these destructors, so a destructor that calls them panics, as a task that
            /// calls them does.
            ///
            /// One thread of this crate keeps all deadlines. If the system refuses to start it, deadlines are kept by the threads that wait
            /// for tasks, and by the workers that begin and end tasks. A future is then woken when one of these threads checks the deadlines,
            /// or finds out when it is polled.
            ///
            /// ```
            /// use std::time::Duration;
            /// let pool = heist::ThreadPool::new()?;
            #[doc = concat!($start, ".deadline(Duration::from_secs(60)).", $submit, "(|| 1);")]
            /// pool.wait_idle();
            /// assert_eq!(pool.stats().timed_out, 0);
            /// # Ok::<(), heist::BuildError>(())
            /// ```
            pub fn deadline(mut self, timeout: std::time::Duration) -> Self {
                self.options.deadline = Some(timeout);
                self
            }

            /// Sets the token that cancels the task. The default is the token of the task that submits it, if there is one.
            ///
            /// ```
            /// let pool = heist::ThreadPool::new()?;
            /// let token = heist::CancelToken::new();
            /// token.cancel();
            #[doc = concat!($start, ".token(&token).", $submit, "(|| unreachable!(\"cancelled before\"));")]
            /// assert_eq!(pool.stats().cancelled, 1);
            /// # Ok::<(), heist::BuildError>(())
            /// ```
            pub fn token(mut self, token: &crate::executor::token::CancelToken) -> Self {
                self.options.token = Some(token.clone());
                self
            }
        }

        impl<$($parameter)?> std::fmt::Debug for $builder<'_ $(, $parameter)?> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($builder))
                    .field("name", &self.options.name)
                    .field("priority", &self.options.priority)
                    .field("deadline", &self.options.deadline)
                    .finish_non_exhaustive()
            }
        }
    };
}
pub(super) use option_methods;
