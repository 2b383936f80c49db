//! Cancel tokens: a tree of flags, each with the queued tasks that go when it is raised.

use super::cell::TaskRef;
use super::error::{Cause, TaskId};
use crate::pool::context;
use std::collections::BTreeMap;
use std::fmt;
use std::ptr;
use std::sync::{Arc, Weak};

// Not of the loom seam but for the flag's sake: what a token orders is its lock's, and no wait depends on it.
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};

/// Cancels tasks, and asks those that run to stop.
///
/// Give it to tasks with [`TaskBuilder::token`](crate::TaskBuilder::token). Tasks that such a task submits get the same token unless they are given
/// another. [`cancel`](Self::cancel) drops those that have not begun, and their handles resolve; those that run go on until they ask
/// [`is_cancelled`](Self::is_cancelled) and return.
///
/// Clones are the same token. A [`child`](Self::child) is cancelled with its parent, not the other way round.
///
/// ```
/// use heist::{CancelToken, ThreadPool};
/// let pool = ThreadPool::new()?;
/// let token = CancelToken::new();
/// let handle = pool.task().token(&token).submit(|| {
///     let mut steps = 0;
///     while !heist::current_token().is_cancelled() {
///         steps += 1;
///     }
///     steps
/// });
/// token.cancel();
/// // Either it ran and was asked to stop, or it was dropped before it began.
/// assert!(handle.join().map_or_else(|error| error.is_cancelled(), |steps| steps >= 0));
/// # Ok::<(), heist::BuildError>(())
/// ```
#[derive(Clone)]
pub struct CancelToken(Arc<Node>);

struct Node {
    cancelled: AtomicBool,
    /// Kept alive, so that a cancelled ancestor finds the way down here.
    parent: Mutex<Option<Arc<Node>>>,
    below: Mutex<Below>,
}

#[derive(Default)]
struct Below {
    children: Vec<Weak<Node>>,
    /// How many children there may be before those that are gone are swept out.
    sweep: usize,
    /// Tasks that have not ended.
    tasks: BTreeMap<TaskId, TaskRef>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poison| poison.into_inner())
}

impl CancelToken {
    /// A token that nobody has cancelled.
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

    /// A token that is cancelled when this one is, or by itself.
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

    /// Drops the tasks of this token and its children that have not begun, and raises the flag that the others may ask for. A second
    /// call does nothing.
    ///
    /// Waiters and callbacks of the dropped tasks are served on this thread before it returns.
    pub fn cancel(&self) {
        for task in self.raise() {
            task.cancel(Cause::Asked);
        }
    }

    /// Raises the flags, and gives out the tasks that are to be cancelled.
    pub(super) fn raise(&self) -> Vec<TaskRef> {
        let mut nodes = vec![Arc::clone(&self.0)];
        let mut tasks = Vec::new();
        while let Some(node) = nodes.pop() {
            let below = {
                let mut below = lock(&node.below);
                // ORDERING: Release pairs with the Acquire in `is_cancelled`; under the lock, so that nobody enrols afterwards.
                node.cancelled.store(true, Ordering::Release);
                std::mem::take(&mut *below)
            };
            nodes.extend(below.children.iter().filter_map(Weak::upgrade));
            tasks.extend(below.tasks.into_values());
        }
        tasks
    }

    /// Whether this token or one above it was cancelled. One load.
    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.load(Ordering::Acquire)
    }

    /// Knows the task until it ends. False: cancelled already.
    pub(super) fn enrol(&self, task: TaskRef) -> bool {
        let mut below = lock(&self.0.below);
        let open = !self.is_cancelled();
        if open {
            below.tasks.insert(task.id(), task);
        }
        open
    }

    pub(super) fn leave(&self, task: TaskId) {
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
        // One after the other: a long line of descent must not need a deep stack.
        let mut parent = lock(&self.parent).take();
        while let Some(node) = parent {
            parent = Arc::into_inner(node).and_then(|node| lock(&node.parent).take());
        }
    }
}

/// The current task's token is `token` until the guard is dropped.
#[inline]
pub(super) fn enter(token: Option<&CancelToken>) -> Entered {
    let token = token.map_or(ptr::null(), ptr::from_ref);
    Entered(context::replace_token(token.cast()).cast())
}

/// See [`enter`].
pub(super) struct Entered(*const CancelToken);

impl Drop for Entered {
    #[inline]
    fn drop(&mut self) {
        context::replace_token(self.0.cast());
    }
}

/// Whether the current task has a token.
#[inline]
pub(super) fn is_set() -> bool {
    !context::token().is_null()
}

/// The token of the current task, if it has one.
pub(super) fn current() -> Option<CancelToken> {
    let token = context::token().cast::<CancelToken>();
    // SAFETY: set by `enter` from a reference that outlives its guard, on this thread.
    unsafe { token.as_ref() }.cloned()
}

/// The token of the task that runs on the current thread: the one it was given, or inherited; its deadline cancels it too. Elsewhere, and in a
/// task without one, a new token that nobody else knows.
///
/// It is known on the thread that runs the task. Closures of a `join`, `scope` or `map` may run on others: capture the token.
///
/// ```
/// assert!(!heist::current_token().is_cancelled());
/// ```
pub fn current_token() -> CancelToken {
    current().unwrap_or_default()
}
