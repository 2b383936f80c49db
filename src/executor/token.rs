//! Cancel tokens: a tree of flags, each with the tasks that a cancel ends.

use super::error::{Cause, TaskId};
use super::task::TaskRef;
use crate::lineage::Token;
use crate::pool::Slot;
use crate::pool::context::{self, Begun};
use std::collections::BTreeMap;
use std::fmt;
use std::ptr;
use std::sync::{Arc, Weak};

// From std in models too: the lock orders what a token orders, and no wait depends on it.
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};

/// Cancels tasks that have not begun, and asks tasks that run to stop.
///
/// Give it to tasks with [`TaskBuilder::token`](crate::TaskBuilder::token). [`cancel`](Self::cancel) drops
/// those that have not begun, and their handles resolve. Running tasks continue until they check
/// [`is_cancelled`](Self::is_cancelled) and return.
///
/// A clone stands for this token: cancelling one cancels the other. A [`child`](Self::child) is cancelled with
/// its parent, but not the parent with its child.
///
/// # Inheritance
///
/// | inside a task with a token | what inherits it, as [`current_token`] | if it is cancelled before that begins |
/// |---|---|---|
/// | submits or spawns a task, spawns one into a [`JoinSet`](crate::JoinSet), consumes a stream of the pool | the task or the item, unless it is given another token | it is dropped; its handle or its place in the stream resolves to an error |
/// | calls `join`, a map, [`run`](crate::ThreadPool::run) or [`broadcast`](crate::ThreadPool::broadcast) | each closure, on whichever thread it runs | none: it runs, and may check the token |
/// | opens a scope: `spawn`, `submit` and streams of the [`Scope`](crate::Scope) | each task of the scope, on whichever thread it runs | none: it runs, and may check the token; its own handle cancels it |
/// | calls [`yield_now`](crate::yield_now), or helps with other work under [`Waits::Any`](crate::Waits::Any) | none: that work has its own token, or none | none |
///
/// The closures of a `join`, a map or a scope always run, because a thread waits for them in place. Callbacks of
/// [`on_finish`](crate::JoinHandle::on_finish) are not part of the task to whose handle they are added.
///
/// ```
/// use heist::{CancelToken, ThreadPool};
/// let pool = ThreadPool::new()?;
/// let token = CancelToken::new();
/// let files = vec!["Cargo.toml"; 1000];
/// let handle = pool.task().token(&token).submit(move || {
///     let mut bytes = 0;
///     for (read, file) in files.iter().enumerate() {
///         if heist::current_token().is_cancelled() {
///             return Err(format!("stopped after {read} files"));
///         }
///         bytes += std::fs::read(file).map_err(|error| error.to_string())?.len();
///     }
///     Ok(bytes)
/// });
/// token.cancel();
/// match handle.join() {
///     Ok(Ok(bytes)) => println!("{bytes} bytes"),
///     Ok(Err(stopped)) => println!("{stopped}"),
///     Err(error) => assert!(error.is_cancelled(), "it had not begun"),
/// }
/// # Ok::<(), heist::BuildError>(())
/// ```
#[derive(Clone)]
pub struct CancelToken(Arc<Node>);

struct Node {
    cancelled: AtomicBool,
    /// Kept alive, so that a cancel of an ancestor reaches this node.
    parent: Mutex<Option<Arc<Node>>>,
    below: Mutex<Below>,
}

#[derive(Default)]
struct Below {
    children: Vec<Weak<Node>>,
    /// The number of children at which those that are gone are removed.
    sweep: usize,
    /// Tasks with this token that have not ended.
    tasks: BTreeMap<TaskId, TaskRef>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poison| poison.into_inner())
}

impl CancelToken {
    /// Creates a token that is not cancelled.
    pub fn new() -> Self {
        Self::with_parent(None)
    }

    fn with_parent(parent: Option<Arc<Node>>) -> Self {
        CancelToken(Arc::new(Node {
            cancelled: AtomicBool::new(false),
            parent: Mutex::new(parent),
            below: Mutex::default(),
        }))
    }

    /// Creates a token that is cancelled together with this one. A cancel of the child does not affect this token.
    ///
    /// ```
    /// let parent = heist::CancelToken::new();
    /// let child = parent.child();
    /// child.cancel();
    /// assert!(child.is_cancelled() && !parent.is_cancelled());
    /// ```
    pub fn child(&self) -> Self {
        let child = Self::with_parent(Some(Arc::clone(&self.0)));
        let mut below = lock(&self.0.below);
        if self.is_cancelled() {
            child.0.cancelled.store(true, Ordering::Release);
            return child;
        }
        if below.children.len() >= below.sweep {
            below.children.retain(|child| child.strong_count() > 0);
            below.sweep = 2 * below.children.len() + 8;
        }
        below.children.push(Arc::downgrade(&child.0));
        drop(below);
        child
    }

    /// Cancels this token and its descendants. A second call does nothing.
    ///
    /// Tasks with these tokens that have not begun are dropped on the calling thread. Before this method returns,
    /// their callbacks have been called and their waiters woken. Running tasks see
    /// [`is_cancelled`](Self::is_cancelled) return true. Futures, whether they have begun or not, are dropped by
    /// the threads of their pools, between two polls.
    ///
    /// ```
    /// let (parent, other) = (heist::CancelToken::new(), heist::CancelToken::new());
    /// let child = parent.child();
    /// parent.cancel();
    /// assert!(child.is_cancelled() && !other.is_cancelled());
    /// ```
    pub fn cancel(&self) {
        for task in self.raise() {
            task.cancel(Cause::Cancelled);
        }
    }

    /// Sets the flags of this token and of its descendants, and returns their tasks, which the caller cancels.
    pub(super) fn raise(&self) -> Vec<TaskRef> {
        let mut nodes = vec![Arc::clone(&self.0)];
        let mut tasks = Vec::new();
        while let Some(node) = nodes.pop() {
            let below = {
                let mut below = lock(&node.below);
                // ORDERING: Release pairs with the Acquire in `is_cancelled`; under the lock, so that no task registers afterwards.
                node.cancelled.store(true, Ordering::Release);
                std::mem::take(&mut *below)
            };
            nodes.extend(below.children.iter().filter_map(Weak::upgrade));
            tasks.extend(below.tasks.into_values());
        }
        tasks
    }

    /// Returns whether this token or one of its ancestors was cancelled. The check is one atomic load, so that a task may
    /// make it often.
    ///
    /// ```
    /// let token = heist::CancelToken::new();
    /// assert!(!token.is_cancelled());
    /// token.cancel();
    /// assert!(token.is_cancelled());
    /// ```
    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.load(Ordering::Acquire)
    }

    /// Registers a task, which a cancel of this token then cancels. Returns false if the token is cancelled already.
    pub(super) fn register(&self, task: TaskRef) -> bool {
        let mut below = lock(&self.0.below);
        let open = !self.is_cancelled();
        if open {
            below.tasks.insert(task.id, task);
        }
        open
    }

    /// Removes a task that has ended.
    pub(super) fn deregister(&self, task: TaskId) {
        // Dropped after the lock is released.
        let task = lock(&self.0.below).tasks.remove(&task);
        drop(task);
    }
}

impl Default for CancelToken {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelToken")
            .field("is_cancelled", &self.is_cancelled())
            .finish_non_exhaustive()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // In a loop rather than by recursion, because a long line of ancestors must not need a deep stack.
        let mut parent = lock(&self.parent).take();
        while let Some(node) = parent {
            parent = Arc::into_inner(node).and_then(|node| lock(&node.parent).take());
        }
    }
}

/// Makes `token` the current token of the thread with this slot, until the guard is dropped.
#[inline]
pub(super) fn enter<'a>(slot: &'a Slot, token: Option<&CancelToken>) -> Option<Begun<'a>> {
    let token = token.map_or(Token::NONE, |token| Token::new(ptr::from_ref(token).cast()));
    context::change_token(slot, token)
}

/// Returns whether the current task has a token.
#[inline]
pub(super) fn is_set() -> bool {
    context::token() != Token::NONE
}

/// Returns the token of the current task, if it has one.
pub(super) fn current() -> Option<CancelToken> {
    let token = context::token().address().cast::<CancelToken>();
    // SAFETY: (1) the address is null, or `enter` has made it from a reference to the token of a running task. (2) That task has not ended: the current work is
    // the task, or a piece of it for which the task waits. (3) The token is not written through the address.
    unsafe { token.as_ref() }.cloned()
}

/// Returns the token of the task that runs on the current thread.
///
/// It is the token that the task was given or has inherited. For a task with a deadline it is a child of that
/// token, which the deadline cancels; the given token is not affected. Outside a task, and in a task without a
/// token, it is a new token that nobody else knows.
///
/// The closures that a task gives to `join`, `scope`, `map`, `run` and `broadcast` are parts of it and see
/// this token, whichever thread runs them. What the task or one of its parts submits inherits the token:
/// see [`CancelToken`]. A task that [`yield_now`](crate::yield_now) runs is separate: inside it this is that
/// task's token.
///
/// ```
/// assert!(!heist::current_token().is_cancelled());
///
/// let pool = heist::ThreadPool::new()?;
/// let token = heist::CancelToken::new();
/// let asked = token.clone();
/// let handle = pool.task().token(&token).submit(move || {
///     asked.cancel();
///     heist::current_token().is_cancelled()
/// });
/// // Nothing else cancels it before it begins.
/// assert!(handle.join().unwrap());
/// # Ok::<(), heist::BuildError>(())
/// ```
pub fn current_token() -> CancelToken {
    current().unwrap_or_default()
}
