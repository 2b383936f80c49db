//! What a record says about tasks.

use super::task::{Ran, TaskRef};
use crate::pool::Registry;
use crate::record::Name;
use crate::record::{Entry, Named, Outcome, Place, Recorder, SiteInfo, SiteWord, Work};
use std::panic::Location;
use std::sync::Arc;

impl Ran {
    /// The outcome of the run.
    pub(super) fn outcome(&self) -> Outcome {
        match self {
            Ran::Completed => Outcome::Returned,
            Ran::Panicked => Outcome::Panicked,
            Ran::Late(_) => Outcome::Cancelled,
            Ran::Pending => Outcome::Suspended,
        }
    }
}

impl TaskRef {
    /// The number of the task in a record.
    pub(super) fn record_id(&self) -> u32 {
        self.id.0.get() as u32
    }

    /// The name that the user gave to the task, or else its site.
    fn record_name(&self, recorder: &Recorder) -> Name {
        let site = SiteWord::of(self.ops.site);
        match self.extra().and_then(|extra| extra.name.as_ref()) {
            None => Name::Site(site),
            name => recorder.name_of(name, site),
        }
    }

    /// Records that the current thread begins to run the task.
    #[cold]
    #[inline(never)]
    pub(super) fn record_begin(&self, recorder: &Recorder) {
        let what = if self.state.is_future() {
            Work::Poll
        } else {
            Work::Task
        };
        recorder.run_begins(what, self.id.0.get(), self.record_name(recorder));
    }

    /// Records that the current thread queues the task, if the pool is recorded.
    #[inline]
    pub(super) fn record_made_if_recorded(&self, registry: &Registry) {
        if registry.recording.is_active() {
            self.record_made(registry);
        }
    }

    #[cold]
    #[inline(never)]
    fn record_made(&self, registry: &Registry) {
        registry.with_recorder(|recorder| {
            recorder.put(Entry::Made {
                id: self.record_id(),
                name: self.record_name(recorder),
            });
        });
    }
}

/// Notes where closures of the type `F` are submitted, if the pool is recorded: at the call of the program, if the caller has the attribute `track_caller`. The check comes
/// before the task is made, so that it keeps no register busy.
#[inline]
#[track_caller]
pub(super) fn note_place<F>(registry: &Registry, name: Option<&Arc<str>>, _: &F) {
    if registry.recording.is_active() {
        note(registry, Named::<F>::TASK, name, Location::caller());
    }
}

/// Notes where futures of the type `F` are submitted, as [`note_place`] does.
#[inline]
#[track_caller]
pub(super) fn note_place_of_future<F>(registry: &Registry, name: Option<&Arc<str>>, _: &F) {
    if registry.recording.is_active() {
        note(registry, Named::<F>::FUTURE, name, Location::caller());
    }
}

#[cold]
#[inline(never)]
fn note(registry: &Registry, site: &'static SiteInfo, name: Option<&Arc<str>>, place: Place) {
    registry.with_recorder(|recorder| {
        recorder.note_place(recorder.name_of(name, SiteWord::of(site)), place);
    });
}
