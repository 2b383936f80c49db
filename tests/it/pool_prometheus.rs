//! `write_prometheus`: text that a reader of the format understands, whatever the labels.

use crate::support::{on_pool, on_pool_with};
use heist::{PoolStats, Timing};
use std::collections::{BTreeMap, BTreeSet};

/// A sample: its name, its labels, its value.
type Sample = (String, BTreeMap<String, String>, f64);

/// Reads text by the grammar of the format. Panics if it breaks the grammar.
fn read(text: &str) -> Vec<Sample> {
    let (mut samples, mut families) = (Vec::new(), BTreeSet::new());
    assert!(text.ends_with('\n'));
    for line in text.strip_suffix('\n').unwrap().split('\n') {
        if let Some(family) = line.strip_prefix("# TYPE ") {
            let (name, kind) = family.split_once(' ').unwrap();
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert_eq!(name.ends_with("_total"), kind == "counter", "{line}");
            assert!(families.insert(name.to_owned()), "{name} comes twice");
            continue;
        }
        if line.starts_with("# HELP ") {
            continue;
        }
        samples.push(read_sample(line));
    }
    for (name, ..) in &samples {
        let of_histogram = ["_bucket", "_sum", "_count"];
        let base = of_histogram.iter().find_map(|part| name.strip_suffix(part));
        assert!(families.contains(base.unwrap_or(name)), "{name}");
    }
    samples
}

fn read_sample(line: &str) -> Sample {
    let end = line.find(['{', ' ']).unwrap();
    let (name, mut rest) = line.split_at(end);
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, after) = rest.split_once("=\"").unwrap();
            let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
            assert!(!label.is_empty() && label.chars().all(is_name), "{label}");
            assert!(!label.starts_with(|c: char| c.is_ascii_digit()), "{label}");
            let (value, after) = read_value(after);
            assert!(
                labels.insert(label.to_owned(), value).is_none(),
                "{label} twice"
            );
            match after.strip_prefix(',') {
                Some(more) => rest = more,
                None => {
                    rest = after.strip_prefix('}').unwrap();
                    break;
                }
            }
        }
    }
    let value = rest.strip_prefix(' ').unwrap().parse().unwrap();
    (name.to_owned(), labels, value)
}

/// Reads the rest of a quoted value.
fn read_value(text: &str) -> (String, &str) {
    let (mut value, mut chars) = (String::new(), text.char_indices());
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &text[at + 1..]),
            '\\' => match chars.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, c @ ('\\' | '"'))) => value.push(c),
                other => panic!("an escape of {other:?}"),
            },
            c => value.push(c),
        }
    }
    panic!("a value without an end")
}

fn written(stats: &PoolStats, labels: &[(&str, &str)]) -> Vec<Sample> {
    let mut text = String::new();
    stats.write_prometheus(&mut text, labels).unwrap();
    read(&text)
}

/// The sum of the samples of a name that have the label.
fn sum(samples: &[Sample], name: &str, label: Option<(&str, &str)>) -> f64 {
    let has = |labels: &BTreeMap<String, String>| {
        label.is_none_or(|(name, value)| labels.get(name).is_some_and(|other| other == value))
    };
    let samples = samples
        .iter()
        .filter(|(other, labels, _)| other == name && has(labels));
    samples.map(|(.., value)| value).sum()
}

#[test]
fn the_text_has_the_figures_of_the_stats() {
    on_pool_with(
        |builder| builder.timing(Timing::All),
        |pool| {
            (0..500).for_each(|_| pool.spawn(|| ()));
            pool.spawn(|| std::panic::resume_unwind(Box::new("quiet")));
            pool.wait_idle();
            let stats = pool.stats();
            let samples = written(&stats, &[("pool", "main")]);
            let outcome = |value| sum(&samples, "heist_tasks_total", Some(("outcome", value)));
            assert_eq!((outcome("completed"), outcome("panicked")), (500.0, 1.0));
            assert_eq!((outcome("timed_out"), outcome("cancelled")), (0.0, 0.0));
            assert_eq!(sum(&samples, "heist_tasks_submitted_total", None), 501.0);
            assert_eq!(sum(&samples, "heist_workers", None), stats.threads as f64);
            for name in ["heist_queue_wait_seconds", "heist_run_time_seconds"] {
                let bucket = format!("{name}_bucket");
                assert_eq!(sum(&samples, &format!("{name}_count"), None), 501.0);
                assert_eq!(sum(&samples, &bucket, Some(("le", "+Inf"))), 501.0);
                let counts = samples.iter().filter(|(other, ..)| *other == bucket);
                let counts: Vec<f64> = counts.map(|(.., value)| *value).collect();
                assert!(counts.is_sorted(), "{counts:?}");
            }
            let executed: u64 = stats.workers.iter().map(|worker| worker.executed).sum();
            assert_eq!(sum(&samples, "heist_executed_total", None), executed as f64);
            assert!(
                samples
                    .iter()
                    .all(|(_, labels, _)| labels["pool"] == "main")
            );
        },
    );
}

#[test]
fn hostile_labels_break_nothing() {
    on_pool(|pool| {
        pool.spawn(|| ());
        let stats = pool.stats();
        let long = "x\\\"\n".repeat(1_000);
        let hostile = [
            "",
            "\"",
            "\\",
            "\n",
            "\\n",
            "a\"} 7\nheist_steals_total 9",
            "\0",
            "\u{85}\r\t",
            "}{,=",
            "<script>",
            "Ünïcode 🦀",
            &long,
        ];
        for value in hostile {
            for (_, labels, _) in written(&stats, &[("pool", value)]) {
                assert_eq!(labels["pool"], value);
            }
        }
        let names: Vec<_> = hostile.iter().map(|&name| (name, "v")).collect();
        let own = [
            "le", "worker", "outcome", "state", "__name__", "9", "pool", "pool",
        ];
        let names: Vec<_> = names
            .into_iter()
            .chain(own.map(|name| (name, "v")))
            .collect();
        for (name, labels, _) in written(&stats, &names) {
            let users = labels.values().filter(|value| *value == "v").count();
            assert_eq!(users, names.len(), "{name}");
            assert!(labels.keys().all(|name| !name.starts_with("__")));
        }
        // A megabyte.
        let longer = long.repeat(250);
        let mut text = String::new();
        let labels = [("pool", longer.as_str()), (&long, "v")];
        stats.write_prometheus(&mut text, &labels).unwrap();
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        assert_eq!(samples.count(), written(&stats, &[]).len());
        assert_eq!(
            written(&stats, &[]).len(),
            written(&stats, &[("a", "b")]).len()
        );
    });
}

#[test]
fn an_error_of_the_writer_is_returned() {
    struct Full;
    impl std::fmt::Write for Full {
        fn write_str(&mut self, _: &str) -> std::fmt::Result {
            Err(std::fmt::Error)
        }
    }
    on_pool(|pool| assert!(pool.stats().write_prometheus(&mut Full, &[]).is_err()));
}
