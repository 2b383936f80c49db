//! Files for the checks in a browser and in Perfetto's own reader, written by `.ci/deep page`. `cargo test` writes the small ones and drops them.

use super::hostile;
use super::synth::{Plan, trace};
use crate::trace::forms::curve::{Curve, ProfileData};
use crate::trace::forms::html;
use crate::trace::forms::json::Json;
use crate::trace::forms::slices::lay_out;
use crate::trace::forms::summary::Totals;
use crate::trace::model::{EventKind, Trace};
use std::fs;
use std::path::PathBuf;
use std::time::Instant;

/// A profile of a program with a serial part of a tenth.
pub(super) fn profile() -> ProfileData {
    let speed_up = |p: f64, serial: f64| 1.0 / (serial + (1.0 - serial) / p);
    let point = |power: u32| {
        let p = f64::from(1 << power);
        Curve {
            processors: 1 << power,
            upper: p.min(10.4),
            lower: speed_up(p, 0.13),
            simulated: speed_up(p, 0.1),
        }
    };
    ProfileData {
        work: 4_200_000_000,
        span: (404_000_000, 420_000_000),
        burdened_span: 431_000_000,
        measured: Some((4, 3.02)),
        curve: (0..=10).map(point).collect(),
        critical_path: vec![
            ("sort::merge".to_owned(), 210_000_000),
            ("parse".to_owned(), 120_000_000),
            ("hash_file".to_owned(), 61_000_000),
        ],
        what_if: vec![
            ("sort::merge".to_owned(), 1.31),
            ("hash_file".to_owned(), 1.04),
        ],
    }
}

/// What the readers of the files must find, as JSON.
fn expected(trace: &Trace) -> String {
    let count = |is: fn(&EventKind) -> bool| {
        let events = trace.tracks.iter().flat_map(|track| &track.events);
        events.filter(|event| is(&event.kind)).count()
    };
    let lanes = trace.tracks.iter().map(|track| lay_out(track, trace.taken));
    let slices: Vec<_> = lanes.flat_map(|lane| lane.slices).collect();
    let empty = slices.iter().filter(|slice| slice.length() == 0).count();
    let mut json = Json::default();
    json.open('{');
    for (name, number) in [
        ("slices", slices.len()),
        ("empty", empty),
        ("made", count(|kind| matches!(kind, EventKind::Made { .. }))),
        (
            "steals",
            count(|kind| matches!(kind, EventKind::Steal { .. })),
        ),
        (
            "wakes",
            count(|kind| matches!(kind, EventKind::Wake { .. })),
        ),
        (
            "tasks",
            count(|kind| matches!(kind, EventKind::RunBegin { id: 1.., .. })),
        ),
        (
            "depths",
            count(|kind| matches!(kind, EventKind::Depth { .. })),
        ),
        ("tracks", trace.tracks.len()),
    ] {
        json.key(name).number(number);
    }
    let totals = Totals::of(trace);
    for (name, number) in [
        ("submitted", totals.submitted),
        ("completed", totals.completed),
        ("steals_counted", totals.steals),
        ("lost", totals.lost),
    ] {
        json.key(name).number(number);
    }
    json.close('}');
    json.finish()
}

/// The largest sample that is written if no folder is named.
const SMALL: usize = 30_000;

/// Writes each sample as a page, for Perfetto, as folded stacks, and with what their readers must find: all of them to the folder `HEIST_TRACE_SAMPLES`, or
/// else the small ones to a folder that is removed.
#[test]
fn write_samples() {
    let removed = tempfile::tempdir().expect("a folder");
    let (folder, limit) = match std::env::var_os("HEIST_TRACE_SAMPLES") {
        Some(folder) => (PathBuf::from(folder), usize::MAX),
        None => (removed.path().to_owned(), SMALL),
    };
    let plan = |workers, events| Plan {
        workers,
        events,
        ..Plan::default()
    };
    let samples = [
        ("two", plan(2, 3_000)),
        ("four", plan(4, 30_000)),
        ("sixty-four", plan(64, 200_000)),
        ("many", plan(300, 300_000)),
        (
            "lost",
            Plan {
                lost: 40,
                ..plan(4, 20_000)
            },
        ),
        ("million", plan(8, 1_000_000)),
        ("five-million", plan(16, 5_000_000)),
    ];
    let named = samples.into_iter().filter(|(_, plan)| plan.events <= limit);
    let mut traces: Vec<(&str, Trace)> = named.map(|(name, plan)| (name, trace(plan))).collect();
    traces.push(("hostile", hostile::trace()));
    for (name, trace) in traces {
        let events: usize = trace.tracks.iter().map(|track| track.events.len()).sum();
        let file = |ending| folder.join(format!("{name}.{ending}"));
        let started = Instant::now();
        let page = html::page(&trace, (name == "four").then(profile).as_ref());
        let took = started.elapsed();
        println!(
            "{name}: {events} events, page of {} bytes in {took:.2?}, {:.2} bytes an event above 200,000",
            page.len(),
            (page.len() as f64 - 200_000.0) / events as f64
        );
        assert!(page.len() <= 200_000 + 6 * events || name == "hostile");
        fs::write(file("html"), page).expect("the folder can be written");
        let started = Instant::now();
        trace
            .write_perfetto(file("pftrace"))
            .expect("the folder can be written");
        println!("{name}: for Perfetto in {:.2?}", started.elapsed());
        trace
            .write_folded(file("folded"))
            .expect("the folder can be written");
        fs::write(file("json"), expected(&trace)).expect("the folder can be written");
        fs::write(file("txt"), trace.to_string()).expect("the folder can be written");
    }
}
