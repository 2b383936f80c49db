//! A `join` that runs at full speed, as a part of one strand, and the forks in it that other threads take.

use super::expected::{Key, share};
use super::line::{Line, Position, Report, Start, State};
use super::log::Entry;
use super::site::{JoinSites, Part, SiteRef};
use crate::sync::hint::AtomicUsize;
use crate::sync::{Ordering, yield_thread};
// From std in models too: a model has no profile.
use std::sync::{Mutex, PoisonError};

/// A `join` that is not measured in detail. It ends when this is dropped.
pub(crate) struct Skipped<'a, 'b> {
    line: &'a Line<'b>,
    key: Key,
    outer: SiteRef,
    /// The work at the begin, and the lower bound of the position.
    work: u64,
    low: u64,
    pub(crate) orphans: Orphans<'b>,
}

impl<'a, 'b> Skipped<'a, 'b> {
    #[inline]
    pub(super) fn new(line: &'a Line<'b>, state: &mut State, sites: JoinSites, key: Key) -> Self {
        let site = sites.part(Part::Both);
        let outer = state.site;
        state.begin_strand(site, 0);
        let start = Start {
            shared: line.shared,
            site,
            position: Position::default(),
            depth: state.depth,
            is_full: false,
        };
        Skipped {
            line,
            key,
            outer,
            work: state.work,
            low: state.position.low,
            orphans: Orphans {
                start,
                running: AtomicUsize::new(0),
                reports: Mutex::new(Vec::new()),
            },
        }
    }

    /// Adds the forks that other threads have taken. Where they began is not known: they ran beside the rest, or after it.
    #[cold]
    fn with_orphans(&self, state: &mut State, time: u64, orphans: Vec<Report>) {
        let shared = self.line.shared;
        let site = state.site;
        let (mut low, mut estimate, mut high) = (0, time, time);
        let (work, span) = (time, time);
        state.log.push(Entry::Open);
        state.log.push(Entry::Leaf { work, span, site });
        state.work += time;
        for report in orphans {
            low = report.position.low.max(low);
            estimate = report.position.estimate.max(estimate);
            high += report.position.high;
            state.work += report.work;
            state.log.push(Entry::Next);
            state.log.extend(report.log);
        }
        state.log.push(Entry::Close);
        state.position = state.position.plus(0, estimate, high);
        state.position.low = self.low + low;
        let whole = state.work - self.work;
        self.key.skipped(shared.id, whole, shared.resolution);
        state.begun = shared.now();
    }
}

impl Drop for Skipped<'_, '_> {
    #[inline]
    fn drop(&mut self) {
        let shared = self.line.shared;
        let now = shared.now();
        let orphans = self.orphans.take();
        let mut state = self.line.state.borrow_mut();
        let state = &mut *state;
        let time = now.saturating_sub(state.begun) + state.carried;
        (state.carried, state.begun) = (0, now);
        if orphans.is_empty() {
            let whole = state.work + time - self.work;
            let span = self.key.skipped(shared.id, whole, shared.resolution);
            let span = if whole == time {
                span
            } else {
                share(time, span, whole.max(1))
            };
            let (work, site) = (time, state.site);
            state.work += work;
            state.position = state.position.plus(0, span, time);
            // Scopes in it were measured one after the other, which they need not have been.
            state.position.low = self.low;
            state.put(shared, Entry::Leaf { work, span, site });
        } else {
            self.with_orphans(state, time, orphans);
        }
        state.begin_strand(self.outer, shared.costs.after);
    }
}

/// The forks of an unmeasured `join` that other threads have taken.
pub(crate) struct Orphans<'b> {
    start: Start<'b>,
    /// How many run.
    running: AtomicUsize,
    /// What was measured of those that have ended.
    reports: Mutex<Vec<Report>>,
}

impl<'b> Orphans<'b> {
    /// Where such a fork begins. Its end must be reported.
    pub(crate) fn begin(&self) -> Start<'b> {
        self.running.fetch_add(1, Ordering::Relaxed);
        self.start
    }

    /// Ends a fork, unless its line was superseded by another one, which has measured it. This is the last access.
    pub(crate) fn end(&self, line: Line<'_>) {
        let is_superseded = line.state.borrow().is_superseded;
        let report = line.end();
        if !is_superseded {
            let mut reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
            reports.push(report);
        }
        // ORDERING: Release pairs with the Acquire in `take`.
        self.running.fetch_sub(1, Ordering::Release);
    }

    /// Returns what was measured, after all forks have ended.
    #[inline]
    fn take(&mut self) -> Vec<Report> {
        // ORDERING: Acquire pairs with the Release in `end`. A fork that was taken is counted before it runs, and the owner has waited for it.
        while self.running.load(Ordering::Acquire) > 0 {
            yield_thread();
        }
        let reports = self.reports.get_mut();
        std::mem::take(reports.unwrap_or_else(PoisonError::into_inner))
    }
}
