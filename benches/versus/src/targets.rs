//! The targets of heist, and whether they are met.

use crate::fact_names as facts;
use crate::results::{Results, RowResult, Samples};
use serde::Serialize;

/// A target and what was measured.
#[derive(Serialize)]
pub struct Verdict {
    /// The row or fact.
    pub row: String,
    /// What is compared.
    pub what: String,
    /// The largest value that meets the target.
    pub limit: f64,
    /// The measured value.
    pub measured: f64,
    /// Whether it is within the limit.
    pub is_met: bool,
}

/// What heist's figure is compared with.
#[derive(Clone, Copy)]
enum Against {
    /// A contestant.
    One(&'static str),
    /// The best of these contestants, among those that took part.
    Best(&'static [&'static str]),
    /// The least that is possible.
    Ideal,
    /// Nothing: the limit is for the figure itself.
    Nothing,
}

/// A figure of the samples.
#[derive(Clone, Copy)]
enum Statistic {
    Min,
    Median,
    P99,
}

/// One target of a row: the row, the statistic, what it is compared with, and the limit.
type Target = (&'static str, Statistic, Against, f64);

use Against::{Best, Ideal, Nothing, One};
use Statistic::{Median, Min, P99};

/// The fast peers. The best of them is the one to beat.
const PEERS: Against = Best(&["rayon", "chili", "forte"]);

/// The peers that take single tasks.
const EXECUTORS: Against = Best(&["rayon", "channel", "tokio", "naive", "forte"]);

/// The peers that poll futures.
const ASYNC: Against = Best(&["tokio", "async-executor", "futures"]);

const TARGETS: &[Target] = &[
    ("fib/1", Min, One("serial"), 2.0),
    ("fib/1", Min, One("rayon"), 0.30),
    ("fib/2", Min, One("serial"), 1.05),
    ("fib/2", Min, One("rayon"), 0.28),
    ("fib/8", Min, One("serial"), 1.15),
    ("flat/1", Min, One("chili"), 0.75),
    ("flat/1", Min, One("rayon"), 0.20),
    ("flat/2", Min, One("chili"), 0.75),
    ("flat/2", Min, One("rayon"), 0.20),
    ("uts-geometric/1", Min, One("rayon"), 0.60),
    ("uts-geometric/2", Median, PEERS, 1.0),
    ("uts-binomial/1", Min, One("rayon"), 0.60),
    ("uts-binomial/2", Median, PEERS, 1.0),
    ("integrate/1", Min, One("rayon"), 0.60),
    ("integrate/2", Median, PEERS, 1.0),
    ("queens/1", Min, One("rayon"), 0.60),
    ("queens/2", Median, PEERS, 1.0),
    ("tree-1k-right/1", Min, One("serial"), 2.2),
    ("tree-1k-right/2", Min, One("serial"), 1.1),
    ("tree-1M-right/1", Min, One("serial"), 2.2),
    ("tree-1M-right/1", Min, One("chili"), 0.40),
    ("tree-1M-right/2", Min, One("serial"), 1.1),
    ("tree-1M-right/2", Min, One("chili"), 0.40),
    ("tree-16M-right/1", Min, One("serial"), 2.2),
    ("tree-16M-right/2", Min, One("serial"), 1.1),
    ("tree-1k-left/1", Min, One("rayon"), 0.65),
    ("tree-1k-left/2", Min, One("rayon"), 0.65),
    ("tree-1M-left/1", Min, One("rayon"), 0.65),
    ("tree-1M-left/2", Min, One("rayon"), 0.65),
    ("tree-16M-left/1", Min, One("rayon"), 0.65),
    ("tree-16M-left/2", Min, One("rayon"), 0.65),
    ("coarse-c0-cold/2", Min, Ideal, 1.05),
    ("coarse-c0-cold/2", Median, Ideal, 1.10),
    ("coarse-c0-warm/2", Min, Ideal, 1.05),
    ("coarse-c0-warm/2", Median, Ideal, 1.10),
    ("coarse-c1-cold/2", Min, Ideal, 1.05),
    ("coarse-c1-cold/2", Median, Ideal, 1.10),
    ("coarse-c1-warm/2", Min, Ideal, 1.05),
    ("coarse-c1-warm/2", Median, Ideal, 1.10),
    ("coarse-c2-cold/2", Min, Ideal, 1.05),
    ("coarse-c2-cold/2", Median, Ideal, 1.10),
    ("coarse-c2-warm/2", Min, Ideal, 1.05),
    ("coarse-c2-warm/2", Median, Ideal, 1.10),
    ("coarse-c3-cold/2", Min, Ideal, 1.05),
    ("coarse-c3-cold/2", Median, Ideal, 1.10),
    ("coarse-c3-warm/2", Min, Ideal, 1.05),
    ("coarse-c3-warm/2", Median, Ideal, 1.10),
    ("scope-queens/1", Min, One("rayon"), 0.60),
    ("scope-queens/2", Min, One("rayon"), 0.60),
    ("scope-tree/1", Min, One("rayon"), 0.60),
    ("scope-tree/2", Min, One("rayon"), 0.60),
    ("enter/2", Min, Nothing, 0.3),
    ("enter-map/2", Min, One("serial"), 1.5),
    ("map-cheap/1", Min, One("serial"), 1.03),
    ("map-cheap/2", Median, One("rayon"), 1.0),
    ("map-heavy-random/2", Min, Ideal, 1.03),
    ("map-heavy-random/2", Median, Ideal, 1.03),
    ("map-heavy-clustered/2", Min, Ideal, 1.03),
    ("map-heavy-clustered/2", Median, Ideal, 1.03),
    ("submit/2", Median, One("rayon"), 0.50),
    ("submit/2", Median, One("channel"), 0.60),
    ("submit/2", Median, One("forte"), 0.70),
    ("submit/2", Median, One("tokio"), 0.25),
    ("submit/2", Median, One("naive"), 0.20),
    ("submit/8", Median, EXECUTORS, 1.0),
    ("submit-from-2/2", Median, EXECUTORS, 1.0),
    ("submit-from-4/2", Median, EXECUTORS, 1.0),
    ("submit-tree/2", Median, One("rayon"), 0.50),
    ("submit-tree/2", Median, One("tokio"), 0.10),
    ("round-trip-hot/2", Median, Nothing, 1.0),
    ("round-trip-hot/2", P99, One("naive"), 1.0),
    ("round-trip-parked/2", Median, One("naive"), 1.0),
    ("round-trip-parked/2", P99, One("naive"), 1.0),
    ("round-trip-busy/2", P99, One("rayon"), 1.0),
    ("as-completed/2", Median, One("joins"), 1.3),
    ("imap/2", Median, One("channels"), 0.70),
    ("pool-join/1", Min, One("rayon"), 1.0),
    ("pool-join/2", Min, One("rayon"), 1.0),
    ("pool-join/8", Min, One("rayon"), 1.0),
    ("pool-scope/1", Min, One("rayon"), 1.0),
    ("pool-scope/2", Min, One("rayon"), 1.0),
    ("pool-scope/8", Min, One("rayon"), 1.0),
    ("pool-map/1", Min, One("rayon"), 1.0),
    ("pool-map/2", Min, One("rayon"), 1.0),
    ("pool-map/8", Min, One("rayon"), 1.0),
    ("broadcast/2", Min, One("rayon"), 1.0),
    ("broadcast/8", Min, One("rayon"), 1.0),
    ("scope-fifo/1", Min, One("rayon"), 1.0),
    ("async-flat/2", Median, One("tokio"), 0.50),
    ("async-flat/2", Median, One("async-executor"), 0.80),
    ("async-flat-from-threads/2", Median, ASYNC, 1.0),
    ("async-flat-from-tasks/2", Median, ASYNC, 1.0),
    ("async-tree/2", Median, One("tokio"), 0.30),
    ("async-yield-1/2", Median, ASYNC, 1.0),
    ("async-yield-1k/2", Median, ASYNC, 1.0),
    ("async-ping/2", Median, ASYNC, 1.0),
    ("async-ring/2", Median, ASYNC, 1.0),
    ("async-ring-8/2", Median, ASYNC, 1.0),
    ("async-wake-parked/2", Median, One("tokio"), 1.0),
    ("async-wake-parked/2", P99, One("tokio"), 1.0),
    ("async-echo/2", P99, One("tokio1+rayon1"), 0.50),
    ("async-echo/2", P99, One("tokio2+rayon2"), 0.50),
    // 0.9 of the throughput.
    ("async-echo-map/2", Median, One("heist-alone"), 1.0 / 0.9),
    ("async-sleep-begin", Median, Nothing, 300.0),
    ("async-sleep-begin-ascending", Median, Nothing, 300.0),
    ("async-sleep-cancel", Median, Nothing, 300.0),
    ("async-sleep-cancel-ascending", Median, Nothing, 300.0),
    ("async-sleep-fire", Median, Nothing, 300.0),
    ("async-sleep-fire-ascending", Median, Nothing, 300.0),
    ("async-sleep-late", P99, Nothing, 1_000.0),
    ("async-blocking/2", Median, Nothing, 80.0),
    ("async-blocking-late/2", Median, Nothing, 80.0),
    ("async-limit/2", Median, Ideal, 1.05),
];

/// One target of a fact: the fact, what it counts, and the limit for heist's figure.
const FACT_TARGETS: &[(&str, &str, f64)] = &[
    (
        facts::ALLOCATIONS_PER_JOIN,
        "heap allocations per join",
        0.0,
    ),
    (
        facts::ALLOCATIONS_PER_SPAWN,
        "heap allocations per spawn",
        // One allocation for each task. The rest are growing queues and the scope itself.
        1.01,
    ),
    (
        facts::ALLOCATIONS_PER_SUBMIT,
        "heap allocations per submit",
        // One allocation for each task. The rest are the queue and the pool's threads.
        1.03,
    ),
    (facts::TASK_BLOCK_8, "bytes beyond a closure of 8", 64.0),
    (facts::TASK_BLOCK_32, "bytes beyond a closure of 32", 64.0),
    (facts::TASK_BLOCK_64, "bytes beyond a closure of 64", 64.0),
    (
        facts::ASYNC_ALLOCATIONS,
        "heap allocations per future",
        // One allocation for each future. The rest are the queue and the pool's threads.
        1.03,
    ),
    (
        facts::ASYNC_WAIT_ALLOCATIONS,
        "heap allocations per future",
        1.03,
    ),
    (facts::ASYNC_BLOCK_8, "bytes beyond a future", 96.0),
    (facts::ASYNC_BLOCK_64, "bytes beyond a future", 96.0),
    (facts::ASYNC_SLEEP_BYTES, "bytes per pending sleep", 160.0),
    (facts::STREAM_ALIVE, "items alive, of a window of 8", 8.0),
    (facts::UNUSED_POOL_THREADS, "threads of an unused pool", 0.0),
    (facts::IDLE_CPU, "CPU of an idle pool, ms/s", 0.1),
];

/// Judges the targets of everything that was measured.
pub fn judge(results: &Results) -> Vec<Verdict> {
    let rows = TARGETS.iter().filter_map(|target| {
        let row = results.row(target.0)?;
        judge_row(row, target)
    });
    let busy = results.rows.iter().flat_map(|row| {
        let targets = busy_targets(&row.name);
        targets
            .into_iter()
            .filter_map(|(against, limit)| judge_row(row, &("", Min, against, limit)))
    });
    let facts = FACT_TARGETS.iter().filter_map(|(fact, what, limit)| {
        let measured = results.fact(fact, "heist")?;
        Some(Verdict {
            row: (*fact).to_string(),
            what: (*what).to_string(),
            limit: *limit,
            measured,
            is_met: measured <= *limit,
        })
    });
    rows.chain(busy).chain(facts).collect()
}

/// The targets of a row of `busy`, against the ideal and against rayon. Other rows have none here.
fn busy_targets(row: &str) -> Vec<(Against, f64)> {
    let Some((name, threads)) = row
        .strip_prefix("busy-")
        .and_then(|row| row.split_once('/'))
    else {
        return Vec::new();
    };
    let ideal = match (name, threads) {
        ("leaf-rest" | "chains", "128") => 1.0 / 0.85,
        ("last-forks" | "last-scope" | "last-chain", _) => 1.0 / 0.9,
        // The ideal includes the longest leaf.
        ("map-long-first" | "map-long-random" | "map-long-last", _) => 1.1,
        _ => 1.0 / 0.95,
    };
    vec![(Ideal, ideal), (One("rayon"), 1.03)]
}

fn judge_row(row: &RowResult, (_, statistic, against, limit): &Target) -> Option<Verdict> {
    let (of, statistic_name): (fn(&Samples) -> f64, _) = match statistic {
        Min => (Samples::min, "minimum"),
        Median => (Samples::median, "median"),
        P99 => (Samples::p99, "p99"),
    };
    let heist = of(row.contestant("heist")?);
    let (reference, what) = match against {
        One(name) => (of(row.contestant(name)?), format!("x {name}")),
        Best(names) => {
            let (best, name) = names
                .iter()
                .filter_map(|name| Some((of(row.contestant(name)?), name)))
                .min_by(|a, b| a.0.total_cmp(&b.0))?;
            (best, format!("x best peer ({name})"))
        }
        Ideal => (row.ideal?, "x ideal".to_string()),
        Nothing => (1.0, row.unit.to_string()),
    };
    let measured = heist / reference;
    Some(Verdict {
        row: row.name.clone(),
        what: format!("{statistic_name}, {what}"),
        limit: *limit,
        measured,
        is_met: measured <= *limit,
    })
}
