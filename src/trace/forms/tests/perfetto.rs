//! The protocol buffers that Perfetto reads, decoded by a small decoder.

use super::analysis::track;
use super::hostile;
use super::synth::{Plan, trace};
use crate::trace::Wait;
use crate::trace::forms::fields;
use crate::trace::forms::perfetto;
use crate::trace::forms::slices::lay_out;
use crate::trace::model::{EventKind, Trace};
use std::collections::{BTreeMap, BTreeSet};

/// A field's value.
#[derive(Clone, Debug)]
enum Value<'a> {
    Integer(u64),
    Bytes(&'a [u8]),
}

/// The fields of a message.
struct Fields<'a>(Vec<(u32, Value<'a>)>);

impl<'a> Fields<'a> {
    fn of(mut bytes: &'a [u8]) -> Self {
        let mut fields = Vec::new();
        while !bytes.is_empty() {
            let tag = varint(&mut bytes);
            let value = match tag & 7 {
                0 => Value::Integer(varint(&mut bytes)),
                1 => {
                    let (number, rest) = bytes.split_first_chunk().expect("eight bytes");
                    bytes = rest;
                    Value::Integer(u64::from_le_bytes(*number))
                }
                2 => {
                    let length = varint(&mut bytes) as usize;
                    let (value, rest) = bytes.split_at(length);
                    bytes = rest;
                    Value::Bytes(value)
                }
                other => panic!("no wire type {other} is written"),
            };
            fields.push(((tag >> 3) as u32, value));
        }
        Fields(fields)
    }

    fn integer(&self, field: u32) -> Option<u64> {
        self.0.iter().find_map(|found| match found {
            (number, Value::Integer(value)) if *number == field => Some(*value),
            _ => None,
        })
    }

    fn integers(&self, field: u32) -> impl Iterator<Item = u64> {
        self.0.iter().filter_map(move |found| match found {
            (number, Value::Integer(value)) if *number == field => Some(*value),
            _ => None,
        })
    }

    fn messages(&self, field: u32) -> impl Iterator<Item = Fields<'a>> {
        self.bytes(field).map(Fields::of)
    }

    fn bytes(&self, field: u32) -> impl Iterator<Item = &'a [u8]> {
        self.0.iter().filter_map(move |found| match found {
            (number, Value::Bytes(value)) if *number == field => Some(*value),
            _ => None,
        })
    }

    fn text(&self, field: u32) -> Option<&'a str> {
        let mut bytes = self.bytes(field);
        bytes
            .next()
            .map(|bytes| std::str::from_utf8(bytes).expect("UTF-8"))
    }
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first().expect("a byte");
        *bytes = rest;
        number |= u64::from(byte & 127) << shift;
        if byte < 128 {
            break;
        }
    }
    number
}

fn written(trace: &Trace) -> Vec<u8> {
    let mut bytes = Vec::new();
    perfetto::write(trace, &mut bytes).expect("a vector takes all");
    bytes
}

/// What a file holds.
#[derive(Default)]
struct Contents {
    slices: usize,
    instants: usize,
    counters: usize,
    tracks: BTreeSet<u64>,
    names: BTreeMap<u64, String>,
    /// The times at which each arrow begins, goes on and ends.
    flows: BTreeMap<u64, Vec<u64>>,
}

fn contents(bytes: &[u8]) -> Contents {
    let mut contents = Contents::default();
    // For each track the open slices, and the time up to which it has been written.
    let mut open: BTreeMap<u64, (usize, u64)> = BTreeMap::new();
    for packet in Fields::of(bytes).messages(fields::TRACE_PACKET) {
        assert_eq!(packet.integer(fields::PACKET_SEQUENCE), Some(1));
        for track in packet.messages(fields::PACKET_TRACK) {
            let uuid = track.integer(fields::TRACK_UUID).expect("a number");
            assert!(contents.tracks.insert(uuid), "{uuid} is there twice");
        }
        for interned in packet.messages(fields::PACKET_INTERNED) {
            for name in interned.messages(fields::INTERNED_NAMES) {
                let number = name.integer(fields::IID).expect("a number");
                let text = name.text(fields::NAME).expect("a name").to_owned();
                assert!(contents.names.insert(number, text).is_none());
            }
        }
        for event in packet.messages(fields::PACKET_TRACK_EVENT) {
            let time = packet.integer(fields::PACKET_TIMESTAMP).expect("a time");
            let track = event.integer(fields::EVENT_TRACK).expect("a track");
            assert!(
                contents.tracks.contains(&track),
                "track {track} comes later or never"
            );
            let (depth, last) = open.entry(track).or_default();
            match event.integer(fields::EVENT_TYPE) {
                Some(1) => {
                    assert!(time >= *last, "slices of a track are in order");
                    (*depth, *last) = (*depth + 1, time);
                    contents.slices += 1;
                }
                Some(2) => {
                    assert!(time >= *last && *depth > 0);
                    (*depth, *last) = (*depth - 1, time);
                }
                Some(3) => contents.instants += 1,
                Some(4) => contents.counters += 1,
                other => panic!("{other:?} is no type of event"),
            }
            if let Some(name) = event.integer(fields::EVENT_NAME) {
                assert!(contents.names.contains_key(&name), "name {name}");
            }
            for flow in event.integers(fields::EVENT_FLOWS) {
                contents.flows.entry(flow).or_default().push(time);
            }
        }
    }
    assert!(
        open.values().all(|(depth, _)| *depth == 0),
        "all slices end"
    );
    contents
}

#[test]
fn all_slices_counters_and_arrows_are_there() {
    for workers in [1, 2, 8] {
        let trace = trace(Plan {
            workers,
            events: 6_000,
            ..Plan::default()
        });
        let found = contents(&written(&trace));
        let lanes: Vec<_> = trace
            .tracks
            .iter()
            .map(|track| lay_out(track, trace.taken))
            .collect();
        let slices: usize = lanes.iter().map(|lane| lane.slices.len()).sum();
        assert_eq!(found.slices, slices);
        let events = || trace.tracks.iter().flat_map(|track| &track.events);
        let count = |is: fn(&EventKind) -> bool| events().filter(|event| is(&event.kind)).count();
        assert_eq!(
            found.counters,
            3 * count(|kind| matches!(kind, EventKind::Depth { .. }))
        );
        // Each steal and each wake-up is an arrow with two ends, each task that began too.
        let arrows = found
            .flows
            .values()
            .filter(|times| times.len() == 2)
            .count();
        let steals = count(|kind| matches!(kind, EventKind::Steal { .. }));
        let wakes = count(|kind| matches!(kind, EventKind::Wake { .. }));
        let tasks = count(|kind| matches!(kind, EventKind::RunBegin { id: 1.., .. }));
        assert_eq!(arrows, steals + wakes + tasks);
    }
}

#[test]
fn a_record_that_lost_its_beginning_is_well_formed() {
    for lost in [10, 50, 90] {
        let trace = trace(Plan {
            seed: lost as u64,
            lost,
            events: 6_000,
            ..Plan::default()
        });
        let found = contents(&written(&trace));
        assert!(found.slices > 100);
    }
}

#[test]
fn hostile_names_stay_names() {
    let found = contents(&written(&hostile::trace()));
    assert!(
        found
            .names
            .values()
            .all(|name| name.len() < 2_000 && !name.contains('\0'))
    );
    assert!(found.names.values().any(|name| name.contains("</script>")));
}

#[test]
fn threads_with_one_number_have_tracks_of_their_own() {
    let mut trace = trace(Plan {
        events: 500,
        ..Plan::default()
    });
    for track in &mut trace.tracks {
        track.thread_id = 7;
    }
    contents(&written(&trace));
}

#[test]
fn who_waited_for_a_task_is_at_the_end_of_an_arrow() {
    let mut trace = trace(Plan {
        workers: 2,
        events: 0,
        ..Plan::default()
    });
    let wait = EventKind::WaitBegin {
        on: Wait::Handle,
        id: 5,
    };
    let waiter = [(10, wait), (90, EventKind::WaitEnd)];
    let runner = [
        (80, EventKind::Finished { id: 5 }),
        (85, EventKind::Finished { id: 6 }),
    ];
    trace.tracks = vec![track(0, &waiter), track(0, &runner)];
    trace.tracks[1].thread_id = 2;
    let found = contents(&written(&trace));
    let arrows: Vec<_> = found
        .flows
        .values()
        .filter(|times| times.len() == 2)
        .collect();
    assert_eq!(arrows, [&[trace.monotonic + 90, trace.monotonic + 80]]);
}
