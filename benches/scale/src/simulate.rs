//! The tables of the simulation.

use crate::options::SimulateOptions;
use crate::sim::{Costs, Policy, Setup, Tally, simulate};
use crate::table::{self, figure};
use crate::workload::{Ns, Workload};

/// The means over several runs of one program.
pub struct Point {
    /// The number of workers.
    pub threads: usize,
    /// The name of the policy.
    pub policy: String,
    /// The work, divided by the time that the workers had for it.
    pub efficiency: f64,
    /// Microseconds until half of the workers were busy. `None`: they never were.
    pub half_busy_us: Option<f64>,
    /// The runs.
    pub tallies: Vec<Tally>,
}

impl Point {
    /// The mean of a figure of the runs.
    pub fn mean(&self, figure: impl Fn(&Tally) -> f64) -> f64 {
        self.tallies.iter().map(figure).sum::<f64>() / self.tallies.len() as f64
    }
}

/// Simulates one policy at one number of workers.
pub fn point(
    options: &SimulateOptions,
    costs: Costs,
    threads: usize,
    policy: &Policy,
    per_worker_ms: f64,
) -> Point {
    let (leaf, time) = ((options.leaf_us * 1e3) as Ns, (per_worker_ms * 1e6) as Ns);
    let mut tallies = Vec::new();
    for seed in 0..options.seeds {
        let runs = simulate(Setup {
            threads,
            spares: options.spares.unwrap_or(threads),
            workload: Workload::of(options.shape, threads, time, leaf),
            bursts: options.bursts,
            gap: (options.gap_us * 1e3) as Ns,
            costs,
            in_scope: options.scope,
            policy: policy.clone(),
            seed: options.seed + seed,
        });
        // Of several bursts the first finds all threads parked.
        let skipped = usize::from(runs.len() > 1);
        tallies.extend_from_slice(&runs[skipped..]);
    }
    let busy: Option<Vec<Ns>> = tallies.iter().map(|tally| tally.half_busy).collect();
    let mut point = Point {
        threads,
        policy: policy.name.clone(),
        efficiency: 0.0,
        half_busy_us: busy.map(|all| all.iter().sum::<Ns>() as f64 / all.len() as f64 / 1e3),
        tallies,
    };
    point.efficiency = point.mean(|tally| tally.efficiency(threads));
    point
}

/// Simulates all that is asked for with this much work for each worker.
pub fn points(options: &SimulateOptions, costs: Costs, per_worker_ms: f64) -> Vec<Point> {
    let mut points = Vec::new();
    for &threads in &options.threads {
        for policy in &options.policies {
            points.push(point(options, costs, threads, policy, per_worker_ms));
        }
    }
    points
}

/// Prints what the costs are and where they come from.
pub fn print_costs(options: &SimulateOptions, costs: &Costs) {
    println!("Costs ({:?}), in ns:", options.preset);
    let rows = costs.table(options.preset);
    let rows: Vec<Vec<String>> = rows.into_iter().map(Vec::from).collect();
    table::print(&["operation", "ns", "origin"], &rows);
}

/// Prints the program and the table of its runs.
pub fn print_points(options: &SimulateOptions, per_worker_ms: f64, points: &[Point]) {
    println!(
        "\nsimulated: {:?} tree of {}, leaves of {} us, {per_worker_ms} ms a worker, seed {}",
        options.shape,
        if options.scope { "tasks" } else { "forks" },
        options.leaf_us,
        options.seed
    );
    let head = [
        "P policy",
        "efficiency",
        "half busy us",
        "forces",
        "failed",
        "barriers/s",
        "park barriers",
        "steals",
        "requests",
        "wake-ups",
        "parks",
        "bound",
        "conflicts",
        "probes/P",
    ];
    let row = |point: &Point| {
        let mean = |count: fn(&Tally) -> u64| figure(point.mean(|tally| count(tally) as f64));
        vec![
            format!("{} {}", point.threads, point.policy),
            format!("{:.3}", point.efficiency),
            point.half_busy_us.map_or("never".to_owned(), figure),
            mean(|tally| tally.forces),
            mean(|tally| tally.failed_forces),
            figure(point.mean(Tally::barriers_per_second)),
            mean(|tally| tally.announcements),
            mean(|tally| tally.steals),
            mean(|tally| tally.answers),
            mean(|tally| tally.wakeups),
            mean(|tally| tally.parks),
            mean(|tally| tally.bound_parks),
            mean(|tally| tally.conflicts),
            figure(point.mean(|tally| tally.probes as f64) / point.threads as f64),
        ]
    };
    table::print(&head, &points.iter().map(row).collect::<Vec<_>>());
}
