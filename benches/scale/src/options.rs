//! The command line.

use crate::sim::{Policy, Preset};
use crate::workload::Shape;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// How heist scales: probes on this machine, and a simulation of machines with up to 512 cores.
#[derive(Parser, Debug)]
pub struct Options {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Measures real pools on this machine: the cost of a vain search, ramp-up, membarriers by guests, forces per steal.
    Probes(ProbeOptions),
    /// Simulates fork-join programs on machines with many cores.
    Simulate(SimulateOptions),
    /// Counts, by simulation, how often each kind of cache line moves between cores.
    Lines(SimulateOptions),
}

/// Options of the probes.
#[derive(Args, Debug)]
pub struct ProbeOptions {
    /// Repetitions of each measurement; the table shows their minimum and median.
    #[arg(long, default_value_t = 15, value_parser = positive)]
    pub reps: usize,
    /// The pool sizes, in place of each probe's own.
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = positive)]
    pub threads: Option<Vec<usize>>,
    /// Only the probes whose name contains this: search, ramp, guests, forces.
    #[arg(long, value_name = "SUBSTRING")]
    pub only: Option<String>,
    /// A row of the ramp-up ends after this time, with the repetitions that it has.
    #[arg(long, default_value_t = 20, value_name = "SECONDS")]
    pub limit: u64,
}

/// Options of the simulation.
#[derive(Args, Clone, Debug)]
pub struct SimulateOptions {
    /// The numbers of workers.
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = positive, default_value = "2,8,32,64,128,256,512")]
    pub threads: Vec<usize>,
    /// A base (heist, before) and the options that are switched on beside it, such as `before+check+look`. The README lists the options.
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = Policy::parse, default_value = "before,heist")]
    pub policies: Vec<Policy>,
    /// The time that each worker has to work at best, in milliseconds.
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "10")]
    pub per_worker_ms: Vec<f64>,
    /// The mean time of a leaf, in microseconds.
    #[arg(long, default_value_t = 2.0)]
    pub leaf_us: f64,
    /// The shape of the tree.
    #[arg(long, value_enum, default_value = "random")]
    pub shape: Shape,
    /// Each node of the tree is a task of one scope, in place of a fork.
    #[arg(long)]
    pub scope: bool,
    /// How often the program runs. Of several runs the first is left out.
    #[arg(long, default_value_t = 1, value_parser = positive)]
    pub bursts: usize,
    /// The serial time between two runs, in microseconds.
    #[arg(long, default_value_t = 100.0)]
    pub gap_us: f64,
    /// The costs.
    #[arg(long, value_enum, default_value = "bare")]
    pub preset: Preset,
    /// The spares that may be started [default: as many as workers].
    #[arg(long)]
    pub spares: Option<usize>,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// How many seeds are simulated; the table shows means.
    #[arg(long, default_value_t = 1)]
    pub seeds: u64,
    /// Also draws charts of efficiency and ramp-up into this folder.
    #[arg(long, value_name = "DIR")]
    pub svg: Option<PathBuf>,
    /// Runs the programs on real pools of 2 threads as well, and compares the counts.
    #[arg(long)]
    pub validate: bool,
}

fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count) if count > 0 => Ok(count),
        Ok(_) => Err("must be at least 1".to_string()),
        Err(error) => Err(format!("{error}")),
    }
}
