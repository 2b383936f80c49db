//! How heist scales: probes of real pools on this machine, and a simulation of machines with up to 512 cores.

mod chart;
mod lines;
mod measured;
mod options;
mod probes;
mod random;
mod real;
mod samples;
mod sim;
mod simulate;
mod table;
mod validate;
mod workload;

use clap::Parser;
use options::{Command, Options, SimulateOptions};
use sim::{Costs, Preset};
use std::process::ExitCode;

fn main() -> ExitCode {
    match Options::parse().command {
        Command::Probes(options) => probes::run(&options),
        Command::Simulate(options) => return run_simulation(&options),
        Command::Lines(options) => {
            let costs = costs(options.preset);
            for &per_worker_ms in &options.per_worker_ms {
                lines::print(
                    per_worker_ms,
                    &simulate::points(&options, costs, per_worker_ms),
                );
            }
        }
    }
    ExitCode::SUCCESS
}

fn costs(preset: Preset) -> Costs {
    match preset {
        Preset::Bare => Costs::bare(),
        Preset::Vm => Costs::vm(),
        Preset::Measured => Costs::measured(measured::measure()),
    }
}

fn run_simulation(options: &SimulateOptions) -> ExitCode {
    let costs = costs(options.preset);
    simulate::print_costs(options, &costs);
    if options.validate {
        validate::run(costs, &options.policies, options.seed);
        return ExitCode::SUCCESS;
    }
    for &per_worker_ms in &options.per_worker_ms {
        let points = simulate::points(options, costs, per_worker_ms);
        simulate::print_points(options, per_worker_ms, &points);
        let Some(folder) = &options.svg else {
            continue;
        };
        let program = format!("{:?} tree, leaves of {} us", options.shape, options.leaf_us);
        if let Err(error) = chart::draw(folder, &program, per_worker_ms, &points) {
            eprintln!("cannot draw into {}: {error}", folder.display());
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
