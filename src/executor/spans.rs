//! The spans of the crate `tracing` in which tasks run, if the feature `tracing` is on.
//!
//! A task enters the span of the thread that submits it, wherever it runs, and a future enters it at each poll. If a subscriber wants the span
//! `runtime.spawn`, the task gets such a span of its own, within that one: tokio-console shows a task for each. The span is in the task's closure, so it is
//! closed when the closure is gone: before the handle resolves.

use std::any::type_name;
use std::future::Future;
use std::panic::Location;
use tracing::instrument::{Instrument, Instrumented};
use tracing::level_filters::LevelFilter;
use tracing::{Span, trace_span};

/// A closure that runs, or is dropped, in a span.
struct Carried<F> {
    span: Span,
    /// Taken when it runs.
    f: Option<F>,
}

impl<F> Carried<F> {
    fn call<T>(mut self) -> T
    where
        F: FnOnce() -> T,
    {
        let f = self.f.take().expect("heist: a task has run before");
        let _entered = self.span.enter();
        f()
    }
}

impl<F> Drop for Carried<F> {
    fn drop(&mut self) {
        if let Some(f) = self.f.take() {
            let _entered = self.span.enter();
            drop(f);
        }
    }
}

/// Returns a closure that runs `f` in the span of the current thread.
#[track_caller]
pub(super) fn carry<F, T>(name: Option<&str>, f: F) -> impl FnOnce() -> T + use<F, T>
where
    F: FnOnce() -> T,
{
    let span = of_task::<F>("task", name);
    let carried = Carried { span, f: Some(f) };
    move || carried.call()
}

/// Returns a future that polls `future` in the span of the current thread.
#[track_caller]
pub(super) fn carry_future<F: Future>(name: Option<&str>, future: F) -> Instrumented<F> {
    future.instrument(of_task::<F>("future", name))
}

/// The span of a new task: its own if a subscriber wants it, or else the current one.
#[track_caller]
fn of_task<F>(kind: &'static str, name: Option<&str>) -> Span {
    if LevelFilter::current() == LevelFilter::OFF {
        return Span::none();
    }
    let place = Location::caller();
    // The target, the name and the fields are those by which console-subscriber knows a task.
    let own = trace_span!(
        target: "tokio::task",
        "runtime.spawn",
        kind = %kind,
        task.name = %name.unwrap_or_default(),
        "fn" = %type_name::<F>(),
        size.bytes = size_of::<F>(),
        loc.file = place.file(),
        loc.line = place.line(),
        loc.col = place.column(),
    );
    if own.is_disabled() {
        Span::current()
    } else {
        own
    }
}
