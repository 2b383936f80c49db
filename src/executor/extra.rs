//! What only some tasks have: a name, a token, a deadline, callbacks, waiters. One more block, made when first needed.

use super::arrivals::Arrivals;
use super::cell::TaskRef;
use super::timer;
use super::token::CancelToken;
use crate::fork::ScopePtr;
use crate::sleep::Parker;
use crate::sync::{Arc, Mutex, lock};
use std::ptr::NonNull;
use std::task::Waker;
use std::time::Instant;

/// Gets the outcome's address, which is `&Result<T, JoinError>` of the task's own `T`.
pub(super) type Callback = Box<dyn FnOnce(NonNull<()>) + Send>;

/// Something of the user's, to be dropped somewhere else.
pub(super) type Refuse = Box<dyn Drops + Send>;

/// Anything, for the sake of its destructor.
pub(super) trait Drops {}
impl<T> Drops for T {}

/// Who is told of the end.
pub(super) enum Waiter {
    Parker(Arc<Parker>),
    Waker(Waker),
    /// One of several handles that somebody waits for.
    Member(Arc<Arrivals>, usize),
    /// The scope that waits for a task which its handle has taken out of the scope's hands.
    Scope(ScopePtr<'static>),
}

impl Waiter {
    fn wake(self) {
        match self {
            Waiter::Parker(parker) => parker.unpark(),
            // A waker is the user's: its panic is nobody's here.
            Waiter::Waker(waker) => {
                crate::unwind::catch(|| waker.wake()).unwrap_or_else(crate::unwind::drop_quietly)
            }
            Waiter::Member(arrivals, index) => arrivals.arrive(index),
            // SAFETY: left there by the scope's own entry for the task, instead of counting it down. The task has ended just
            // now, on a thread that runs it in the pool or, where it was cancelled, holds the pool meanwhile.
            Waiter::Scope(scope) => unsafe { scope.end_one() },
        }
    }
}

/// See the module. What is fixed at the submit stands outside the lock.
#[derive(Default)]
pub(super) struct Extra {
    pub(super) name: Option<std::sync::Arc<str>>,
    pub(super) token: Option<CancelToken>,
    pub(super) deadline: Option<Instant>,
    pub(super) list: Mutex<List>,
}

/// What is to be done at the end.
#[derive(Default)]
pub(super) struct List {
    pub(super) callbacks: Vec<Callback>,
    pub(super) waiters: Vec<Waiter>,
    /// The pool is calling back, after a deadline.
    pub(super) called_abroad: bool,
}

impl Extra {
    /// The token and the timer know the task from now on. False: the token is cancelled already.
    pub(super) fn enrol(&self, task: &TaskRef) -> bool {
        if let Some(deadline) = self.deadline {
            timer::add(deadline, task.clone());
        }
        match &self.token {
            Some(token) => token.enrol(task.clone()),
            None => true,
        }
    }

    /// They forget it.
    pub(super) fn leave(&self, task: super::TaskId) {
        if let Some(deadline) = self.deadline {
            timer::remove(deadline, task);
        }
        if let Some(token) = &self.token {
            token.leave(task);
        }
    }

    /// Removes waiters.
    pub(super) fn forget(&self, which: impl Fn(&Waiter) -> bool) {
        let gone: Vec<Waiter> = {
            let mut list = lock(&self.list);
            let (gone, stay) = std::mem::take(&mut list.waiters)
                .into_iter()
                .partition(|waiter| which(waiter));
            list.waiters = stay;
            gone
        };
        // A waker's destructor is the user's: not under the lock.
        crate::unwind::drop_quietly(gone);
    }
}

pub(super) fn wake_all(waiters: Vec<Waiter>) {
    for waiter in waiters {
        waiter.wake();
    }
}
