//! The user's own events.

use crate::pool::context;
use crate::profile::line::Line;
use crate::profile::site::SiteRef;
use crate::record::{Entry, Recorder};
use std::marker::PhantomData;
use std::ptr;

/// Marks a moment on the time line of the current thread, with a name.
///
/// Nothing happens unless the thread takes part in a pool that is [traced](crate::trace): then it costs about 10
/// nanoseconds, and else less than one.
///
/// ```
/// heist::mark("phase 2");
/// ```
#[inline]
pub fn mark(name: &'static str) {
    if let Some(recorder) = recorder() {
        recorder.put(Entry::Mark(name));
    }
}

/// Begins a span on the time line of the current thread, which ends when the guard is dropped.
///
/// Spans show what parts a task has. They nest. The guard stays on the thread; a span that is held across an `.await`
/// ends where the future happens to be then, so it is better to keep spans within a poll. Nothing happens unless the thread
/// takes part in a pool that is [traced](crate::trace), or runs something that is
/// [profiled](crate::ThreadPool::profile): there the time in the span counts as that of the span, not of the closure.
///
/// Names longer than 65,535 bytes are cut.
///
/// ```
/// fn parse(text: &str) -> usize {
///     let _span = heist::span("parse");
///     text.split(' ').count()
/// }
/// assert_eq!(heist::map(["to be", "or not"], parse), [2, 2]);
/// ```
#[inline]
#[must_use = "the span ends when this is dropped"]
pub fn span(name: &'static str) -> Span {
    let recorder = recorder();
    if let Some(recorder) = recorder {
        recorder.put(Entry::SpanBegin(name));
    }
    Span {
        is_recorded: recorder.is_some(),
        outer: context::line().map(|line| enter(line, name)),
        marker: PhantomData,
    }
}

/// Lets the time on a line count as that of a span. Returns the address of the line, and whose time it was.
#[cold]
fn enter(line: &Line<'_>, name: &'static str) -> (usize, SiteRef) {
    let before = line.change_site(SiteRef::Span(name));
    (ptr::from_ref(line).addr(), before)
}

/// Ends a span on the line on which it has begun.
#[cold]
fn leave((begun, before): (usize, SiteRef)) {
    if let Some(line) = context::line().filter(|line| ptr::from_ref(*line).addr() == begun) {
        line.change_site(before);
    }
}

/// The recorder of the slot that the current thread owns.
#[inline]
fn recorder<'a>() -> Option<&'a Recorder> {
    context::slot().and_then(|slot| slot.recorder())
}

/// A span that has begun. See [`span`].
#[derive(Debug)]
pub struct Span {
    is_recorded: bool,
    /// On a profiled thread the address of the line, and the site outside the span.
    outer: Option<(usize, SiteRef)>,
    /// Keeps the guard on its thread.
    marker: PhantomData<*const ()>,
}

impl Drop for Span {
    #[inline]
    fn drop(&mut self) {
        if self.is_recorded
            && let Some(recorder) = recorder()
        {
            recorder.put(Entry::SpanEnd);
        }
        if let Some(outer) = self.outer {
            leave(outer);
        }
    }
}
