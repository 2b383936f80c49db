//! Recording what a thread does that need not own a slot of the pool.

use super::context;
use super::registry::Registry;
use crate::record::{Entry, Recorder};
use std::cell::RefCell;
use std::sync::Arc;

// From std in models too: models record nothing.
std::thread_local! {
    /// The recorder that this thread has used last outside of a pool, with the numbers of the pool and of its recording.
    static OUTSIDE: RefCell<Option<(u64, u64, Arc<Recorder>)>> = const { RefCell::new(None) };
}

impl Registry {
    /// Calls `f` with the recorder of the current thread: that of its slot in the pool, or, if the pool is recorded, one for a thread outside.
    #[inline]
    pub(crate) fn with_recorder(&self, f: impl FnOnce(&Recorder)) {
        let recorder = match context::member_of(self) {
            Some(member) => member.slot.recorder(),
            None => None,
        };
        match recorder {
            Some(recorder) if !context::is_gone() => f(recorder),
            _ if self.recording.is_active() => self.with_outside_recorder(f),
            _ => {}
        }
    }

    /// Records an event of the current thread.
    pub(crate) fn record(&self, entry: Entry) {
        self.with_recorder(|recorder| recorder.put(entry));
    }

    #[cold]
    #[inline(never)]
    fn with_outside_recorder(&self, f: impl FnOnce(&Recorder)) {
        let (pool, recording) = (self.id, self.recording.number());
        // A thread that ends may have dropped its recorder. What it does afterwards is not recorded.
        let _ = OUTSIDE.try_with(|outside| {
            // What `f` calls records nothing.
            let Ok(mut outside) = outside.try_borrow_mut() else {
                return;
            };
            let known = outside.take_if(|own| (own.0, own.1) != (pool, recording));
            drop(known);
            if outside.is_none() {
                let recorder = self.recording.attach_outside();
                *outside = recorder.map(|recorder| (pool, recording, recorder));
            }
            if let Some((_, _, recorder)) = &*outside {
                f(recorder);
            }
        });
    }
}
