//! The events of one thread as slices: what ran, waited or slept from when until when, and inside of what.
//!
//! The record of a thread is a ring that can begin anywhere. A slice whose beginning was lost begins where the record begins, and one that has
//! not ended ends at the snapshot. Slices always nest: an end closes what is inside, and an end of nothing is left out.

use crate::trace::model::{Event, EventKind, Outcome, Track, TrackRole, Wait, Work};

/// The site of a slice that has none, or whose beginning was lost.
pub(super) const NO_SITE: u32 = u32::MAX;

/// A span of time on one thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slice {
    pub(super) kind: SliceKind,
    pub(super) begin: u64,
    pub(super) end: u64,
    /// The number of slices that it is inside of.
    pub(super) level: u16,
    pub(super) site: u32,
    /// The task that runs or is waited for, or 0.
    pub(super) id: u64,
    /// The number of runs.
    pub(super) count: u32,
    pub(super) outcome: Outcome,
    /// The track from which it was stolen, and whether by force.
    pub(super) stolen: Option<(u32, bool)>,
    /// Whether it is inside of a wait, that is whether the thread helps.
    pub(super) helps: bool,
    /// Whether its beginning was lost.
    pub(super) headless: bool,
    /// Whether it had not ended at the snapshot.
    pub(super) open: bool,
    /// The time of the slices directly inside.
    pub(super) inner: u64,
}

impl Slice {
    /// The slice's time without that of the slices inside.
    pub(super) fn own(&self) -> u64 {
        (self.end - self.begin).saturating_sub(self.inner)
    }

    pub(super) fn length(&self) -> u64 {
        self.end - self.begin
    }

    pub(super) fn state(&self) -> State {
        match self.kind {
            SliceKind::Run(_) | SliceKind::Batch | SliceKind::Span if self.helps => State::Help,
            SliceKind::Run(_) | SliceKind::Batch | SliceKind::Span => State::Run,
            SliceKind::Wait(Wait::Idle) => State::Search,
            SliceKind::Wait(_) => State::Wait,
            SliceKind::Park => State::Parked,
        }
    }
}

/// What a thread does in a slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SliceKind {
    Run(Work),
    /// Short runs, one after the other.
    Batch,
    Wait(Wait),
    Park,
    Span,
}

/// What a thread does, as the page and the summary count it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// The thread runs the program's closures.
    Run,
    /// The thread runs closures while it waits for others.
    Help,
    /// The thread looks for work.
    Search,
    /// The thread waits and runs nothing.
    Wait,
    /// The thread sleeps.
    Parked,
}

/// What one thread did.
#[derive(Clone, Debug, Default)]
pub(super) struct Lane {
    /// By their beginnings; a slice comes before those inside.
    pub(super) slices: Vec<Slice>,
    /// Events that are points in time, by time.
    pub(super) instants: Vec<Event>,
    /// When the thread was in the pool.
    pub(super) presence: Vec<(u64, u64)>,
    /// The time at which the record of the thread begins.
    pub(super) from: u64,
}

/// Lays out the events of a thread.
pub(super) fn lay_out(track: &Track, taken: u64) -> Lane {
    let from = match track.events.first() {
        Some(first) if track.lost + track.older > 0 => first.time,
        _ => 0,
    };
    let mut builder = Builder {
        lane: Lane {
            from,
            ..Lane::default()
        },
        open: Vec::new(),
        siblings_end: vec![from],
        stolen: None,
        now: from,
        taken: taken.max(track.events.last().map_or(0, |last| last.time)),
    };
    for kind in headless(&track.events).into_iter().rev() {
        let at = builder.begin(kind, NO_SITE, 0);
        builder.lane.slices[at].headless = true;
    }
    for event in &track.events {
        builder.now = builder.now.max(event.time);
        builder.event(event);
    }
    builder.finish(track)
}

/// The slices whose beginnings were lost, inner ones first.
fn headless(events: &[Event]) -> Vec<SliceKind> {
    let mut open = Vec::new();
    let mut lost = Vec::new();
    for event in events {
        match event.kind {
            EventKind::RunBegin { what, .. } => open.push(SliceKind::Run(what)),
            EventKind::WaitBegin { on, .. } => open.push(SliceKind::Wait(on)),
            EventKind::Park => open.push(SliceKind::Park),
            EventKind::RunEnd { .. } => close(
                &mut open,
                &mut lost,
                |kind| matches!(kind, SliceKind::Run(_)),
                SliceKind::Run(Work::Run),
            ),
            EventKind::WaitEnd => close(
                &mut open,
                &mut lost,
                |kind| matches!(kind, SliceKind::Wait(_)),
                SliceKind::Wait(Wait::Latch),
            ),
            EventKind::Unpark => close(
                &mut open,
                &mut lost,
                |kind| kind == SliceKind::Park,
                SliceKind::Park,
            ),
            _ => (),
        }
    }
    lost
}

/// Closes the innermost open slice of a kind and what is inside of it. If none is open, it was `otherwise`, around all that was open.
fn close(
    open: &mut Vec<SliceKind>,
    lost: &mut Vec<SliceKind>,
    is_it: impl Fn(SliceKind) -> bool,
    otherwise: SliceKind,
) {
    match open.iter().rposition(|&kind| is_it(kind)) {
        Some(at) => open.truncate(at),
        None => {
            open.clear();
            lost.push(otherwise);
        }
    }
}

struct Builder {
    lane: Lane,
    /// The open slices, outer ones first.
    open: Vec<usize>,
    /// For each level from 0 to that inside of the innermost open slice, the end of the last slice there.
    siblings_end: Vec<u64>,
    /// The steal whose run begins next.
    stolen: Option<Event>,
    now: u64,
    taken: u64,
}

impl Builder {
    fn event(&mut self, event: &Event) {
        match event.kind {
            EventKind::RunBegin { what, id, site } => {
                let at = self.begin(SliceKind::Run(what), site, id);
                if let Some(EventKind::Steal { victim, forced, .. }) =
                    self.stolen.take().map(|event| event.kind)
                {
                    self.lane.slices[at].stolen = Some((victim, forced));
                }
            }
            EventKind::RunEnd { outcome } => {
                let run = self.end(|kind| matches!(kind, SliceKind::Run(_)));
                if let Some(run) = run {
                    self.lane.slices[run].outcome = outcome;
                }
            }
            EventKind::Batch { begin, count, site } => self.batch(begin, count, site),
            EventKind::WaitBegin { on, id } => {
                self.begin(SliceKind::Wait(on), NO_SITE, id);
            }
            EventKind::WaitEnd => {
                self.end(|kind| matches!(kind, SliceKind::Wait(_)));
            }
            EventKind::Park => {
                self.begin(SliceKind::Park, NO_SITE, 0);
            }
            EventKind::Unpark => {
                self.end(|kind| kind == SliceKind::Park);
            }
            EventKind::SpanBegin { site } => {
                self.begin(SliceKind::Span, site, 0);
            }
            EventKind::SpanEnd => {
                // A span that is around the innermost run belongs to another guard.
                let innermost = self.open.last().map(|&at| self.lane.slices[at].kind);
                if innermost == Some(SliceKind::Span) {
                    self.end(|kind| kind == SliceKind::Span);
                }
            }
            EventKind::ThreadBegin | EventKind::GuestEnter => self.enter(),
            EventKind::ThreadEnd | EventKind::GuestLeave => self.leave(),
            EventKind::Steal { .. } => {
                self.steal_without_run();
                self.stolen = Some(Event {
                    time: self.now,
                    kind: event.kind,
                });
            }
            _ => {
                let kind = event.kind;
                let time = self.now;
                self.lane.instants.push(Event { time, kind });
            }
        }
    }

    /// Keeps a steal whose run is not in the record as a point in time.
    fn steal_without_run(&mut self) {
        let steal = self.stolen.take();
        self.lane.instants.extend(steal);
    }

    fn begin(&mut self, kind: SliceKind, site: u32, id: u64) -> usize {
        let helps = self.open.last().is_some_and(|&at| {
            let outer = &self.lane.slices[at];
            outer.helps || outer.state() == State::Wait
        });
        let at = self.lane.slices.len();
        self.lane.slices.push(Slice {
            kind,
            begin: self.now,
            end: self.now,
            level: u16::try_from(self.open.len()).unwrap_or(u16::MAX),
            site,
            id,
            count: 1,
            outcome: Outcome::Returned,
            stolen: None,
            helps,
            headless: false,
            open: false,
            inner: 0,
        });
        self.open.push(at);
        self.siblings_end.push(self.now);
        at
    }

    /// Ends the innermost open slice of a kind and all inside of it.
    fn end(&mut self, is_it: impl Fn(SliceKind) -> bool) -> Option<usize> {
        let found = |&at: &usize| is_it(self.lane.slices[at].kind);
        let place = self.open.iter().rposition(found)?;
        while self.open.len() > place + 1 {
            self.end_innermost();
        }
        self.end_innermost()
    }

    fn end_innermost(&mut self) -> Option<usize> {
        let at = self.open.pop()?;
        self.siblings_end.pop();
        let slice = &mut self.lane.slices[at];
        slice.end = self.now;
        let length = slice.length();
        self.ended(length);
        Some(at)
    }

    /// Notes that a slice of this length has ended directly inside of the innermost open one.
    fn ended(&mut self, length: u64) {
        if let Some(&outer) = self.open.last() {
            self.lane.slices[outer].inner += length;
        }
        if let Some(end) = self.siblings_end.last_mut() {
            *end = self.now;
        }
    }

    fn batch(&mut self, begin: u64, count: u32, site: u32) {
        let at = self.begin(SliceKind::Batch, site, 0);
        self.open.pop();
        self.siblings_end.pop();
        let earliest = self.siblings_end.last().copied().unwrap_or(0);
        let slice = &mut self.lane.slices[at];
        slice.begin = begin.clamp(earliest.min(slice.end), slice.end);
        slice.count = count;
        let length = slice.length();
        self.ended(length);
    }

    fn enter(&mut self) {
        let here = matches!(self.lane.presence.last(), Some(&(_, u64::MAX)));
        if !here {
            self.lane.presence.push((self.now, u64::MAX));
        }
    }

    fn leave(&mut self) {
        while self.end_innermost().is_some() {}
        match self.lane.presence.last_mut() {
            Some(last) if last.1 == u64::MAX => last.1 = self.now,
            Some(_) => (),
            None => self.lane.presence.push((self.lane.from, self.now)),
        }
    }

    fn finish(mut self, track: &Track) -> Lane {
        self.steal_without_run();
        self.now = self.taken;
        while let Some(at) = self.end_innermost() {
            self.lane.slices[at].open = true;
        }
        // A guest without a slice has only submitted tasks or woken threads.
        let is_seen = match track.role {
            TrackRole::Guest => !self.lane.slices.is_empty(),
            TrackRole::Worker(_) | TrackRole::Spare => !track.events.is_empty(),
        };
        if self.lane.presence.is_empty() && is_seen {
            self.lane.presence.push((self.lane.from, self.taken));
        }
        if let Some(last) = self.lane.presence.last_mut() {
            last.1 = last.1.min(self.taken);
        }
        self.lane
    }
}

/// Calls `segment` for each span of time in which the innermost slice is the same, in order. It gets the open slices, outer ones first.
pub(super) fn segments(slices: &[Slice], mut segment: impl FnMut(&[Slice], u64, u64)) {
    let mut open: Vec<Slice> = Vec::new();
    let mut at = 0;
    for slice in slices {
        while let Some(innermost) = open.last().filter(|open| open.end <= slice.begin) {
            let end = innermost.end;
            if end > at {
                segment(&open, at, end);
                at = end;
            }
            open.pop();
        }
        if !open.is_empty() && slice.begin > at {
            segment(&open, at, slice.begin);
        }
        at = at.max(slice.begin);
        open.push(*slice);
    }
    while let Some(innermost) = open.last() {
        let end = innermost.end;
        if end > at {
            segment(&open, at, end);
            at = end;
        }
        open.pop();
    }
}
