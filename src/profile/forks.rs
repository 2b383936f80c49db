//! How a `join` is measured.

use super::expected::{Decision, Key};
use super::line::{Line, Position, Report, Start, State};
use super::log::{Entry, Opened};
use super::site::{JoinSites, Part, SiteRef};
use super::skipped::Skipped;
use std::cell::{Cell, RefMut};
use std::mem::ManuallyDrop;

/// How a `join` runs.
pub(crate) enum Way<'a, 'b> {
    /// The closures are measured.
    Measured(Fork<'a, 'b>),
    /// The `join` runs at full speed.
    Skipped(Skipped<'a, 'b>),
}

impl<'b> Line<'b> {
    /// Begins a `join`.
    #[inline]
    pub(crate) fn fork<'a>(&'a self, sites: JoinSites) -> Way<'a, 'b> {
        let shared = self.shared;
        let mut state = self.boundary();
        let mut is_sampled = false;
        let mut key = None;
        if shared.resolution > 0 && !state.is_full {
            let size = state.hint.take().unwrap_or(state.depth);
            let learnt = Key::new(sites.part(Part::Both).hash(), size);
            key = Some(learnt);
            match learnt.decide(shared.id, shared.resolution) {
                Decision::Measure => {}
                Decision::MeasureInFull => is_sampled = true,
                Decision::Skip => {
                    return Way::Skipped(Skipped::new(self, &mut state, sites, learnt));
                }
            }
        }
        if is_sampled {
            (state.is_full, state.log.is_muted) = (true, true);
        }
        let is_full = state.log.is_full();
        let opened = state.log.open();
        if is_full {
            state.begun = shared.now();
        }
        let fork = Fork {
            line: self,
            sites,
            key,
            outer: state.site,
            begin: state.position,
            work: state.work,
            opened,
            first_end: Cell::new(None),
            is_sampled,
        };
        state.depth += 1;
        state.begin_strand(sites.part(Part::First), shared.costs.first);
        Way::Measured(fork)
    }
}

/// A `join` whose closures are measured. If it is dropped before [`end`](Self::end), the `join` has panicked.
pub(crate) struct Fork<'a, 'b> {
    line: &'a Line<'b>,
    sites: JoinSites,
    key: Option<Key>,
    /// The site of the code around.
    outer: SiteRef,
    /// The position and the work at the fork.
    begin: Position,
    work: u64,
    opened: Opened,
    /// The position at the end of the first closure.
    first_end: Cell<Option<Position>>,
    /// Whether all joins within are measured because of this one.
    is_sampled: bool,
}

impl<'b> Fork<'_, 'b> {
    /// Where the second closure begins, if another thread runs it.
    #[inline]
    pub(crate) fn start(&self) -> Start<'b> {
        let site = self.sites.part(Part::Second);
        self.line.start(&self.line.state.borrow(), site)
    }

    /// Ends the first closure and begins the second one.
    #[inline]
    pub(crate) fn first_ends(&self) {
        let shared = self.line.shared;
        let mut state = self.line.boundary();
        self.first_end.set(Some(state.position));
        state.position = self.begin;
        state.put(shared, Entry::Next);
        state.begin_strand(self.sites.part(Part::Second), shared.costs.second);
    }

    /// Ends the `join`. If another thread has run the second closure, its line is given.
    #[inline]
    pub(crate) fn end(self, second: Option<Box<Report>>) {
        ManuallyDrop::new(self).finish(second);
    }

    #[inline]
    fn finish(&self, second: Option<Box<Report>>) {
        let shared = self.line.shared;
        let mut state = match second {
            None => self.line.boundary(),
            Some(report) => self.take(*report),
        };
        let first = self.first_end.get().unwrap_or_default();
        state.position = state.position.max(first);
        let work = state.work - self.work;
        let is_full = state.log.is_full();
        let span = state.position.estimate - self.begin.estimate;
        let site = self.sites.part(Part::Both);
        state.log.close(self.opened, work, span, site);
        if is_full {
            state.begun = shared.now();
        }
        state.depth -= 1;
        if self.is_sampled {
            (state.is_full, state.log.is_muted) = (false, false);
            state.put(shared, Entry::Leaf { work, span, site });
        }
        if let Some(key) = self.key {
            key.measured(shared.id, shared.resolution, work, span);
        }
        state.begin_strand(self.outer, shared.costs.after);
    }

    /// Adds the line of the second closure in place of the present strand, which has only waited.
    #[cold]
    fn take(&self, report: Report) -> RefMut<'_, State> {
        let mut state = self.line.state.borrow_mut();
        state.work += report.work;
        state.position = report.position;
        state.log.extend(report.log);
        (state.carried, state.begun) = (0, self.line.shared.now());
        state
    }
}

impl Drop for Fork<'_, '_> {
    fn drop(&mut self) {
        if self.first_end.get().is_none() {
            self.first_ends();
        }
        self.finish(None);
    }
}
