//! A trace as Perfetto reads it: a sequence of packets in protocol buffers.
//!
//! The first packets hold the clocks, the tracks and the names, which the later ones refer to by number. Times are those of
//! `CLOCK_MONOTONIC`, so that traces of the same machine by other tools can be put beside it. An arrow, which Perfetto calls a flow, is a
//! number that the events at its ends share.

use super::fields as field;
use super::names;
use super::proto::Message;
use super::slices::{Lane, Slice, SliceKind, lay_out};
use crate::trace::model::{Event, EventKind, Outcome, Trace, Track, TrackRole};
use std::collections::HashSet;
use std::io;
use std::time::UNIX_EPOCH;

const REALTIME: u64 = 1;
const MONOTONIC: u64 = 3;

const STATE_CLEARED: u64 = 1;
const NEEDS_STATE: u64 = 2;

const SLICE_BEGIN: u64 = 1;
const SLICE_END: u64 = 2;
const INSTANT: u64 = 3;
const COUNTER: u64 = 4;

const UNIT_COUNT: u64 = 2;

/// The number of characters of a name.
const NAME_LIMIT: usize = 400;
/// The buffer is written out when it has as many bytes.
const BUFFER: usize = 1 << 20;

/// Names that are not those of sites. Their numbers come after those of the sites.
const NAMES: [&str; 21] = [
    "stolen fork",
    "task of a scope",
    "task",
    "poll of a future",
    "broadcast",
    "run",
    "short runs",
    "wait for a stolen fork",
    "wait for a scope",
    "wait for a task",
    "wait for a result",
    "blocking call",
    "search for work",
    "parked",
    "span",
    "stolen from here",
    "wakes a thread",
    "awake",
    "finished",
    "goes on",
    "cancelled",
];
const STOLEN: usize = 15;
const WAKES: usize = 16;
const AWAKE: usize = 17;
const FINISHED: usize = 18;
const GOES_ON: usize = 19;
const CANCELLED: usize = 20;
const TIMED_OUT_NAME: &str = "too late";

const CATEGORIES: [&str; 5] = ["run", "wait", "sleep", "span", "scheduler"];
const ANNOTATIONS: [&str; 6] = ["task", "runs", "victim", "forced", "ended", "incomplete"];

/// The kinds of arrows, as parts of their numbers.
#[derive(Clone, Copy)]
enum Flow {
    /// A task is made, and begins.
    Task,
    /// Work is on the victim, and runs on the thief.
    Steal,
    /// A thread wakes another one.
    Wake,
    /// A task ends, and who waits for it goes on.
    Finish,
}

fn flow(kind: Flow, number: u64) -> u64 {
    number.rotate_left(2) ^ kind as u64
}

/// A point in time or the beginning of a slice, before it is written.
#[derive(Default)]
struct Entry {
    kind: u64,
    name: u64,
    category: usize,
    location: Option<u32>,
    flows: Vec<u64>,
}

/// Writes the packets.
pub(super) fn write(trace: &Trace, output: &mut dyn io::Write) -> io::Result<()> {
    let mut writer = Writer::new(trace, output);
    writer.clocks();
    writer.names();
    writer.tracks();
    for (index, track) in trace.tracks.iter().enumerate() {
        let lane = lay_out(track, trace.taken);
        writer.lane(index, track, &lane)?;
    }
    writer.flush(0)
}

struct Writer<'a> {
    trace: &'a Trace,
    output: &'a mut dyn io::Write,
    buffer: Message,
    /// The process's track. Those of threads and counters follow.
    uuid: u64,
    /// The number of the next steal.
    steals: u64,
    /// For each track, when it is woken, and by which arrow.
    wakes: Vec<Vec<(u64, u64)>>,
    /// The tasks that have ended, and when.
    finished: Vec<(u64, u64)>,
    /// The number of the wake that is written next, for each track as a waker.
    first_wake: Vec<u64>,
}

impl<'a> Writer<'a> {
    fn new(trace: &'a Trace, output: &'a mut dyn io::Write) -> Self {
        let mut wakes = vec![Vec::new(); trace.tracks.len()];
        let mut finished = Vec::new();
        let mut first_wake = Vec::new();
        let mut number = 0;
        for track in &trace.tracks {
            first_wake.push(number);
            for event in &track.events {
                match event.kind {
                    EventKind::Wake { whom } => {
                        if let Some(wakes) = wakes.get_mut(whom as usize) {
                            wakes.push((event.time, flow(Flow::Wake, number)));
                        }
                        number += 1;
                    }
                    EventKind::Finished { id } => finished.push((id, event.time)),
                    _ => (),
                }
            }
        }
        for wakes in &mut wakes {
            wakes.sort_unstable();
        }
        finished.sort_unstable();
        Writer {
            trace,
            output,
            buffer: Message::default(),
            uuid: (u64::from(std::process::id()) << 32) ^ 0x6865_6973_7400_0000,
            steals: 0,
            wakes,
            finished,
            first_wake,
        }
    }

    /// Writes the buffer out if it is longer than `limit`.
    fn flush(&mut self, limit: usize) -> io::Result<()> {
        if self.buffer.bytes.len() > limit {
            self.output.write_all(&self.buffer.bytes)?;
            self.buffer.bytes.clear();
        }
        Ok(())
    }

    fn packet(&mut self, flags: u64, fill: impl FnOnce(&mut Message)) {
        self.buffer.message(field::TRACE_PACKET, |packet| {
            packet.integer(field::PACKET_SEQUENCE, 1);
            packet.integer(field::PACKET_FLAGS, flags);
            fill(packet);
        });
    }

    fn clocks(&mut self) {
        let monotonic = self.trace.monotonic;
        let real = self.trace.started.duration_since(UNIX_EPOCH);
        let real = real.map_or(0, |time| u64::try_from(time.as_nanos()).unwrap_or(0));
        self.packet(STATE_CLEARED, |packet| {
            packet.message(field::PACKET_CLOCK_SNAPSHOT, |snapshot| {
                for (clock, time) in [(MONOTONIC, monotonic), (REALTIME, real)] {
                    snapshot.message(field::SNAPSHOT_CLOCKS, |message| {
                        message.integer(field::CLOCK_ID, clock);
                        message.integer(field::CLOCK_TIME, time);
                    });
                }
                snapshot.integer(field::SNAPSHOT_PRIMARY, MONOTONIC);
            });
        });
    }

    fn names(&mut self) {
        let trace = self.trace;
        let site_names = trace
            .sites
            .iter()
            .map(|site| names::short(&site.name, NAME_LIMIT));
        let others = NAMES.iter().chain([&TIMED_OUT_NAME]);
        let all: Vec<String> = site_names
            .chain(others.map(|name| (*name).to_owned()))
            .collect();
        let list = |packet: &mut Message, field, names: &[&str]| {
            for (index, name) in names.iter().enumerate() {
                packet.message(field, |entry| {
                    entry.integer(field::IID, index as u64 + 1);
                    entry.text(field::NAME, name);
                });
            }
        };
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        self.packet(STATE_CLEARED | NEEDS_STATE, |packet| {
            packet.message(field::PACKET_DEFAULTS, |defaults| {
                defaults.integer(field::DEFAULTS_CLOCK, MONOTONIC);
            });
            packet.message(field::PACKET_INTERNED, |interned| {
                list(interned, field::INTERNED_CATEGORIES, &CATEGORIES);
                list(interned, field::INTERNED_NAMES, &all);
                list(interned, field::INTERNED_ANNOTATIONS, &ANNOTATIONS);
                for (index, site) in trace.sites.iter().enumerate() {
                    interned.message(field::INTERNED_LOCATIONS, |location| {
                        location.integer(field::IID, index as u64 + 1);
                        if let Some(file) = site.file {
                            location.text(field::LOCATION_FILE, &names::shown(file, NAME_LIMIT));
                            location.integer(field::LOCATION_LINE, site.line.into());
                        }
                        let name = names::shown(&site.name, NAME_LIMIT);
                        location.text(field::LOCATION_FUNCTION, &name);
                    });
                }
            });
        });
    }

    fn track_uuid(&self, index: usize) -> u64 {
        self.uuid + 16 + 4 * index as u64
    }

    fn tracks(&mut self) {
        let pid = u64::from(std::process::id());
        let uuid = self.uuid;
        let trace = self.trace;
        self.packet(NEEDS_STATE, |packet| {
            packet.message(field::PACKET_TRACK, |track| {
                track.integer(field::TRACK_UUID, uuid);
                track.message(field::TRACK_PROCESS, |process| {
                    process.integer(field::PROCESS_PID, pid);
                    let name = names::shown(&trace.program, NAME_LIMIT);
                    process.text(field::PROCESS_NAME, &name);
                });
            });
        });
        self.counter_track(uuid + 1, "common queue");
        let mut threads = HashSet::new();
        for (index, track) in trace.tracks.iter().enumerate() {
            let name = thread_name(track);
            let own = self.track_uuid(index);
            // Perfetto makes one track of those with the same thread.
            let is_alone = track.thread_id != 0 && threads.insert(track.thread_id);
            self.packet(NEEDS_STATE, |packet| {
                packet.message(field::PACKET_TRACK, |message| {
                    message.integer(field::TRACK_UUID, own);
                    if is_alone {
                        message.message(field::TRACK_THREAD, |thread| {
                            thread.integer(field::THREAD_PID, pid);
                            thread.integer(field::THREAD_TID, track.thread_id);
                            thread.text(field::THREAD_NAME, &name);
                        });
                    } else {
                        message.integer(field::TRACK_PARENT, uuid);
                        message.text(field::TRACK_NAME, &name);
                    }
                });
            });
            let has_depths = |event: &Event| matches!(event.kind, EventKind::Depth { .. });
            if track.events.iter().any(has_depths) {
                self.counter_track(own + 1, &format!("deques of {name}"));
                self.counter_track(own + 2, &format!("ring of {name}"));
            }
        }
    }

    fn counter_track(&mut self, uuid: u64, name: &str) {
        let parent = self.uuid;
        self.packet(NEEDS_STATE, |packet| {
            packet.message(field::PACKET_TRACK, |track| {
                track.integer(field::TRACK_UUID, uuid);
                track.integer(field::TRACK_PARENT, parent);
                track.text(field::TRACK_NAME, name);
                track.message(field::TRACK_COUNTER, |counter| {
                    counter.integer(field::COUNTER_UNIT, UNIT_COUNT);
                });
            });
        });
    }

    /// The number of one of the names that are not those of sites.
    fn other_name(&self, index: usize) -> u64 {
        (self.trace.sites.len() + index + 1) as u64
    }

    fn event(&mut self, track: u64, time: u64, fill: impl FnOnce(&mut Message)) {
        let time = self.trace.monotonic.saturating_add(time);
        self.packet(NEEDS_STATE, |packet| {
            packet.integer(field::PACKET_TIMESTAMP, time);
            packet.message(field::PACKET_TRACK_EVENT, |event| {
                event.integer(field::EVENT_TRACK, track);
                fill(event);
            });
        });
    }

    fn entry(&mut self, track: u64, time: u64, entry: &Entry, annotate: impl FnOnce(&mut Message)) {
        self.event(track, time, |event| {
            event.integer(field::EVENT_TYPE, entry.kind);
            event.integer(field::EVENT_NAME, entry.name);
            event.integer(field::EVENT_CATEGORIES, entry.category as u64 + 1);
            if let Some(site) = entry.location {
                event.integer(field::EVENT_LOCATION, u64::from(site) + 1);
            }
            for &flow in &entry.flows {
                event.fixed(field::EVENT_FLOWS, flow);
            }
            annotate(event);
        });
    }

    /// Writes the slices of a thread and the points in time between them.
    fn lane(&mut self, index: usize, track: &Track, lane: &Lane) -> io::Result<()> {
        let mut open: Vec<&Slice> = Vec::new();
        let mut instants = lane.instants.iter().peekable();
        let mut next_wake = self.first_wake[index];
        let mut woken = self.wakes[index].clone().into_iter().peekable();
        if let Some(begin) = track
            .events
            .first()
            .filter(|event| event.kind == EventKind::ThreadBegin)
        {
            self.awake(index, begin.time, &mut woken);
        }
        for slice in lane.slices.iter().map(Some).chain([None]) {
            let until = slice.map_or(u64::MAX, |slice| slice.begin);
            while let Some(inner) =
                open.pop_if(|inner| slice.is_none_or(|slice| inner.level >= slice.level))
            {
                while let Some(event) = instants.next_if(|event| event.time <= inner.end) {
                    self.instant(index, event.time, event.kind, &mut next_wake);
                }
                self.end(index, inner, &mut woken);
            }
            while let Some(event) = instants.next_if(|event| event.time < until) {
                self.instant(index, event.time, event.kind, &mut next_wake);
            }
            if let Some(slice) = slice {
                self.begin(index, slice);
                open.push(slice);
            }
            self.flush(BUFFER)?;
        }
        Ok(())
    }

    fn begin(&mut self, index: usize, slice: &Slice) {
        let own = self.track_uuid(index);
        let mut flows = Vec::new();
        if slice.id != 0 && matches!(slice.kind, SliceKind::Run(_)) {
            flows.push(flow(Flow::Task, slice.id));
        }
        if let Some((victim, _)) = slice.stolen {
            let steal = flow(Flow::Steal, self.steals);
            self.steals += 1;
            flows.push(steal);
            let entry = Entry {
                kind: INSTANT,
                name: self.other_name(STOLEN),
                category: 4,
                flows: vec![steal],
                ..Entry::default()
            };
            let victim = self.track_uuid(victim as usize);
            self.entry(victim, slice.begin, &entry, |_| ());
        }
        let has_site = (slice.site as usize) < self.trace.sites.len();
        let entry = Entry {
            kind: SLICE_BEGIN,
            name: if has_site {
                u64::from(slice.site) + 1
            } else {
                self.other_name(super::packed::code_of_slice(slice.kind).into())
            },
            category: category(slice.kind),
            location: has_site.then_some(slice.site),
            flows,
        };
        self.entry(own, slice.begin, &entry, |event| annotate(event, slice));
    }

    fn end(&mut self, index: usize, slice: &Slice, woken: &mut Wakes) {
        let own = self.track_uuid(index);
        self.event(own, slice.end, |event| {
            event.integer(field::EVENT_TYPE, SLICE_END);
        });
        if slice.kind == SliceKind::Park {
            self.awake(index, slice.end, woken);
        }
        let ended = self
            .finished
            .binary_search_by_key(&slice.id, |ended| ended.0);
        if let (SliceKind::Wait(_), true, Ok(at)) = (slice.kind, slice.id != 0, ended)
            && self.finished[at].1 <= slice.end
        {
            let entry = Entry {
                kind: INSTANT,
                name: self.other_name(GOES_ON),
                category: 4,
                flows: vec![flow(Flow::Finish, slice.id)],
                ..Entry::default()
            };
            self.entry(own, slice.end, &entry, |_| ());
        }
    }

    /// Writes that a thread is awake, with the arrows of those who have woken it up to then.
    fn awake(&mut self, index: usize, time: u64, woken: &mut Wakes) {
        let mut flows = Vec::new();
        while let Some((_, flow)) = woken.next_if(|wake| wake.0 <= time) {
            flows.push(flow);
        }
        if flows.is_empty() {
            return;
        }
        let entry = Entry {
            kind: INSTANT,
            name: self.other_name(AWAKE),
            category: 4,
            flows,
            ..Entry::default()
        };
        let own = self.track_uuid(index);
        self.entry(own, time, &entry, |_| ());
    }

    fn instant(&mut self, index: usize, time: u64, kind: EventKind, next_wake: &mut u64) {
        let own = self.track_uuid(index);
        let (name, flows, site, id) = match kind {
            EventKind::Made { id, site } => {
                let name = u64::from(site.min(self.trace.sites.len() as u32)) + 1;
                (name, vec![flow(Flow::Task, id)], Some(site), id)
            }
            EventKind::Steal { .. } => (self.other_name(0), Vec::new(), None, 0),
            EventKind::Wake { .. } => {
                let wake = flow(Flow::Wake, *next_wake);
                *next_wake += 1;
                (self.other_name(WAKES), vec![wake], None, 0)
            }
            EventKind::Finished { id } => {
                let name = self.other_name(FINISHED);
                (name, vec![flow(Flow::Finish, id)], None, id)
            }
            EventKind::Cancelled { id } => (self.other_name(CANCELLED), Vec::new(), None, id),
            EventKind::TimedOut { id } => (self.other_name(NAMES.len()), Vec::new(), None, id),
            EventKind::Mark { site } => (u64::from(site) + 1, Vec::new(), Some(site), 0),
            EventKind::Depth {
                injector,
                deque,
                ring,
            } => {
                self.counter(self.uuid + 1, time, injector);
                self.counter(own + 1, time, deque);
                self.counter(own + 2, time, ring);
                return;
            }
            _ => return,
        };
        let entry = Entry {
            kind: INSTANT,
            name,
            category: 4,
            location: site.filter(|&site| (site as usize) < self.trace.sites.len()),
            flows,
        };
        self.entry(own, time, &entry, |event| {
            if id != 0 {
                annotation(event, 0, |value| {
                    value.integer(field::ANNOTATION_UINT, id);
                });
            }
        });
    }

    fn counter(&mut self, track: u64, time: u64, value: u32) {
        self.event(track, time, |event| {
            event.integer(field::EVENT_TYPE, COUNTER);
            event.integer(field::EVENT_COUNTER, value.into());
        });
    }
}

type Wakes = std::iter::Peekable<std::vec::IntoIter<(u64, u64)>>;

fn thread_name(track: &Track) -> String {
    let name = names::shown(&track.name, NAME_LIMIT);
    match track.role {
        TrackRole::Worker(index) if !track.name.ends_with(&index.to_string()) => {
            format!("{name} (worker {index})")
        }
        _ => name,
    }
}

fn category(kind: SliceKind) -> usize {
    match kind {
        SliceKind::Run(_) | SliceKind::Batch => 0,
        SliceKind::Wait(_) => 1,
        SliceKind::Park => 2,
        SliceKind::Span => 3,
    }
}

/// Writes a detail of an event. `index` is that of its name.
fn annotation(event: &mut Message, index: u64, value: impl FnOnce(&mut Message)) {
    event.message(field::EVENT_ANNOTATIONS, |message| {
        message.integer(field::ANNOTATION_NAME, index + 1);
        value(message);
    });
}

fn annotate(event: &mut Message, slice: &Slice) {
    let mut number = |index, number| {
        annotation(event, index, |value| {
            value.integer(field::ANNOTATION_UINT, number);
        });
    };
    if slice.id != 0 {
        number(0, slice.id);
    }
    if slice.kind == SliceKind::Batch {
        number(1, slice.count.into());
    }
    if let Some((victim, forced)) = slice.stolen {
        number(2, victim.into());
        annotation(event, 3, |value| {
            value.integer(field::ANNOTATION_BOOL, forced.into());
        });
    }
    let ended = match slice.outcome {
        Outcome::Returned => None,
        Outcome::Panicked => Some("panicked"),
        Outcome::Cancelled => Some("cancelled"),
        Outcome::Suspended => Some("suspended"),
    };
    if let Some(ended) = ended {
        annotation(event, 4, |value| {
            value.text(field::ANNOTATION_STRING, ended);
        });
    }
    if slice.open || slice.headless {
        annotation(event, 5, |value| {
            value.integer(field::ANNOTATION_BOOL, 1);
        });
    }
}
