//! What the record of a trace amounts to: times by state, call sites, histograms, and what deserves a warning.

use super::histogram::Histogram;
use super::slices::{Lane, NO_SITE, Slice, SliceKind, State, lay_out, segments};
use crate::trace::model::{EventKind, Outcome, Trace, TrackRole, Wait, Work};
use std::collections::HashMap;

/// The states in the order of `Times`.
pub(super) const STATES: [State; 5] = [
    State::Run,
    State::Help,
    State::Search,
    State::Wait,
    State::Parked,
];

/// Nanoseconds by state.
pub(super) type Times = [u64; 5];

/// A run that is shorter is not worth a task, in nanoseconds: about ten times what a submitted task costs.
pub(super) const SHORT: u64 = 1_000;

/// What the record amounts to.
#[derive(Debug, Default)]
pub(super) struct Analysis {
    /// An entry for each track.
    pub(super) tracks: Vec<TrackTotals>,
    /// An entry for each site, and a last one for what has none.
    pub(super) rows: Vec<Row>,
    /// From when tasks were made until they began.
    pub(super) waits: Histogram,
    /// The lengths of runs.
    pub(super) runs: Histogram,
    /// The runs below `SHORT`.
    pub(super) short: u64,
    /// The time in which exactly one thread ran something.
    pub(super) serial: u64,
    /// The longest such stretch.
    pub(super) stretch: (u64, u64),
    /// What mostly ran in it.
    pub(super) stretch_site: u32,
    /// The mark or span before it.
    pub(super) stretch_after: u32,
    /// The time in which more threads ran something than the pool has workers.
    pub(super) excess: u64,
    /// The longest wait of a worker that helped nobody.
    pub(super) blocked: Option<Blocked>,
    /// The time in which the pool's queue grew and grew, its length before and after.
    pub(super) growth: Option<(u64, u32, u32)>,
    /// The time from which all tracks are in the record.
    pub(super) complete_from: u64,
}

/// What one thread did.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TrackTotals {
    pub(super) times: Times,
    pub(super) runs: u64,
    pub(super) steals: u64,
    pub(super) parks: u64,
}

/// What the runs of one site did.
#[derive(Clone, Debug, Default)]
pub(super) struct Row {
    pub(super) lengths: Histogram,
    /// The time of its runs; of runs inside each other, that of the outer one.
    pub(super) total: u64,
    /// The time of its runs without what ran, waited or slept inside.
    pub(super) own: u64,
    pub(super) stolen: u64,
    pub(super) panicked: u64,
    pub(super) cancelled: u64,
}

/// A worker that waited and could not help.
#[derive(Clone, Copy, Debug)]
pub(super) struct Blocked {
    pub(super) track: usize,
    pub(super) on: Wait,
    /// Where it waited.
    pub(super) site: u32,
    pub(super) time: u64,
}

/// Where and when tasks were made, by their numbers.
struct Made(Vec<(u64, u64, u32)>);

impl Made {
    fn of(trace: &Trace) -> Self {
        let mut made = Vec::new();
        for event in trace.tracks.iter().flat_map(|track| &track.events) {
            if let EventKind::Made { id, site } = event.kind {
                made.push((id, event.time, site));
            }
        }
        made.sort_unstable();
        Made(made)
    }

    fn find(&self, id: u64) -> Option<usize> {
        if id == 0 {
            return None;
        }
        self.0.binary_search_by_key(&id, |made| made.0).ok()
    }
}

/// The state of the pass over all tracks.
struct Pass<'a> {
    trace: &'a Trace,
    made: Made,
    /// For each of `made` when its task first began, or the largest number.
    begun: Vec<u64>,
    /// The times at which a thread begins or ends to run: `time << 1 | begins`.
    edges: Vec<u64>,
    blocked: HashMap<(usize, Wait, u32), u64>,
    /// For each site, how many of its runs are open on the current track.
    open: Vec<u32>,
    found: Analysis,
}

impl Analysis {
    pub(super) fn of(trace: &Trace) -> Self {
        let rows = trace.sites.len() + 1;
        let made = Made::of(trace);
        let mut pass = Pass {
            trace,
            begun: vec![u64::MAX; made.0.len()],
            made,
            edges: Vec::new(),
            blocked: HashMap::new(),
            open: vec![0; rows],
            found: Analysis {
                rows: vec![Row::default(); rows],
                stretch_site: NO_SITE,
                stretch_after: NO_SITE,
                ..Analysis::default()
            },
        };
        for (index, track) in trace.tracks.iter().enumerate() {
            let lane = lay_out(track, trace.taken);
            if track.lost > 0 {
                pass.found.complete_from = pass.found.complete_from.max(lane.from);
            }
            pass.lane(index, &lane);
        }
        pass.waits();
        pass.concurrency();
        pass.most_blocked();
        let mut found = pass.found;
        found.growth = growth(trace);
        found.explain_stretch(trace);
        found
    }

    /// Nanoseconds by state of the tracks that `which` chooses.
    pub(super) fn times(&self, trace: &Trace, which: impl Fn(TrackRole) -> bool) -> Times {
        let mut sum = Times::default();
        for (track, totals) in trace.tracks.iter().zip(&self.tracks) {
            if which(track.role) {
                for (sum, time) in sum.iter_mut().zip(totals.times) {
                    *sum += time;
                }
            }
        }
        sum
    }

    /// Finds what ran in the longest serial stretch, and what the user marked before it.
    fn explain_stretch(&mut self, trace: &Trace) {
        let (begin, end) = self.stretch;
        if begin == end {
            return;
        }
        let mut by_site: HashMap<u32, u64> = HashMap::new();
        let mut last = None;
        for track in &trace.tracks {
            for event in &track.events {
                if let EventKind::Mark { site } | EventKind::SpanBegin { site } = event.kind
                    && event.time <= begin
                {
                    last = last.max(Some((event.time, site)));
                }
            }
            let lane = lay_out(track, trace.taken);
            segments(&lane.slices, |open, from, to| {
                let overlap = to.min(end).saturating_sub(from.max(begin));
                if let Some(inner) = open.last().filter(|inner| overlap > 0 && runs(inner)) {
                    *by_site.entry(inner.site).or_default() += overlap;
                }
            });
        }
        let most = by_site.into_iter().max_by_key(|&(site, time)| (time, site));
        self.stretch_site = most.map_or(NO_SITE, |(site, _)| site);
        self.stretch_after = last.map_or(NO_SITE, |(_, site)| site);
    }
}

/// Whether the slice is time of the program's closures.
fn runs(slice: &Slice) -> bool {
    matches!(slice.state(), State::Run | State::Help)
}

impl Pass<'_> {
    fn lane(&mut self, index: usize, lane: &Lane) {
        let mut totals = TrackTotals::default();
        let mut enclosing: Vec<(u64, usize)> = Vec::new();
        for slice in &lane.slices {
            while let Some((_, row)) = enclosing.pop_if(|(end, _)| *end <= slice.begin) {
                self.open[row] -= 1;
            }
            match slice.kind {
                SliceKind::Run(_) | SliceKind::Batch | SliceKind::Span => {
                    let row = self.slice(slice);
                    enclosing.push((slice.end, row));
                    self.open[row] += 1;
                    if slice.kind != SliceKind::Span {
                        totals.runs += u64::from(slice.count);
                    }
                }
                SliceKind::Park => totals.parks += u64::from(!slice.headless),
                SliceKind::Wait(_) => (),
            }
            totals.steals += u64::from(slice.stolen.is_some());
        }
        for (_, row) in enclosing {
            self.open[row] -= 1;
        }
        for event in &lane.instants {
            match event.kind {
                EventKind::Steal { .. } => totals.steals += 1,
                EventKind::Cancelled { id } => {
                    let site = self.made.find(id).map(|at| self.made.0[at].2);
                    let row = self.row(site.unwrap_or(NO_SITE));
                    self.found.rows[row].cancelled += 1;
                }
                _ => (),
            }
        }
        self.times(index, lane, &mut totals.times);
        self.found.tracks.push(totals);
    }

    fn row(&self, site: u32) -> usize {
        (site as usize).min(self.trace.sites.len())
    }

    /// Counts a run, and returns the row that it belongs to.
    fn slice(&mut self, slice: &Slice) -> usize {
        let index = self.row(slice.site);
        let row = &mut self.found.rows[index];
        row.own += slice.own();
        if self.open[index] == 0 {
            row.total += slice.length();
        }
        row.stolen += u64::from(slice.stolen.is_some());
        row.panicked += u64::from(slice.outcome == Outcome::Panicked);
        row.cancelled += u64::from(slice.outcome == Outcome::Cancelled);
        let count = u64::from(slice.count.max(1));
        let length = slice.length() / count;
        row.lengths.add(length, count);
        if slice.kind != SliceKind::Span && !slice.headless && !slice.open {
            self.found.runs.add(length, count);
            self.found.short += if length < SHORT { count } else { 0 };
        }
        if let (SliceKind::Run(Work::Task | Work::Poll | Work::ScopeTask), Some(task)) =
            (slice.kind, self.made.find(slice.id))
        {
            self.begun[task] = slice.begin.min(self.begun[task]);
        }
        index
    }

    /// Adds the times by state, and notes when the thread runs and when it is blocked.
    fn times(&mut self, index: usize, lane: &Lane, times: &mut Times) {
        let is_guest = self.trace.tracks[index].role == TrackRole::Guest;
        let mut covered = 0;
        let mut running_until = None;
        segments(&lane.slices, |open, from, to| {
            let Some(inner) = open.last() else { return };
            let state = inner.state();
            times[state as usize] += to - from;
            covered += to - from;
            if runs(inner) {
                if running_until == Some(from) {
                    self.edges.pop();
                } else {
                    self.edges.push(from << 1 | 1);
                }
                self.edges.push(to << 1);
                running_until = Some(to);
            }
            let wait = open.iter().rev().find_map(|slice| match slice.kind {
                SliceKind::Wait(on) => Some(on),
                _ => None,
            });
            if let (State::Wait | State::Parked, Some(on), false) = (state, wait, is_guest) {
                let site = open.iter().rev().find(|slice| slice.site != NO_SITE);
                let site = site.map_or(NO_SITE, |slice| slice.site);
                *self.blocked.entry((index, on, site)).or_default() += to - from;
            }
        });
        let present: u64 = lane.presence.iter().map(|(from, to)| to - from).sum();
        // A worker that neither runs, waits nor sleeps looks for work. A guest runs the closure that it came with.
        let state = if is_guest { State::Run } else { State::Search };
        times[state as usize] += present.saturating_sub(covered);
    }

    fn waits(&mut self) {
        for (made, &begun) in self.made.0.iter().zip(&self.begun) {
            if begun < u64::MAX {
                self.found.waits.add(begun.saturating_sub(made.1), 1);
            }
        }
    }

    /// Finds how long one thread ran alone, and how long more ran than the pool has workers.
    fn concurrency(&mut self) {
        self.edges.sort_unstable();
        let mut running = 0_usize;
        let mut before = 0;
        let mut stretch = (0, 0);
        for &edge in &self.edges {
            let time = edge >> 1;
            let length = time - before;
            if running == 1 {
                self.found.serial += length;
                // A stretch goes on over interruptions that are short beside it.
                if before - stretch.1 > (stretch.1 - stretch.0) / 50 {
                    stretch.0 = before;
                }
                stretch.1 = time;
                let longest = self.found.stretch;
                if stretch.1 - stretch.0 > longest.1 - longest.0 {
                    self.found.stretch = stretch;
                }
            } else if running > self.trace.num_threads {
                self.found.excess += length;
            }
            running = if edge & 1 == 1 {
                running + 1
            } else {
                running - 1
            };
            before = time;
        }
        self.edges = Vec::new();
    }

    fn most_blocked(&mut self) {
        let cannot_help = |on| matches!(on, Wait::Handle | Wait::Latch | Wait::Blocking);
        let blocked = self
            .blocked
            .iter()
            .filter(|((_, on, _), _)| cannot_help(*on));
        let most = blocked.max_by_key(|&(&(track, _, site), &time)| (time, track, site));
        self.found.blocked = most.map(|(&(track, on, site), &time)| Blocked {
            track,
            on,
            site,
            time,
        });
    }
}

/// The longest time in which the pool's common queue grew and grew.
fn growth(trace: &Trace) -> Option<(u64, u32, u32)> {
    const BINS: usize = 200;
    let mut bins = [(0_u64, 0_u64); BINS];
    for event in trace.tracks.iter().flat_map(|track| &track.events) {
        if let EventKind::Depth { injector, .. } = event.kind {
            let bin = event.time as u128 * BINS as u128 / (u128::from(trace.taken) + 1);
            let bin = &mut bins[(bin as usize).min(BINS - 1)];
            *bin = (bin.0 + u64::from(injector), bin.1 + 1);
        }
    }
    let mut longest: Option<(usize, u64, u64)> = None;
    let mut start: Option<(usize, u64, u64)> = None;
    for (bin, (sum, count)) in bins.into_iter().enumerate().filter(|(_, bin)| bin.1 > 0) {
        let depth = sum / count;
        start = match start {
            Some((first, from, highest)) if depth * 20 >= highest * 19 && depth >= from => {
                Some((first, from, highest.max(depth)))
            }
            _ => Some((bin, depth, depth)),
        };
        if let Some((first, from, to)) = start
            && to > 2 * from + 8 * trace.num_threads as u64
            && longest.is_none_or(|longest| bin - first > longest.0)
        {
            longest = Some((bin - first, from, to));
        }
    }
    longest.map(|(bins, from, to)| {
        let time = trace.taken as u128 * bins as u128 / BINS as u128;
        (time as u64, from as u32, to as u32)
    })
}
