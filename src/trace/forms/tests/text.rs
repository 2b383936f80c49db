use super::hostile;
use super::synth::{Plan, trace};
use crate::trace::forms::folded::folded;
use crate::trace::forms::slices::lay_out;
use crate::trace::model::Trace;
use std::time::Duration;

/// The time in all slices.
fn covered(trace: &Trace) -> u64 {
    let lanes = trace.tracks.iter().map(|track| lay_out(track, trace.taken));
    lanes
        .flat_map(|lane| lane.slices)
        .map(|slice| slice.own())
        .sum()
}

#[test]
fn folded_stacks_add_up_and_each_is_there_once() {
    let trace = trace(Plan {
        events: 10_000,
        ..Plan::default()
    });
    let text = folded(&trace);
    let mut sum = 0;
    let mut last = "";
    for line in text.lines() {
        let (stack, time) = line.rsplit_once(' ').expect("a time after a stack");
        sum += time.parse::<u64>().expect("a number");
        assert!(stack.starts_with("heist;") && stack > last);
        last = stack;
    }
    assert_eq!(sum, covered(&trace));
    assert!(
        text.contains("heist;thumbnail;wait for a stolen fork;dupes::sort::quick::{{closure}} ")
    );
}

#[test]
fn hostile_names_keep_the_lines_of_folded_stacks_apart() {
    let trace = hostile::trace();
    let text = folded(&trace);
    let mut sum = 0;
    for line in text.lines() {
        let (stack, time) = line.rsplit_once(' ').expect("a time after a stack");
        assert!(stack.split(';').count() <= 5, "{stack}");
        assert!(!stack.chars().any(char::is_control));
        sum += time.parse::<u64>().expect("a number");
    }
    assert_eq!(sum, covered(&trace));
    assert!(text.len() < 40_000);
}

#[test]
fn the_summary_says_what_the_counters_say() {
    let trace = trace(Plan {
        lost: 50,
        events: 9_000,
        ..Plan::default()
    });
    let text = trace.to_string();
    let number = |name: &str| {
        crate::trace::forms::names::count(match name {
            "submitted" => trace.stats.submitted,
            "steals" => trace.stats.steals,
            _ => trace.stats.parks,
        })
    };
    for name in ["submitted", "steals", "parks"] {
        assert!(
            text.contains(&format!("{} {name}", number(name))),
            "{name}: {text}"
        );
    }
    assert!(text.contains("warning: the record lost"), "{text}");
}

#[test]
fn totals_are_differences_of_the_counters() {
    let mut trace = trace(Plan::default());
    trace.before.submitted = 10;
    trace.stats.submitted = 5_010;
    trace.before.busy = Duration::from_secs(1);
    trace.stats.busy = Duration::from_secs(1) + Duration::from_nanos(trace.taken);
    let text = trace.to_string();
    assert!(text.contains("5,000 submitted"), "{text}");
    assert!(text.contains("25 % busy"), "{text}");
}

#[test]
fn hostile_names_leave_the_summary_in_lines() {
    let text = hostile::trace().to_string();
    let strange = |character: char| character.is_control() && character != '\n';
    assert!(!text.contains(strange) && text.len() < 8_000, "{text}");
}
