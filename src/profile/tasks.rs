//! How the tasks of a scope are measured: each on a line of its own, which begins at the position of the spawn. The scope ends at the greatest position of
//! an end, as if each task were joined there.

use super::line::{Line, Position, Start};
use super::log::{Entry, Log, MOST};
use super::site::SiteRef;
use crate::sync::Ordering;
use crate::sync::hint::AtomicU64;
// From std in models too: a model has no profile.
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A scope that is measured.
pub(crate) struct OpenScope<'b> {
    /// Where a task begins whose spawner is on no line.
    start: Start<'b>,
    ends: Mutex<Ends>,
}

/// What was measured of the tasks that have ended.
#[derive(Default)]
struct Ends {
    work: u64,
    /// The greatest position of an end.
    last: Position,
    /// The logs by the numbers of the tasks.
    logs: Vec<(u32, Log)>,
    /// The number of their entries.
    entries: usize,
    /// The tasks whose logs found no room: their work by site, and the longest span.
    rest: Vec<(SiteRef, u64, u64)>,
}

/// A task that was spawned.
#[derive(Clone, Copy)]
pub(crate) struct Spawned<'b> {
    pub(crate) start: Start<'b>,
    /// The number by which the logs refer to it.
    number: u32,
}

/// The number of a task that was spawned by a thread on no line.
const UNKNOWN: u32 = u32::MAX;

/// The number of the next task.
static NEXT: AtomicU64 = AtomicU64::new(0);

impl<'b> Line<'b> {
    /// Begins a scope.
    pub(crate) fn open_scope(&self) -> OpenScope<'b> {
        let mut state = self.boundary();
        state.log.has_scopes = true;
        state.put(self.shared, Entry::ScopeOpen);
        let site = state.site;
        OpenScope {
            start: self.start(&state, site),
            ends: Mutex::default(),
        }
    }

    /// Ends the body of a scope.
    pub(crate) fn body_ends(&self) {
        self.boundary().put(self.shared, Entry::TaskEnd);
    }

    /// Ends a scope, whose tasks have ended.
    pub(crate) fn close_scope(&self, scope: &OpenScope<'_>) {
        let ends = std::mem::take(&mut *scope.ends());
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        state.work += ends.work;
        state.position = state.position.max(ends.last);
        let mut logs = ends.logs;
        // A task has a greater number than the one that has spawned it.
        logs.sort_unstable_by_key(|(number, _)| *number);
        for (number, log) in logs {
            state.log.push(Entry::Task(number));
            state.log.extend(log);
            state.log.push(Entry::TaskEnd);
        }
        for (site, work, span) in ends.rest {
            state.log.push(Entry::Task(UNKNOWN));
            state.log.push(Entry::Leaf { work, span, site });
            state.log.push(Entry::TaskEnd);
        }
        state.log.push(Entry::ScopeClose);
        (state.carried, state.begun) = (0, self.shared.now());
        state.cost = self.shared.costs.after;
    }
}

impl<'b> OpenScope<'b> {
    /// Begins a task, which the thread on this line spawns now.
    pub(crate) fn spawn(&self, line: Option<&Line<'_>>, site: SiteRef) -> Spawned<'b> {
        let mut start = Start { site, ..self.start };
        let is_ours = |line: &&Line<'_>| line.shared.id == start.shared.id;
        let Some(line) = line.filter(is_ours) else {
            let number = UNKNOWN;
            return Spawned { start, number };
        };
        let number = NEXT.fetch_add(1, Ordering::Relaxed) as u32 % UNKNOWN;
        let mut state = line.boundary();
        state.log.has_scopes = true;
        state.put(line.shared, Entry::Spawn(number));
        state.cost = line.shared.costs.after;
        (start.position, start.depth) = (state.position, state.depth);
        Spawned { start, number }
    }

    /// Ends a task.
    pub(crate) fn end(&self, task: &Spawned<'_>, line: Line<'_>) {
        let report = line.end();
        let mut ends = self.ends();
        let ends = &mut *ends;
        ends.work += report.work;
        ends.last = ends.last.max(report.position);
        let entries = report.log.entries.len() + 2;
        if task.number != UNKNOWN && ends.entries + entries < MOST {
            ends.entries += entries;
            ends.logs.push((task.number, report.log));
            return;
        }
        let site = task.start.site;
        let span = report.position.estimate - task.start.position.estimate;
        match ends.rest.iter_mut().find(|rest| rest.0 == site) {
            Some((_, work, longest)) => {
                *work += report.work;
                *longest = span.max(*longest);
            }
            None => ends.rest.push((site, report.work, span)),
        }
    }

    fn ends(&self) -> MutexGuard<'_, Ends> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
