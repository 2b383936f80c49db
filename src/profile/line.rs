//! How a thread measures what it runs: a *line* is the sequence of strands from the begin of a profiled closure, of a stolen fork or of a scope's task to its
//! end, on one thread. A *strand* is what runs between two boundaries: the begin or the end of a closure of a `join`, a spawn, the end of a scope, a wait.
//!
//! Each line keeps its *position*: the length of the longest chain of strands from the begin of the profile to here. That is the time at which this moment would
//! come with an unlimited number of processors. The two closures of a `join` begin at the position of the fork, and the `join` ends at the greater one of
//! their ends. So the position at the end of a profile is its span, and the work is the sum of all strands, on however many threads they ran. While a
//! thread waits, it is on no line, and what it runs meanwhile is on lines of its own.
//!
//! A `join` that is expected to be short runs at full speed as a part of one strand ([`expected`](super::expected)). Its span is between nothing and its
//! time, and hence a position has three values.

use super::log::{Entry, Log};
use super::site::SiteRef;
use crate::clock::now_ns;
use crate::sync::Ordering;
use crate::sync::hint::AtomicU64;
use std::cell::{RefCell, RefMut};

/// The length of the longest chain of strands up to a moment, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Position {
    /// Counts the unmeasured joins as nothing.
    pub(super) low: u64,
    pub(super) estimate: u64,
    /// Counts the unmeasured joins as if they were serial.
    pub(super) high: u64,
}

impl Position {
    pub(super) fn plus(self, low: u64, estimate: u64, high: u64) -> Self {
        Position {
            low: self.low + low,
            estimate: self.estimate + estimate,
            high: self.high + high,
        }
    }

    pub(super) fn max(self, other: Self) -> Self {
        Position {
            low: self.low.max(other.low),
            estimate: self.estimate.max(other.estimate),
            high: self.high.max(other.high),
        }
    }
}

/// What measuring adds to a strand, in nanoseconds, by the boundary at which the strand begins.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Costs {
    /// The begin of a first closure.
    pub(super) first: u64,
    /// The begin of a second closure.
    pub(super) second: u64,
    /// The end of a `join`.
    pub(super) after: u64,
}

/// The least work of a `join` that is shown by itself, in nanoseconds. It is about the time of a steal.
const BOUND: u64 = 1_000;

/// What the lines of a profile share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// The number of the profile, by which threads recognise what they have learnt.
    pub(super) id: u64,
    /// A clock of the caller, in nanoseconds.
    pub(super) clock: Option<fn() -> u64>,
    /// A join that is expected to take less is not measured, in nanoseconds. 0: all are.
    pub(super) resolution: u64,
    pub(super) costs: Costs,
    /// Joins with less work are one entry of the log.
    bound: u64,
}

impl Shared {
    pub(super) fn new(clock: Option<fn() -> u64>, resolution: u64) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Shared {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            clock,
            resolution,
            costs: Costs::default(),
            bound: if clock.is_none() { BOUND } else { 0 },
        }
    }

    /// Whether the times of two profiles can be added: both measure time, or both by a clock of the user's. A function can have several addresses, so two of the
    /// user's clocks cannot be told apart.
    pub(super) fn has_clock_of(&self, other: &Shared) -> bool {
        self.clock.is_some() == other.clock.is_some()
    }

    #[inline(always)]
    pub(super) fn now(&self) -> u64 {
        match self.clock {
            None => now_ns(),
            Some(clock) => clock(),
        }
    }
}

/// A line, on the stack of its thread.
#[derive(Debug)]
pub(crate) struct Line<'a> {
    pub(super) shared: &'a Shared,
    pub(super) state: RefCell<State>,
}

/// The state of a line.
#[derive(Debug)]
pub(super) struct State {
    /// When the present strand began, or went on after a pause.
    pub(super) begun: u64,
    /// The time of the present strand before the last pause.
    pub(super) carried: u64,
    /// What measuring has added to the present strand.
    pub(super) cost: u64,
    pub(super) site: SiteRef,
    /// The number of joins around.
    pub(super) depth: u32,
    /// The size of the next join, if the code that makes it knows that.
    pub(super) hint: Option<u32>,
    /// Whether all joins are measured.
    pub(super) is_full: bool,
    /// Whether another line measures what this one was made for.
    pub(super) is_superseded: bool,
    pub(super) work: u64,
    pub(super) position: Position,
    pub(super) log: Log,
}

impl State {
    /// Adds an entry to the log. The time in which the log grows does not count.
    #[inline]
    pub(super) fn put(&mut self, shared: &Shared, entry: Entry) {
        let is_full = self.log.is_full();
        self.log.push(entry);
        if is_full {
            self.begun = shared.now();
        }
    }

    /// Ends the present strand, and begins the next one of the same site.
    #[inline]
    fn end_strand(&mut self, shared: &Shared, now: u64) {
        let time = now.saturating_sub(self.begun) + self.carried;
        let time = time.saturating_sub(self.cost);
        self.carried = 0;
        self.begun = now;
        if time > 0 {
            self.work += time;
            self.position = self.position.plus(time, time, time);
            let site = self.site;
            self.put(shared, Entry::Strand { time, site });
        }
    }

    #[inline]
    pub(super) fn begin_strand(&mut self, site: SiteRef, cost: u64) {
        self.site = site;
        self.cost = cost;
    }
}

/// What a line begins with: where it comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start<'a> {
    pub(super) shared: &'a Shared,
    pub(super) site: SiteRef,
    pub(super) position: Position,
    pub(super) depth: u32,
    pub(super) is_full: bool,
}

/// What a line has measured.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    pub(super) work: u64,
    pub(super) position: Position,
    pub(super) log: Log,
}

impl<'a> Start<'a> {
    pub(super) fn root(shared: &'a Shared, site: SiteRef) -> Self {
        Start {
            shared,
            site,
            position: Position::default(),
            depth: 0,
            is_full: false,
        }
    }
}

impl<'b> Line<'b> {
    /// A line whose first strand begins now.
    pub(crate) fn new(start: Start<'b>) -> Self {
        let shared = start.shared;
        Line {
            shared,
            state: RefCell::new(State {
                carried: 0,
                cost: 0,
                site: start.site,
                depth: start.depth,
                hint: None,
                is_full: start.is_full,
                is_superseded: false,
                work: 0,
                position: start.position,
                log: Log::new(shared.bound),
                begun: shared.now(),
            }),
        }
    }

    /// Called when a line begins that measures what this one was made for.
    pub(crate) fn set_superseded(&self) {
        self.state.borrow_mut().is_superseded = true;
    }

    /// Ends the line.
    pub(crate) fn end(self) -> Report {
        let now = self.shared.now();
        let mut state = self.state.into_inner();
        state.end_strand(self.shared, now);
        Report {
            work: state.work,
            position: state.position,
            log: state.log,
        }
    }

    /// Ends the present strand, and begins the next one of the same site.
    #[inline]
    pub(super) fn boundary(&self) -> RefMut<'_, State> {
        let now = self.shared.now();
        let mut state = self.state.borrow_mut();
        state.end_strand(self.shared, now);
        state
    }

    /// Stops the clock of the present strand.
    pub(crate) fn pause(&self) {
        let now = self.shared.now();
        let mut state = self.state.borrow_mut();
        let time = now.saturating_sub(state.begun);
        state.carried += time;
        state.begun = now;
    }

    /// Lets the clock of the present strand go on.
    pub(crate) fn resume(&self) {
        let now = self.shared.now();
        self.state.borrow_mut().begun = now;
    }

    /// Ends the present strand and begins one with another site. Returns the previous site.
    pub(crate) fn change_site(&self, site: SiteRef) -> SiteRef {
        let mut state = self.boundary();
        let cost = self.shared.costs.after;
        let before = state.site;
        state.begin_strand(site, cost);
        before
    }

    /// Adds what another profile has measured on this thread, during a pause that has just ended.
    pub(super) fn include(&self, report: Report) {
        let mut state = self.boundary();
        let position = report.position;
        state.work += report.work;
        state.position = state
            .position
            .plus(position.low, position.estimate, position.high);
        state.log.extend(report.log);
        state.begun = self.shared.now();
    }

    /// Tells how large the next `join` is, in a unit of its own: joins of one place and size are expected to take the same time.
    pub(crate) fn hint(&self, size: u32) {
        self.state.borrow_mut().hint = Some(size);
    }

    /// Where something begins that is made now and runs on another line.
    pub(super) fn start(&self, state: &State, site: SiteRef) -> Start<'b> {
        Start {
            shared: self.shared,
            site,
            position: state.position,
            depth: state.depth,
            is_full: state.is_full,
        }
    }
}
