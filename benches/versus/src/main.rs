//! heist against its peers in one process: fork-join, scopes, maps, entering a pool, tasks with handles,
//! streams, and what a pool costs at rest.
//!
//! Every contestant runs the same kernel (`benches/common`). Repetitions alternate between the contestants, so a machine
//! that slows down slows all of them. Each row prints the minimum and the median of each contestant. A table of the
//! targets and the measured values follows at the end.

#[path = "../../common/mod.rs"]
mod common;

mod allocations;
mod contest;
mod contestants;
mod fact_names;
mod facts;
mod options;
mod report;
mod results;
mod rows;
mod targets;

use clap::Parser;
use contest::Bench;
use options::Options;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: allocations::Counting = allocations::Counting;

fn main() -> ExitCode {
    let mut bench = Bench::new(Options::parse());
    report::print_preamble(bench.repetitions(), bench.is_quick());
    rows::run_all(&mut bench);
    facts::run_all(&mut bench);
    let verdicts = targets::judge(&bench.results);
    report::print_verdicts(&verdicts, bench.is_quick());
    if let Some(path) = bench.json_path()
        && let Err(error) = report::write_json(path, &bench.results, &verdicts)
    {
        eprintln!("cannot write {}: {error}", path.display());
        return ExitCode::FAILURE;
    }
    if bench.results.is_empty() {
        eprintln!("no row or fact has a name that contains what --only says");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
