//! What the page holds: its data are read back here as its script reads them.

use super::hostile;
use super::samples::profile;
use super::synth::{Plan, trace};
use crate::trace::forms::analysis::Analysis;
use crate::trace::forms::html::{Sites, page};
use crate::trace::forms::names::shown;
use crate::trace::forms::packed::{ID_LIMIT, VERSION, base64, code_of_slice, pack};
use crate::trace::forms::slices::{Slice, SliceKind, lay_out};
use crate::trace::forms::summary::Totals;
use crate::trace::model::{EventKind, Trace};
use std::collections::HashSet;

/// The text of a `script` element of the page.
pub(super) fn block<'a>(page: &'a str, id: &str) -> &'a str {
    let (_, rest) = page
        .split_once(&format!("id=\"{id}\">"))
        .expect("the page has the block");
    let (block, _) = rest.split_once("</script>").expect("the block ends");
    block
}

fn unbase64(text: &str) -> Vec<u8> {
    let six = |digit: u8| match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => panic!("{digit} is no digit of base64"),
    };
    let mut bytes = Vec::new();
    for four in text.as_bytes().chunks(4) {
        let digits: Vec<u8> = four
            .iter()
            .filter(|digit| **digit != b'=')
            .map(|&digit| six(digit))
            .collect();
        let bits = digits
            .iter()
            .fold(0_u32, |bits, &six| bits << 6 | u32::from(six));
        let bits = bits << (6 * (4 - digits.len()));
        bytes.extend(&bits.to_be_bytes()[1..digits.len()]);
    }
    bytes
}

#[test]
fn base64_can_be_read_back() {
    assert_eq!(base64(b"Man"), "TWFu");
    assert_eq!(base64(b"Ma"), "TWE=");
    assert_eq!(base64(b"M"), "TQ==");
    let bytes: Vec<u8> = (0..1_000_u32).map(|n| (n * 7 % 256) as u8).collect();
    for length in 0..40 {
        assert_eq!(unbase64(&base64(&bytes[..length])), &bytes[..length]);
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    site: u64,
    id: i64,
}

impl Reader<'_> {
    fn byte(&mut self) -> u8 {
        self.at += 1;
        self.bytes[self.at - 1]
    }

    fn unsigned(&mut self) -> u64 {
        let mut number = 0;
        for shift in (0..).step_by(7) {
            let byte = self.byte();
            number |= u64::from(byte & 127) << shift;
            if byte < 128 {
                break;
            }
        }
        number
    }

    fn signed(&mut self) -> i64 {
        let number = self.unsigned();
        (number >> 1) as i64 ^ -((number & 1) as i64)
    }

    fn id(&mut self, mode: u8) -> u64 {
        match mode {
            0 => return 0,
            1 => self.id += 1,
            _ => self.id += self.signed(),
        }
        self.id as u64
    }

    /// Compares the next slice with one of the trace.
    fn slice(&mut self, last_end: &mut i64, slice: &Slice, sites: &Sites) {
        let tag = self.byte();
        assert_eq!(tag & 15, code_of_slice(slice.kind));
        let extra = if tag & 128 > 0 { self.byte() } else { 0 };
        let begin = *last_end + self.signed();
        *last_end = begin + self.unsigned() as i64;
        assert_eq!((begin as u64, *last_end as u64), (slice.begin, slice.end));
        if tag & 16 > 0 {
            self.site = self.unsigned();
        }
        if !matches!(slice.kind, SliceKind::Wait(_) | SliceKind::Park) {
            assert_eq!(self.site, u64::from(sites.number(slice.site)));
        }
        assert_eq!(self.id(tag >> 5 & 3), slice.id % ID_LIMIT);
        if slice.kind == SliceKind::Batch {
            assert_eq!(self.unsigned(), u64::from(slice.count));
        }
        assert_eq!(extra & 4 > 0, slice.stolen.is_some());
        if let Some((victim, forced)) = slice.stolen {
            assert_eq!(
                (self.unsigned(), extra & 8 > 0),
                (u64::from(victim), forced)
            );
        }
        assert_eq!(
            (extra & 16 > 0, extra & 32 > 0),
            (slice.headless, slice.open)
        );
        assert_eq!(extra & 3, slice.outcome as u8);
    }
}

/// Compares the bytes with the trace.
fn compare(trace: &Trace, bytes: &[u8], sites: &Sites) {
    let mut reader = Reader {
        bytes,
        at: 0,
        site: 0,
        id: 0,
    };
    assert_eq!(reader.unsigned(), VERSION);
    assert_eq!(reader.unsigned(), trace.tracks.len() as u64);
    for track in &trace.tracks {
        let lane = lay_out(track, trace.taken);
        assert_eq!(reader.unsigned(), lane.presence.len() as u64);
        let mut time = 0;
        for &(from, to) in &lane.presence {
            time += reader.unsigned();
            assert_eq!(time, from);
            time += reader.unsigned();
            assert_eq!(time, to);
        }
        assert_eq!(reader.unsigned(), lane.slices.len() as u64);
        let mut last_end = 0;
        for slice in &lane.slices {
            reader.slice(&mut last_end, slice, sites);
        }
        let is_depth = |kind| matches!(kind, EventKind::Depth { .. });
        let instants: Vec<_> = lane
            .instants
            .iter()
            .filter(|event| !is_depth(event.kind))
            .collect();
        assert_eq!(reader.unsigned(), instants.len() as u64);
        let mut time = 0;
        for event in instants {
            let tag = reader.byte();
            time += reader.unsigned();
            assert_eq!(time, event.time);
            if tag & 32 > 0 {
                reader.site = reader.unsigned();
            }
            let id = reader.id(tag >> 3 & 3);
            match event.kind {
                EventKind::Made { id: made, site } => {
                    assert_eq!((tag & 7, id), (0, made % ID_LIMIT));
                    assert_eq!(reader.site, u64::from(sites.number(site)));
                }
                EventKind::Steal { victim, .. } => {
                    assert_eq!((tag & 7, reader.unsigned()), (1, victim.into()));
                }
                EventKind::Wake { whom } => {
                    assert_eq!((tag & 7, reader.unsigned()), (2, whom.into()))
                }
                EventKind::Finished { id: ended } => {
                    assert_eq!((tag & 7, id), (3, ended % ID_LIMIT))
                }
                EventKind::Cancelled { id: ended } => {
                    assert_eq!((tag & 7, id), (4, ended % ID_LIMIT))
                }
                EventKind::TimedOut { id: ended } => {
                    assert_eq!((tag & 7, id), (5, ended % ID_LIMIT))
                }
                EventKind::Mark { site } => {
                    assert_eq!((tag & 7, reader.site), (6, sites.number(site).into()))
                }
                other => panic!("{other:?} is no point in time"),
            }
        }
        let depths = lane.instants.iter().filter(|event| is_depth(event.kind));
        assert_eq!(reader.unsigned(), depths.clone().count() as u64);
        let mut time = 0;
        for event in depths {
            time += reader.unsigned();
            assert_eq!(time, event.time);
            let found = [reader.unsigned(), reader.unsigned(), reader.unsigned()];
            let EventKind::Depth {
                injector,
                deque,
                ring,
            } = event.kind
            else {
                unreachable!()
            };
            assert_eq!(found, [injector, deque, ring].map(u64::from));
        }
    }
    assert_eq!(reader.at, bytes.len());
}

#[test]
fn the_page_holds_the_events_of_the_trace() {
    for (seed, workers) in [(1, 1), (2, 2), (3, 8), (4, 64)] {
        let lost = seed as usize * 20 % 60;
        let trace = trace(Plan {
            seed,
            workers,
            events: 8_000,
            lost,
            ..Plan::default()
        });
        let page = page(&trace, None);
        let sites = Sites::of(&trace, &Analysis::of(&trace));
        compare(&trace, &unbase64(block(&page, "events")), &sites);
    }
}

#[test]
fn large_numbers_fit() {
    let mut trace = trace(Plan {
        events: 400,
        ..Plan::default()
    });
    let late = 40 * 365 * 86_400 * 1_000_000_000;
    for event in trace.tracks.iter_mut().flat_map(|track| &mut track.events) {
        event.time += late;
        if let EventKind::Made { id, .. }
        | EventKind::RunBegin { id, .. }
        | EventKind::Finished { id } = &mut event.kind
            && *id > 0
        {
            *id = u64::MAX - *id;
        }
        if let EventKind::Batch { begin, .. } = &mut event.kind {
            *begin += late;
        }
    }
    trace.taken += late;
    let sites = Sites::of(&trace, &Analysis::of(&trace));
    compare(&trace, &pack(&trace, &|site| sites.number(site)), &sites);
}

/// The facts as JSON.
pub(super) fn facts(page: &str) -> serde_json::Value {
    serde_json::from_str(block(page, "facts")).expect("the facts are JSON")
}

#[test]
fn the_facts_are_those_of_the_counters() {
    let trace = trace(Plan {
        workers: 3,
        events: 9_000,
        lost: 30,
        ..Plan::default()
    });
    let facts = facts(&page(&trace, None));
    let totals = Totals::of(&trace);
    assert_eq!(facts["totals"]["submitted"], totals.submitted);
    assert_eq!(facts["totals"]["steals"], trace.stats.steals);
    assert_eq!(facts["totals"]["lost"], totals.lost);
    assert!(totals.lost > 0);
    assert_eq!(facts["threads"], 3);
    let tracks = facts["tracks"].as_array().expect("tracks");
    for (track, facts) in trace.tracks.iter().zip(tracks) {
        let kept = facts["kept"].as_u64().expect("a number");
        let lost = facts["lost"].as_u64().expect("a number");
        assert_eq!(kept + lost, track.written);
    }
    let warnings = facts["warnings"].as_array().expect("warnings");
    let lost = |warning: &&serde_json::Value| {
        warning["text"]
            .as_str()
            .is_some_and(|text| text.contains("lost"))
    };
    assert_eq!(warnings.iter().filter(lost).count(), 1);
    assert!(facts.get("profile").is_none());
}

#[test]
fn a_profile_is_in_the_facts() {
    let trace = trace(Plan::default());
    let facts = facts(&page(&trace, Some(&profile())));
    let curve = facts["profile"]["curve"].as_array().expect("a curve");
    assert_eq!((curve.len(), &curve[10][0]), (11, &1_024.into()));
    assert_eq!(facts["profile"]["enough"], 128);
}

#[test]
fn a_page_is_small() {
    for (workers, events) in [(2, 100), (4, 50_000), (64, 100_000)] {
        let trace = trace(Plan {
            workers,
            events,
            ..Plan::default()
        });
        let events: usize = trace.tracks.iter().map(|track| track.events.len()).sum();
        let size = page(&trace, Some(&profile())).len();
        assert!(
            size <= 200_000 + 6 * events,
            "{size} bytes for {events} events"
        );
    }
}

#[test]
fn a_page_stays_small_with_many_sites_and_long_names() {
    let mut trace = trace(Plan {
        events: 1_000,
        ..Plan::default()
    });
    let site = trace.sites[0].clone();
    for number in 0..50_000 {
        let mut site = site.clone();
        site.name = format!("{number}{}", "x".repeat(300));
        trace.sites.push(site);
    }
    let size = page(&trace, None).len();
    assert!(size <= 480_000, "{size} bytes");
    let sites = Sites::of(&trace, &Analysis::of(&trace));
    assert!(sites.named.len() < 1_000);
    // Sites with runs come first, and the others share a number.
    assert_eq!(sites.number(60_000), sites.named.len() as u32);
    assert!(
        trace.sites[..10]
            .iter()
            .enumerate()
            .all(|(index, _)| sites.number(index as u32) < 12)
    );
}

#[test]
fn a_page_asks_for_nothing() {
    let page = page(&trace(Plan::default()), None);
    for address in [
        "http:",
        "https:",
        "src=",
        "@import",
        "url(",
        "fetch(",
        "XMLHttpRequest",
        "WebSocket",
        "import(",
    ] {
        assert!(!page.contains(address), "the page contains {address}");
    }
    assert!(page.contains("default-src 'none'"));
}

#[test]
fn hostile_names_stay_text() {
    let plain = page(&trace(Plan::default()), None);
    let trace = hostile::trace();
    let page = page(&trace, None);
    // The names add no element.
    for tag in [
        "<script", "</script", "<img", "<!--", "<svg", "<title", "<style",
    ] {
        let count = |page: &str| page.matches(tag).count();
        assert_eq!(count(&page), count(&plain), "{tag}");
    }
    assert!(!page.contains('\0'));
    let facts = facts(&page);
    let sites = facts["sites"].as_array().expect("sites").iter();
    let names: HashSet<&str> = sites.filter_map(|site| site["name"].as_str()).collect();
    for name in hostile::NAMES {
        if shown(name, 200) == name {
            assert!(names.contains(name), "{name} is lost");
        }
    }
    assert!(page.len() < 400_000, "{} bytes", page.len());
}
