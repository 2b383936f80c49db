//! A recording of a pool: its settings, and the recorders of its threads within the budget of memory.

use super::event::{Entry, Name};
use super::names::Names;
use super::places::{Place, Places};
use super::recorder::{Recorder, Thread};
use super::ring::EVENT_SIZE;
use crate::clock::{Clock, Reading};
#[cfg(feature = "trace")]
use crate::sync::hint::AtomicBool;
use crate::sync::{Mutex, Ordering, hint::AtomicU64, lock};
use std::any::Any;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// How a pool is recorded. [`Trace::last`](crate::Trace::last) makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "settings record nothing until they are passed to `trace` or `start_trace`"]
pub struct TraceSettings {
    /// A snapshot has no older events than this.
    pub(crate) last: Duration,
    /// The bytes of all rings together.
    pub(crate) max_bytes: usize,
    /// Batches of short runs last at least as long.
    pub(crate) resolution: Duration,
}

/// The memory of a recording, unless something else is asked for.
const MAX_BYTES: usize = 8 << 20;

/// The resolution of a recording, unless something else is asked for.
const RESOLUTION: Duration = Duration::from_micros(1);

impl TraceSettings {
    pub(crate) fn new(last: Duration) -> Self {
        TraceSettings {
            last,
            max_bytes: MAX_BYTES,
            resolution: RESOLUTION,
        }
    }

    /// Sets how many bytes the events of all threads may take, 8 MiB by default. An event takes 16 bytes.
    ///
    /// The threads share them. A thread that has no room left overwrites its oldest events, which are counted as
    /// lost. If many threads outside the pool take part in it, the last ones may have room for none.
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Sets for how long the short tasks of scopes are collected before they are recorded together, as one event
    /// with their number. 1 microsecond by default.
    ///
    /// A task that takes longer is recorded by itself, unless it follows shorter ones at once. So is one in which
    /// something else happens that is recorded.
    pub fn resolution(mut self, time: Duration) -> Self {
        self.resolution = time;
        self
    }
}

/// The recording of a pool, if there is one. Recorders are freed with it, since threads that have found one do not say when they stop using it.
#[derive(Default)]
pub(crate) struct Recording {
    /// The recording is written to a file when the pool ends.
    #[cfg(feature = "trace")]
    is_for_file: AtomicBool,
    /// The number of the recording, or 0 if there is none. A hint to threads outside the pool.
    number: AtomicU64,
    session: Mutex<Session>,
}

#[derive(Default)]
struct Session {
    current: Option<Current>,
    /// The recorders of earlier recordings that are in use no more, for later ones: by the slot whose owner may still write to it.
    unused: Vec<(Option<usize>, Arc<Recorder>)>,
    /// How many recordings were started.
    started: u64,
    names: Arc<Names>,
    places: Arc<Places>,
}

struct Current {
    settings: TraceSettings,
    begun: Reading,
    at: SystemTime,
    /// The room of the ring of an expected thread, in events.
    share: usize,
    /// The room that is left for expected threads, and for all others.
    left: usize,
    left_for_others: usize,
    tracks: Vec<(Option<usize>, Arc<Recorder>)>,
    before: Option<Box<dyn Any + Send>>,
}

/// The least room for events of a ring that has any.
const LEAST: usize = 64;

/// What was recorded of one thread.
pub(crate) struct Recorded {
    /// The slot, or `None` for a thread that was outside of the pool.
    pub(crate) slot: Option<usize>,
    pub(crate) thread: Option<Thread>,
    /// The number of events that were written, and of those that were overwritten or had no room.
    pub(crate) written: u64,
    pub(crate) lost: u64,
    /// The events by time, in nanoseconds since the recording began.
    pub(crate) events: Vec<(u64, Entry)>,
}

/// A copy of a recording.
pub(crate) struct Snapshot<B> {
    pub(crate) settings: TraceSettings,
    pub(crate) at: SystemTime,
    /// The monotonic clock when the recording began, in nanoseconds.
    pub(crate) monotonic: u64,
    /// The time of the snapshot, in nanoseconds since the recording began.
    pub(crate) taken: u64,
    pub(crate) tracks: Vec<Recorded>,
    pub(crate) names: Vec<Arc<str>>,
    pub(crate) places: HashMap<Name, Option<Place>>,
    pub(crate) before: Option<B>,
    /// From ticks to nanoseconds, for the durations of batches.
    pub(crate) nanos_per_tick: f64,
}

impl Recording {
    /// Whether there is a recording.
    #[inline]
    pub(crate) fn is_active(&self) -> bool {
        self.number() != 0
    }

    /// A number that tells the recording from earlier ones, or 0 if there is none.
    pub(crate) fn number(&self) -> u64 {
        self.number.load(Ordering::Relaxed)
    }

    /// Begins a recording, in place of the current one if there is one. `threads` is how many threads are expected.
    pub(crate) fn start(
        &self,
        settings: TraceSettings,
        threads: usize,
        before: Option<Box<dyn Any + Send>>,
    ) {
        let mut session = lock(&self.session);
        session.stop();
        let events = settings.max_bytes / EVENT_SIZE;
        let share = power_of_two(events / (threads + 1));
        session.current = Some(Current {
            begun: Clock::get().reading(),
            at: SystemTime::now(),
            share,
            left: threads * share,
            left_for_others: events - threads * share,
            tracks: Vec::new(),
            before,
            settings,
        });
        session.started += 1;
        self.number.store(session.started, Ordering::Relaxed);
    }

    /// Declares that the recording is written to a file when the pool ends.
    #[cfg(feature = "trace")]
    pub(crate) fn set_for_file(&self) {
        self.is_for_file.store(true, Ordering::Relaxed);
    }

    /// Whether the recording is to be written to a file. True once.
    #[cfg(feature = "trace")]
    pub(crate) fn take_for_file(&self) -> bool {
        self.is_for_file.swap(false, Ordering::Relaxed)
    }

    /// Ends the recording. Slots must forget their recorders.
    pub(crate) fn stop(&self) {
        self.number.store(0, Ordering::Relaxed);
        lock(&self.session).stop();
    }

    /// Adds a recorder for a slot, or for a thread outside the pool. `None` if nothing is recorded.
    pub(crate) fn attach(
        &self,
        slot: Option<usize>,
        is_pool_thread: bool,
    ) -> Option<Arc<Recorder>> {
        let mut session = lock(&self.session);
        let session = &mut *session;
        let current = session.current.as_mut()?;
        let capacity = current.take_room(is_pool_thread);
        // A thread that records for one slot may still write to its earlier recorder. No thread outside the pool does if it is the only reference.
        let is_free = |(of, recorder): &mut (Option<usize>, Arc<Recorder>)| {
            *of == slot
                && recorder.ring.capacity() == capacity
                && recorder.is_pool_thread == is_pool_thread
                && (slot.is_some() || Arc::get_mut(recorder).is_some())
        };
        let found = session.unused.iter_mut().position(is_free);
        let recorder = match found {
            Some(found) => session.unused.swap_remove(found).1,
            None => {
                let names = Arc::clone(&session.names);
                let places = Arc::clone(&session.places);
                Arc::new(Recorder::new(capacity, names, places, is_pool_thread))
            }
        };
        let resolution = u64::try_from(current.settings.resolution.as_nanos());
        recorder.begin(Clock::get().ticks_of(resolution.unwrap_or(u64::MAX)));
        current.tracks.push((slot, Arc::clone(&recorder)));
        Some(recorder)
    }

    /// Returns a recorder of the current recording that a thread outside the pool has left, or adds one.
    pub(crate) fn attach_outside(&self) -> Option<Arc<Recorder>> {
        let left = {
            let mut session = lock(&self.session);
            let current = session.current.as_mut()?;
            let mut outside = current.tracks.iter_mut().filter(|(slot, _)| slot.is_none());
            outside.find_map(|(_, recorder)| {
                Arc::get_mut(recorder)?;
                Some(Arc::clone(recorder))
            })
        };
        left.or_else(|| self.attach(None, false))
    }

    /// Copies what was recorded. Makes no thread wait that records.
    pub(crate) fn snapshot<B: Clone + 'static>(&self) -> Option<Snapshot<B>> {
        let session = lock(&self.session);
        session.snapshot()
    }

    /// Copies what was recorded, unless another thread starts, stops or copies the recording at the moment.
    #[cfg(feature = "trace")]
    pub(crate) fn try_snapshot<B: Clone + 'static>(&self) -> Option<Snapshot<B>> {
        self.session.try_lock().ok()?.snapshot()
    }
}

impl Current {
    /// Takes the room of the next ring out of what is left. Threads that were not expected get at most half of what is left for such threads, so that something is left
    /// for the next one.
    fn take_room(&mut self, is_pool_thread: bool) -> usize {
        if is_pool_thread && self.left >= self.share {
            self.left -= self.share;
            return self.share;
        }
        let room = power_of_two(self.share.min(self.left_for_others / 2));
        self.left_for_others -= room;
        room
    }
}

/// The greatest power of two that is at most `events`, or 0 if that is too little for a ring.
fn power_of_two(events: usize) -> usize {
    match events {
        LEAST.. => 1 << events.ilog2(),
        _ => 0,
    }
}

impl Session {
    fn stop(&mut self) {
        if let Some(current) = self.current.take() {
            self.unused.extend(current.tracks);
        }
    }

    fn snapshot<B: Clone + 'static>(&self) -> Option<Snapshot<B>> {
        let current = self.current.as_ref()?;
        let clock = Clock::get();
        let copies: Vec<_> = current
            .tracks
            .iter()
            .map(|(slot, recorder)| (*slot, recorder.thread(), recorder.copy()))
            .collect();
        // After the copies, so that no event is later.
        let end = clock.reading();
        let nanos = clock.scale(end);
        let begun = nanos(current.begun.ticks);
        let since = |ticks| nanos(ticks).saturating_sub(begun);
        let tracks = copies.into_iter().map(|(slot, thread, copied)| {
            // SAFETY: the ring's writer has made the words, which the reader has found whole.
            let unpack = |words| unsafe { Entry::unpack(words) };
            let events = copied.events.into_iter().map(unpack);
            Recorded {
                slot,
                thread,
                written: copied.end,
                lost: copied.first,
                events: events.map(|(ticks, entry)| (since(ticks), entry)).collect(),
            }
        });
        let passed = (end.ticks.max(1), end.nanos.saturating_sub(nanos(0)).max(1));
        Some(Snapshot {
            settings: current.settings.clone(),
            at: current.at,
            monotonic: begun,
            taken: since(end.ticks),
            tracks: tracks.collect(),
            names: self.names.all(),
            places: self.places.all(),
            before: current
                .before
                .as_ref()
                .and_then(|before| before.downcast_ref::<B>().cloned()),
            nanos_per_tick: passed.1 as f64 / passed.0 as f64,
        })
    }
}
