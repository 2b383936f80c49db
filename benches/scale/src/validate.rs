//! Real pools of 2 threads against the simulation, on the same trees.

use crate::real;
use crate::sim::{Costs, Policy, Setup, Tally, simulate};
use crate::table::{self, figure};
use crate::workload::{Ns, Shape, Workload};
use std::time::{Duration, Instant};

/// How many times each program is simulated.
const RUNS: usize = 60;

/// How many real runs count: those with the shortest times, since the others lost their core to other programs for a while.
const QUIET_RUNS: usize = 20;

/// A real run is quiet if it took less than this many percent of its ideal time.
const QUIET_PERCENT: u128 = 115;

/// For how long a program is run again until there are enough quiet runs.
const PATIENCE: Duration = Duration::from_secs(10);

/// The serial time between two runs: the pool's threads park.
const GAP: Duration = Duration::from_millis(2);

/// What is counted in both.
#[derive(Clone, Copy, Default)]
struct Counts([f64; 6]);

const NAMES: [&str; 6] = [
    "span us", "steals", "forces", "requests", "wake-ups", "barriers",
];

/// Runs the programs and prints the comparison.
pub fn run(costs: Costs, policies: &[Policy], seed: u64) {
    println!(
        "\nmeans of the {QUIET_RUNS} quietest of {RUNS} real runs, and of {RUNS} simulated ones, 2 threads:"
    );
    let mut head = vec!["leaf, time", "what", "real"];
    head.extend(policies.iter().map(|policy| policy.name.as_str()));
    let mut rows = Vec::new();
    for leaf in [1_000, 2_000, 20_000] {
        for time in [1_000_000, 10_000_000] {
            let workload = Workload::of(Shape::Random, 2, time, leaf);
            let mut all = vec![counted(workload, seed)];
            all.extend(
                policies
                    .iter()
                    .map(|policy| simulated(workload, costs, policy.clone(), seed)),
            );
            for (index, name) in NAMES.iter().enumerate() {
                let program = format!("{} us, {} ms", leaf / 1_000, time / 1_000_000);
                let mut row = vec![program, (*name).to_owned()];
                row.extend(all.iter().map(|counts| figure(counts.0[index])));
                rows.push(row);
            }
        }
    }
    table::print(&head, &rows);
}

fn counted(workload: Workload, seed: u64) -> Counts {
    let pool = real::pool(2);
    let ideal = Duration::from_nanos(u64::from(workload.leaves) * workload.leaf / 2);
    let is_quiet = |run: &&Counts| run.0[0] * 1e5 < (ideal.as_nanos() * QUIET_PERCENT) as f64;
    let begin = Instant::now();
    let mut runs: Vec<Counts> = Vec::new();
    while runs.len() < QUIET_RUNS
        || (begin.elapsed() < PATIENCE && runs.iter().filter(is_quiet).count() < QUIET_RUNS)
    {
        std::thread::sleep(GAP);
        let seed = seed + 77 * runs.len() as u64;
        let events = real::events_of(&pool, || real::run(&workload, seed));
        runs.push(Counts([
            events.span.as_nanos() as f64 / 1e3,
            events.steals as f64,
            events.forces as f64,
            events.requests as f64,
            events.wakeups as f64,
            events.barriers as f64,
        ]));
    }
    runs.sort_by(|a, b| a.0[0].total_cmp(&b.0[0]));
    mean(&runs[..QUIET_RUNS])
}

fn simulated(workload: Workload, costs: Costs, policy: Policy, seed: u64) -> Counts {
    let tallies = simulate(Setup {
        threads: 2,
        spares: 0,
        workload,
        // Of the last one the tally does not show how threads park after it.
        bursts: RUNS + 1,
        gap: GAP.as_nanos() as Ns,
        costs,
        in_scope: false,
        policy,
        seed,
    });
    let counts = |tally: &Tally| {
        Counts([
            tally.span as f64 / 1e3,
            tally.steals as f64,
            tally.forces as f64,
            tally.answers as f64,
            tally.wakeups as f64,
            tally.announcements as f64,
        ])
    };
    mean(&tallies[..RUNS].iter().map(counts).collect::<Vec<_>>())
}

fn mean(runs: &[Counts]) -> Counts {
    let mut mean = Counts::default();
    for run in runs {
        for (sum, figure) in mean.0.iter_mut().zip(run.0) {
            *sum += figure / runs.len() as f64;
        }
    }
    mean
}
