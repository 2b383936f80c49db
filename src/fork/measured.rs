//! Forks and tasks that a profile measures. [`crate::profile::line`] has the rules.

use crate::pool::{context, worker};
use crate::profile::forks::Fork;
use crate::profile::line::{Line, Report, Start};
use crate::profile::skipped::Skipped;
use crate::profile::tasks::{OpenScope, Spawned};
use crate::ring::Ring;
use std::ptr;

/// Ends the first closure of a `join` when it is dropped.
pub(super) struct First<'a, 'b>(pub(super) &'a Fork<'a, 'b>);

impl Drop for First<'_, '_> {
    #[inline]
    fn drop(&mut self) {
        self.0.first_ends();
    }
}

/// The second closure of a `join`, which returns what was measured if another thread has taken it.
#[inline]
pub(super) fn second<'b, R>(
    start: Start<'b>,
    b: impl FnOnce(bool) -> R + Send,
) -> impl FnOnce(bool) -> (R, Option<Box<Report>>) + Send {
    move |is_stolen| {
        if is_stolen {
            if let Some(line) = context::line() {
                line.set_superseded();
            }
            let (result, report) = on_line(start, || b(true));
            (result, Some(Box::new(report.end())))
        } else {
            (b(false), None)
        }
    }
}

/// Runs `f` on a new line, and returns that line.
#[inline]
pub(super) fn on_line<'b, R>(start: Start<'b>, f: impl FnOnce() -> R) -> (R, Line<'b>) {
    let line = Line::new(start);
    let followed = context::follow(&line);
    let result = f();
    drop(followed);
    (result, line)
}

/// Runs a `join` at full speed.
#[inline]
pub(super) fn skip<R>(skipped: Skipped<'_, '_>, join: impl FnOnce() -> R) -> R {
    let slot = worker::own_member().slot;
    let _marked = slot.mark.set(Ring::depth(&slot.ring), &skipped.orphans);
    let _followed = context::skip_joins();
    join()
}

/// A scope that is measured, on the stack of its owner. It ends when this is dropped.
pub(super) struct MeasuredScope<'a> {
    line: &'a Line<'a>,
    tasks: OpenScope<'a>,
}

impl MeasuredScope<'_> {
    /// Begins a scope, if the thread is on a line.
    #[inline]
    pub(super) fn open<'a>() -> Option<MeasuredScope<'a>> {
        let line = context::line()?;
        let tasks = line.open_scope();
        Some(MeasuredScope { line, tasks })
    }

    /// Where the tasks are measured. The pointer is valid as long as this value is, in its place.
    pub(super) fn tasks(&self) -> *const OpenScope<'static> {
        ptr::from_ref(&self.tasks).cast()
    }

    /// Ends the body.
    pub(super) fn body_ends(&self) {
        self.line.body_ends();
    }
}

impl Drop for MeasuredScope<'_> {
    fn drop(&mut self) {
        self.line.close_scope(&self.tasks);
    }
}

/// Runs and measures a task of a scope.
pub(super) fn task<R>(tasks: &OpenScope<'_>, task: Spawned<'_>, f: impl FnOnce() -> R) -> R {
    let (result, line) = on_line(task.start, f);
    tasks.end(&task, line);
    result
}
