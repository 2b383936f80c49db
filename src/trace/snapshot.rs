//! How a trace is made of what the threads have recorded.

use super::model::{Event, EventKind, Trace, Track, TrackRole};
use super::sites::Sites;
use crate::executor::TaskId;
use crate::pool::{Registry, Role};
use crate::record::{Entry, Recorded, SiteKind, Snapshot, Work};
use crate::stats::{self, PoolStats};
use std::collections::HashMap;
use std::time::{Duration, SystemTime};

/// A snapshot of a pool.
pub(super) fn of(registry: &Registry) -> Trace {
    let snapshot = registry.recording.snapshot();
    made_of(registry, snapshot)
}

/// A snapshot of a pool that is recorded, if that needs no wait for another thread.
#[cfg(feature = "trace")]
pub(super) fn try_of(registry: &Registry) -> Option<Trace> {
    let snapshot = registry.recording.try_snapshot();
    snapshot.map(|snapshot| made_of(registry, Some(snapshot)))
}

fn made_of(registry: &Registry, snapshot: Option<Snapshot<PoolStats>>) -> Trace {
    let stats = stats::of(registry);
    let program = std::env::args_os().next().map(std::path::PathBuf::from);
    let program = program.as_deref().and_then(std::path::Path::file_name);
    let mut trace = Trace {
        program: program.map_or_else(String::new, |name| name.to_string_lossy().into_owned()),
        pool: String::new(),
        num_threads: stats.threads,
        started: SystemTime::now(),
        monotonic: 0,
        taken: 0,
        resolution: 0,
        before: PoolStats {
            threads: stats.threads,
            ..PoolStats::default()
        },
        stats,
        sites: Vec::new(),
        tracks: Vec::new(),
    };
    if let Some(snapshot) = snapshot {
        fill(&mut trace, registry, snapshot);
    }
    trace
}

fn fill(trace: &mut Trace, registry: &Registry, snapshot: Snapshot<PoolStats>) {
    trace.started = snapshot.at;
    trace.monotonic = snapshot.monotonic;
    trace.taken = snapshot.taken;
    trace.resolution = nanos(snapshot.settings.resolution);
    if let Some(before) = snapshot.before {
        trace.before = before;
    }
    let mut tracks: Vec<_> = snapshot
        .tracks
        .into_iter()
        .map(|recorded| (role(registry, &recorded), recorded))
        .collect();
    tracks.retain(|(role, recorded)| recorded.written > 0 || matches!(role, TrackRole::Worker(_)));
    tracks.sort_by_key(|(role, recorded)| match *role {
        TrackRole::Worker(index) => (0, index),
        TrackRole::Spare => (1, recorded.slot.unwrap_or(usize::MAX)),
        TrackRole::Guest => (2, recorded.slot.unwrap_or(usize::MAX)),
    });
    let numbers = tracks.iter().enumerate();
    let numbers =
        numbers.filter_map(|(number, (_, recorded))| Some((recorded.slot?, number as u32)));
    let mut meaning = Meaning {
        tracks: numbers.collect(),
        sites: Sites::new(snapshot.names, snapshot.places),
        nanos_per_tick: snapshot.nanos_per_tick,
    };
    let since = snapshot.taken.saturating_sub(nanos(snapshot.settings.last));
    let tracks = tracks.into_iter();
    trace.tracks = tracks
        .map(|(role, recorded)| meaning.track(role, recorded, since))
        .collect();
    trace.sites = meaning.sites.into_vec();
    mend_begins(&mut trace.tracks);
    trace.pool = prefix(&trace.tracks);
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn role(registry: &Registry, recorded: &Recorded) -> TrackRole {
    match recorded.slot.map(|slot| registry.slot(slot).kind) {
        Some(Role::Worker(index)) => TrackRole::Worker(index),
        Some(Role::Spare) => TrackRole::Spare,
        Some(Role::Guest) | None => TrackRole::Guest,
    }
}

/// What the names of the workers begin with.
fn prefix(tracks: &[Track]) -> String {
    let is_worker = |track: &&Track| matches!(track.role, TrackRole::Worker(_));
    let first = tracks
        .iter()
        .find(is_worker)
        .map_or("", |track| &track.name);
    let digits = |c: char| c.is_ascii_digit() || c == '-' || c == '_' || c == ' ';
    first.trim_end_matches(digits).to_owned()
}

/// What the numbers in events mean.
struct Meaning {
    /// The number of a slot's track.
    tracks: HashMap<usize, u32>,
    sites: Sites,
    nanos_per_tick: f64,
}

impl Meaning {
    fn track(&mut self, role: TrackRole, recorded: Recorded, since: u64) -> Track {
        let older = recorded.events.partition_point(|&(time, _)| time < since);
        let name = recorded
            .thread
            .as_ref()
            .and_then(|thread| thread.name.clone());
        let default = match role {
            TrackRole::Worker(index) => format!("heist-{index}"),
            TrackRole::Spare => "heist-spare".to_owned(),
            TrackRole::Guest => "outside".to_owned(),
        };
        let events = recorded.events[older..].iter();
        Track {
            role,
            name: name.unwrap_or(default),
            thread_id: recorded.thread.map_or(0, |thread| thread.id),
            written: recorded.written,
            lost: recorded.lost,
            older: older as u64,
            events: events
                .map(|&(time, entry)| Event {
                    time,
                    kind: self.kind(time, entry),
                })
                .collect(),
        }
    }

    /// The track of a slot. A slot without a track is one that has recorded nothing.
    fn track_of(&self, slot: u32) -> u32 {
        self.tracks
            .get(&(slot as usize))
            .copied()
            .unwrap_or(u32::MAX)
    }

    fn kind(&mut self, time: u64, entry: Entry) -> EventKind {
        match entry {
            Entry::ThreadBegin => EventKind::ThreadBegin,
            Entry::GuestEnter => EventKind::GuestEnter,
            Entry::GuestLeave => EventKind::GuestLeave,
            Entry::RunBegin { what, id, name } => EventKind::RunBegin {
                what,
                id: id_of(id),
                site: self.sites.of_name(name, what),
            },
            Entry::RunEnd(outcome) => EventKind::RunEnd { outcome },
            Entry::Batch { ticks, count, site } => EventKind::Batch {
                begin: time.saturating_sub((ticks as f64 * self.nanos_per_tick) as u64),
                count,
                site: self.sites.of_word(site, Work::ScopeTask),
            },
            Entry::Made { id, name } => EventKind::Made {
                id: id_of(id),
                site: self.sites.of_name(name, Work::Task),
            },
            Entry::Steal {
                victim,
                what,
                forced,
            } => EventKind::Steal {
                victim: self.track_of(victim),
                what,
                forced,
            },
            Entry::WaitBegin { on, id } => EventKind::WaitBegin { on, id: id_of(id) },
            Entry::WaitEnd => EventKind::WaitEnd,
            Entry::Park => EventKind::Park,
            Entry::Unpark => EventKind::Unpark,
            Entry::Wake { whom } => EventKind::Wake {
                whom: self.track_of(whom),
            },
            Entry::Depth {
                injector,
                deque,
                ring,
            } => EventKind::Depth {
                injector: injector as u32,
                deque: deque as u32,
                ring: ring as u32,
            },
            Entry::Finished { id } => EventKind::Finished { id: id_of(id) },
            Entry::Cancelled { id } => EventKind::Cancelled { id: id_of(id) },
            Entry::TimedOut { id } => EventKind::TimedOut { id: id_of(id) },
            Entry::Mark(text) => EventKind::Mark {
                site: self.sites.number(SiteKind::Mark, text),
            },
            Entry::SpanBegin(text) => EventKind::SpanBegin {
                site: self.sites.number(SiteKind::Span, text),
            },
            Entry::SpanEnd => EventKind::SpanEnd,
        }
    }
}

/// Moves the begins of runs behind the moments at which their tasks were made.
///
/// A thread that goes from run to run takes the end of one as the begin of the next, which another thread may have made in between.
fn mend_begins(tracks: &mut [Track]) {
    let events = tracks.iter().flat_map(|track| &track.events);
    let mut made: Vec<_> = events
        .filter_map(|event| match event.kind {
            EventKind::Made { id, .. } => Some((id, event.time)),
            _ => None,
        })
        .collect();
    made.sort_unstable();
    made.dedup_by_key(|&mut (id, _)| id);
    let first = |id| {
        let found = made.binary_search_by_key(&id, |&(id, _)| id).ok()?;
        Some(made[found].1)
    };
    for track in tracks {
        let mut next = u64::MAX;
        for event in track.events.iter_mut().rev() {
            if let EventKind::RunBegin { id, .. } = event.kind
                && let Some(made) = first(id)
            {
                event.time = event.time.max(made.min(next));
            }
            next = event.time;
        }
    }
}

/// The number of a task, or 0.
fn id_of(half: u32) -> u64 {
    if half == 0 {
        0
    } else {
        TaskId::number_of(half)
    }
}
