//! Tasks with handles inside a scope: they may borrow what outlives it.

use super::cell::{self, TaskRef};
use super::error::{Cause, JoinError, TaskId};
use super::extra::Waiter;
use super::handle::JoinHandle;
use super::state::Birth;
use crate::blocks::{self, Blocks};
use crate::fork::{Scope, ScopePtr};
use crate::job::{Fate, Group, Task, TaskHeader};
use crate::pool::{Slot, context};
use std::alloc::Layout;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::ptr::NonNull;
use std::task::{Context, Poll};
use std::time::Duration;

impl<'scope> Scope<'scope> {
    /// [`spawn`](Self::spawn) with a handle for the result.
    ///
    /// The scope waits for the task in any case. A panic goes to the handle; if that was dropped before, to the pool's
    /// [`panic_handler`](crate::ThreadPoolBuilder::panic_handler).
    ///
    /// ```
    /// let text = String::from("to be or not to be");
    /// let (words, letters) = heist::scope(|s| {
    ///     let words = s.submit(|_| text.split(' ').count());
    ///     let letters = s.submit(|_| text.chars().filter(|c| c.is_alphabetic()).count());
    ///     (words.join().unwrap(), letters.join().unwrap())
    /// });
    /// assert_eq!((words, letters), (6, 13));
    /// ```
    pub fn submit<F, T>(&self, f: F) -> ScopedJoinHandle<'scope, T>
    where
        F: FnOnce(&Scope<'scope>) -> T + Send + 'scope,
        T: Send + 'scope,
    {
        self.submit_as(Birth::default(), 1, f)
    }

    /// [`submit`](Self::submit) of a task that stands for `tasks` in the pool's counts.
    pub(super) fn submit_as<F, T>(
        &self,
        birth: Birth,
        tasks: u64,
        f: F,
    ) -> ScopedJoinHandle<'scope, T>
    where
        F: FnOnce(&Scope<'scope>) -> T + Send + 'scope,
        T: Send + 'scope,
    {
        self.registry().check_fork();
        self.registry().end_idle_moment(context::slot());
        let scope = self.handle();
        // SAFETY: the closure runs while the entry below has not ended, for which the scope waits.
        let run = move || f(unsafe { scope.get() });
        let birth = Birth {
            handle: true,
            ungated: true,
            ..birth
        };
        let blocks = context::slot().map(Slot::blocks);
        // SAFETY: what closure and result borrow outlives 'scope; the entry below keeps the closure within the scope, the handle's type
        // the result within 'scope.
        let (task, header) = unsafe { cell::make(self.registry().id, birth, None, blocks, run) };
        let (task, scope) = (TaskRef::of(task), self.handle().erased());
        self.queue(tasks, |group, blocks| {
            Entry::queued(group, blocks, task, scope)
        });
        // SAFETY: the birth counts a handle's reference, and here it is.
        let task = unsafe { TaskRef::from_header(header) };
        ScopedJoinHandle {
            // SAFETY: the handle's reference, and the result is a `T`.
            inner: unsafe { JoinHandle::new(task) },
            marker: PhantomData,
        }
    }
}

/// What stands in a queue for a submitted task of a scope: for it the scope waits.
#[repr(C)]
struct Entry {
    header: TaskHeader,
    task: TaskRef,
    scope: ScopePtr<'static>,
}

impl Entry {
    fn queued(
        group: *const Group,
        blocks: Option<&Blocks>,
        task: TaskRef,
        scope: ScopePtr<'static>,
    ) -> Task {
        let block = blocks::allocate(Layout::new::<Entry>(), blocks).cast::<Entry>();
        let header = TaskHeader::new(resolve, group);
        let entry = Entry {
            header,
            task,
            scope,
        };
        // SAFETY: allocated for this layout.
        unsafe { block.write(entry) };
        // SAFETY: the header is the entry's first field; `resolve` ends it.
        unsafe { Task::from_header(block.cast()) }
    }
}

/// Ends an entry.
unsafe fn resolve(task: NonNull<TaskHeader>, fate: Fate, blocks: Option<&Blocks>) -> bool {
    let block = task.cast::<Entry>();
    // SAFETY: made by `Entry::queued`, resolved once: the value is moved out, the memory is given back.
    let Entry { task, scope, .. } = unsafe { block.read() };
    // SAFETY: allocated for this layout there, and its value was moved out.
    unsafe { blocks::release(block.cast(), Layout::new::<Entry>(), blocks) };
    let live = match (fate, context::slot()) {
        (Fate::Run, Some(slot)) if task.claim() => {
            task.run_claimed(slot);
            true
        }
        _ if fate == Fate::Drop && task.cancel(Cause::ShutDown) => true,
        _ => {
            if fate == Fate::Run {
                cell::note_nothing_run();
            }
            // Its handle may have it, to run or to cancel, perhaps further down this very stack. The scope must outlast that, but nobody need
            // wait here.
            if task.at_end(|list| list.waiters.push(Waiter::Scope(scope.copy()))) {
                return false;
            }
            false
        }
    };
    // SAFETY: this thread takes part in the pool, and the entry has not been counted down.
    unsafe { scope.end_one() };
    live
}

/// Whether that is an entry whose task somebody has begun or ended.
pub(super) fn is_dead(task: &Task) -> bool {
    // SAFETY: an entry, alive as long as its task.
    task.is_ended_by(resolve)
        && !unsafe { task.header().cast::<Entry>().as_ref() }
            .task
            .is_queued()
}

/// A task of [`Scope::submit`], to be joined, cancelled, awaited or let go within its scope.
///
/// It has the methods of [`JoinHandle`] but for [`abort_on_drop`](JoinHandle::abort_on_drop): the scope ends what it has begun. The functions for
/// several handles, such as [`wait`](crate::wait()), take a [`JoinHandle`] only, because they keep it for longer than a scope lasts.
///
/// ```
/// let names = ["ada", "grace"];
/// heist::scope(|s| {
///     let len = s.submit(|_| names[0].len());
///     assert_eq!(len.join().unwrap(), 3);
/// });
/// ```
#[must_use = "a handle that is dropped lets its task go: call `detach` to say so"]
pub struct ScopedJoinHandle<'scope, T> {
    inner: JoinHandle<T>,
    marker: PhantomData<&'scope ()>,
}

impl<'scope, T> ScopedJoinHandle<'scope, T> {
    pub(super) fn into_inner(self) -> JoinHandle<T> {
        self.inner
    }

    /// See [`JoinHandle::join`].
    ///
    /// # Errors
    /// As there.
    pub fn join(self) -> Result<T, JoinError> {
        self.inner.join()
    }

    /// See [`JoinHandle::wait_timeout`].
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        self.inner.wait_timeout(timeout)
    }

    /// See [`JoinHandle::join_timeout`].
    ///
    /// # Errors
    /// As there.
    pub fn join_timeout(self, timeout: Duration) -> Result<Result<T, JoinError>, Self> {
        self.inner.join_timeout(timeout).map_err(|inner| Self {
            inner,
            marker: PhantomData,
        })
    }

    /// Whether the task has come to its end, of whatever kind.
    pub fn is_finished(&self) -> bool {
        self.inner.is_finished()
    }

    /// Whether the task has begun and not ended.
    pub fn is_running(&self) -> bool {
        self.inner.is_running()
    }

    /// Whether the task was cancelled before it began; see [`JoinHandle::is_cancelled`].
    pub fn is_cancelled(&self) -> bool {
        self.inner.is_cancelled()
    }

    /// Which task.
    pub fn id(&self) -> TaskId {
        self.inner.id()
    }

    /// The name of the task. Always `None` at present, because [`Scope::submit`] has no options.
    pub fn name(&self) -> Option<&str> {
        self.inner.name()
    }

    /// See [`JoinHandle::cancel`].
    pub fn cancel(&self) -> bool {
        self.inner.cancel()
    }

    /// Calls `f` with the outcome when the task ends, within the scope; see [`JoinHandle::on_finish`]. Neither the result nor `f` may borrow: use
    /// [`join`](Self::join) where they do.
    ///
    /// ```
    /// let (sender, receiver) = std::sync::mpsc::channel();
    /// let text = String::from("to be");
    /// heist::scope(|s| {
    ///     let mut handle = s.submit(|_| text.len());
    ///     handle.on_finish(move |len| sender.send(*len.as_ref().unwrap()).unwrap());
    /// });
    /// assert_eq!(receiver.recv(), Ok(5));
    /// ```
    pub fn on_finish<F>(&mut self, f: F)
    where
        T: 'static,
        F: FnOnce(&Result<T, JoinError>) + Send + 'static,
    {
        self.inner.on_finish(f);
    }

    /// Lets the task go: it runs within the scope, and its result is dropped.
    pub fn detach(self) {}
}

/// Resolves to what [`ScopedJoinHandle::join`] gives; see [`JoinHandle`]. The scope waits for the task whether or not the future is polled to its
/// end.
///
/// # Panics
/// When polled again after it was ready.
impl<T> Future for ScopedJoinHandle<'_, T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.inner).poll(context)
    }
}

impl<T> fmt::Debug for ScopedJoinHandle<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}
