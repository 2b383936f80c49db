//! A trace in words: its figures, and warnings about what makes a program slow.

use super::analysis::{Analysis, STATES, Times};
use super::names::{self, count, duration, per_cent};
use super::slices::{NO_SITE, State};
use crate::stats::PoolStats;
use crate::trace::model::{SiteKind, Trace, TrackRole, Wait};
use std::fmt;
use std::time::Duration;

/// The number of call sites in the text.
const ROWS: usize = 12;

/// The totals of the counters in the time of the trace.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Totals {
    pub(super) submitted: u64,
    pub(super) completed: u64,
    pub(super) failed: u64,
    pub(super) timed_out: u64,
    pub(super) cancelled: u64,
    pub(super) lost_panics: u64,
    pub(super) steals: u64,
    pub(super) parks: u64,
    pub(super) wakeups: u64,
    pub(super) executed: u64,
    pub(super) busy: u64,
    pub(super) written: u64,
    pub(super) lost: u64,
}

impl Totals {
    pub(super) fn of(trace: &Trace) -> Self {
        let (before, stats) = (&trace.before, &trace.stats);
        let gain = |of: fn(&PoolStats) -> u64| of(stats).saturating_sub(of(before));
        let busy = stats
            .busy
            .checked_sub(before.busy)
            .unwrap_or(Duration::ZERO);
        Totals {
            submitted: gain(|stats| stats.submitted),
            completed: gain(|stats| stats.completed),
            failed: gain(|stats| stats.failed),
            timed_out: gain(|stats| stats.timed_out),
            cancelled: gain(|stats| stats.cancelled),
            lost_panics: gain(|stats| stats.lost_panics),
            steals: gain(|stats| stats.steals),
            parks: gain(|stats| stats.parks),
            wakeups: gain(|stats| stats.wakeups),
            executed: gain(|stats| stats.workers.iter().map(|worker| worker.executed).sum()),
            busy: u64::try_from(busy.as_nanos()).unwrap_or(u64::MAX),
            written: trace.tracks.iter().map(|track| track.written).sum(),
            lost: trace.tracks.iter().map(|track| track.lost).sum(),
        }
    }

    /// The share of the workers' time in which they were not looking for work.
    pub(super) fn utilisation(&self, trace: &Trace) -> f64 {
        let available = trace.num_threads as f64 * trace.taken as f64;
        if available == 0.0 {
            return 0.0;
        }
        (self.busy as f64 / available).min(1.0)
    }
}

/// How urgent a warning is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    /// The program can be made faster, or has gone wrong.
    Warning,
    /// A remark that helps to read the rest.
    Note,
}

/// What a reader should know.
#[derive(Clone, Debug)]
pub(super) struct Warning {
    pub(super) level: Level,
    pub(super) text: String,
}

/// The warnings about a trace, the most important first.
pub(super) fn warnings(trace: &Trace, found: &Analysis, totals: &Totals) -> Vec<Warning> {
    let mut all = Vec::new();
    let mut add = |level, text: Option<String>| {
        all.extend(text.map(|text| Warning { level, text }));
    };
    add(Level::Warning, lost_events(found, totals));
    add(Level::Warning, panics(totals));
    add(Level::Warning, serial_stretch(trace, found));
    add(Level::Warning, blocked_worker(trace, found));
    add(Level::Warning, short_runs(found));
    add(Level::Warning, growing_queue(found));
    add(Level::Warning, too_many_threads(trace, found));
    add(Level::Warning, late_tasks(totals));
    add(Level::Note, idle_workers(trace, found));
    add(Level::Note, uneven_workers(trace, found));
    all
}

fn lost_events(found: &Analysis, totals: &Totals) -> Option<String> {
    (totals.lost > 0).then(|| {
        format!(
            "the record lost {} of {} events: the first {} are not complete. Totals of tasks, steals and parks are exact all the same. \
             `max_bytes` makes the record longer",
            count(totals.lost),
            count(totals.written),
            duration(found.complete_from)
        )
    })
}

fn panics(totals: &Totals) -> Option<String> {
    let panicked = totals.failed - totals.timed_out.min(totals.failed);
    let unseen = match totals.lost_panics {
        0 => String::new(),
        n => format!(", and nothing saw {} panics", count(n)),
    };
    match (panicked, totals.lost_panics) {
        (0, 0) => None,
        (1, _) => Some(format!("1 task panicked{unseen}")),
        _ => Some(format!("{} tasks panicked{unseen}", count(panicked))),
    }
}

fn serial_stretch(trace: &Trace, found: &Analysis) -> Option<String> {
    let length = found.stretch.1 - found.stretch.0;
    if trace.num_threads < 2 || length < 1_000_000 || length < trace.taken / 20 {
        return None;
    }
    let mut text = format!(
        "{} in which one thread ran and the others had nothing: serial stretch at {}",
        duration(length),
        duration(found.stretch.0)
    );
    let after = match trace.sites.get(found.stretch_after as usize) {
        Some(site) if site.kind == SiteKind::Span => "in or after",
        _ => "after",
    };
    if found.stretch_after != NO_SITE {
        let name = names::in_words(&trace.sites, found.stretch_after);
        text += &format!(", {after} `{name}`");
    }
    if found.stretch_site != NO_SITE && found.stretch_site != found.stretch_after {
        let name = names::in_words(&trace.sites, found.stretch_site);
        text += &format!(", mostly in `{name}`");
    }
    if found.serial > length + length / 10 {
        text += &format!(
            ". One thread ran alone for {} altogether, {} of the time",
            duration(found.serial),
            per_cent(found.serial, trace.taken)
        );
    }
    Some(text)
}

fn blocked_worker(trace: &Trace, found: &Analysis) -> Option<String> {
    let blocked = found.blocked.as_ref()?;
    if blocked.time < 1_000_000 || blocked.time < trace.taken / 50 {
        return None;
    }
    let who = match trace.tracks[blocked.track].role {
        TrackRole::Worker(index) => format!("worker {index}"),
        TrackRole::Spare | TrackRole::Guest => "a spare thread".to_owned(),
    };
    let place = match blocked.site {
        NO_SITE => String::new(),
        site => format!(" in `{}`", names::in_words(&trace.sites, site)),
    };
    let time = duration(blocked.time);
    Some(match blocked.on {
        Wait::Blocking => format!(
            "{who} was blocked{place} for {time}, in calls of `blocking`: allow enough `spare_threads` to stand in for it"
        ),
        _ => format!(
            "{who} was blocked{place} for {time}: it waited for another task and could not help. A future or `then` would not hold the thread"
        ),
    })
}

fn short_runs(found: &Analysis) -> Option<String> {
    let many = found.runs.count >= 1_000 && found.short * 2 >= found.runs.count;
    many.then(|| {
        format!(
            "{} of {} runs last less than 1 us: use `map` or `join`, which cost a few nanoseconds for each, or do more in a task",
            per_cent(found.short, found.runs.count),
            count(found.runs.count)
        )
    })
}

fn growing_queue(found: &Analysis) -> Option<String> {
    found.growth.map(|(time, from, to)| {
        format!(
            "the queue grew for {}, from {} to {} tasks: producers outrun workers. `queue_capacity` bounds it",
            duration(time),
            count(from.into()),
            count(to.into())
        )
    })
}

fn too_many_threads(trace: &Trace, found: &Analysis) -> Option<String> {
    (found.excess > trace.taken / 10).then(|| {
        format!(
            "for {} more threads ran than the pool has workers: guests or spare threads came on top",
            duration(found.excess)
        )
    })
}

fn late_tasks(totals: &Totals) -> Option<String> {
    match totals.timed_out {
        0 => None,
        1 => Some("1 task missed its deadline".to_owned()),
        n => Some(format!("{} tasks missed their deadlines", count(n))),
    }
}

fn idle_workers(trace: &Trace, found: &Analysis) -> Option<String> {
    let times = found.times(trace, |role| matches!(role, TrackRole::Worker(_)));
    let all: u64 = times.iter().sum();
    let idle = times[State::Search as usize] + times[State::Parked as usize];
    (idle * 2 > all).then(|| {
        format!(
            "the workers had nothing to do for {} of their time: too few tasks, or tasks that wait for each other",
            per_cent(idle, all)
        )
    })
}

fn uneven_workers(trace: &Trace, found: &Analysis) -> Option<String> {
    let work = |times: &Times| times[State::Run as usize] + times[State::Help as usize];
    let workers = trace.tracks.iter().zip(&found.tracks);
    let mut workers: Vec<(u64, usize)> = workers
        .filter_map(|(track, totals)| match track.role {
            TrackRole::Worker(index) => Some((work(&totals.times), index)),
            _ => None,
        })
        .collect();
    workers.sort_unstable();
    let (least, most) = (workers.first()?, workers.last()?);
    let sum: u64 = workers.iter().map(|worker| worker.0).sum();
    let uneven = workers.len() > 1 && sum > trace.taken / 4 && least.0 * 2 < most.0;
    uneven.then(|| {
        format!(
            "the work was uneven: worker {} ran for {}, worker {} for {}",
            most.1,
            duration(most.0),
            least.1,
            duration(least.0)
        )
    })
}

/// A trace in words.
pub(super) struct Summary<'a> {
    pub(super) trace: &'a Trace,
    pub(super) found: &'a Analysis,
    pub(super) totals: Totals,
}

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_head(self.trace, &self.totals, f)?;
        write_record(self.trace, self.found, &self.totals, f)?;
        write_sites(self.trace, self.found, f)?;
        for warning in warnings(self.trace, self.found, &self.totals) {
            let sign = match warning.level {
                Level::Warning => "warning",
                Level::Note => "note",
            };
            write!(f, "\n{sign}: {}", warning.text)?;
        }
        Ok(())
    }
}

/// What the counters say.
fn write_head(trace: &Trace, totals: &Totals, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(
        f,
        "{}, pool {}: {} workers for {}",
        names::shown(&trace.program, 80),
        names::shown(&trace.pool, 80),
        trace.num_threads,
        duration(trace.taken)
    )?;
    writeln!(
        f,
        "tasks    {} submitted: {} completed, {} failed ({} too late), {} cancelled",
        count(totals.submitted),
        count(totals.completed),
        count(totals.failed),
        count(totals.timed_out),
        count(totals.cancelled)
    )?;
    writeln!(
        f,
        "events   {} steals, {} parks, {} wake-ups; {} recorded, {} lost",
        count(totals.steals),
        count(totals.parks),
        count(totals.wakeups),
        count(totals.written),
        count(totals.lost)
    )
}

/// What the record says about times.
fn write_record(
    trace: &Trace,
    found: &Analysis,
    totals: &Totals,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    let times = found.times(trace, |role| matches!(role, TrackRole::Worker(_)));
    let all: u64 = times.iter().sum();
    write!(
        f,
        "workers  {:.0} % busy by the counters; by the record",
        100.0 * totals.utilisation(trace)
    )?;
    for (at, state) in STATES.into_iter().enumerate() {
        let separator = if at == 0 { "" } else { "," };
        let share = per_cent(times[state as usize], all);
        write!(f, "{separator} {share} {}", state_name(state))?;
    }
    writeln!(f)?;
    for (name, times) in [("waits", &found.waits), ("runs", &found.runs)] {
        writeln!(
            f,
            "{name:<8} {} at the median, {} at 99 %, {} at most, of {} recorded",
            duration(times.quantile(0.5)),
            duration(times.quantile(0.99)),
            duration(times.max),
            count(times.count)
        )?;
    }
    Ok(())
}

/// The name of a state.
pub(super) fn state_name(state: State) -> &'static str {
    match state {
        State::Run => "run",
        State::Help => "help",
        State::Search => "search",
        State::Wait => "wait",
        State::Parked => "parked",
    }
}

fn write_sites(trace: &Trace, found: &Analysis, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(
        f,
        "{:>10} {:>10} {:>10} {:>10} {:>10} {:>7}  site",
        "runs", "total", "own", "mean", "99 %", "stolen"
    )?;
    let mut rows: Vec<usize> = (0..found.rows.len())
        .filter(|&row| found.rows[row].lengths.count > 0)
        .collect();
    rows.sort_by_key(|&row| (std::cmp::Reverse(found.rows[row].total), row));
    for &index in rows.iter().take(ROWS) {
        let row = &found.rows[index];
        write!(
            f,
            "\n{:>10} {:>10} {:>10} {:>10} {:>10} {:>7}  {}",
            count(row.lengths.count),
            duration(row.total),
            duration(row.own),
            duration(row.lengths.mean()),
            duration(row.lengths.quantile(0.99)),
            per_cent(row.stolen, row.lengths.count),
            names::in_words(&trace.sites, index as u32)
        )?;
        if let Some(place) = trace.sites.get(index).and_then(names::place) {
            write!(f, " at {place}")?;
        }
    }
    match rows.len() {
        more if more > ROWS => write!(f, "\n{:>10} further sites", more - ROWS),
        _ => Ok(()),
    }
}
