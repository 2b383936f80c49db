//! heist against its peers in one process: fork-join, scopes, maps, entering a pool, tasks with handles,
//! streams, and what a pool costs at rest.
//!
//! Every contestant runs the same kernel (`benches/common`), one repetition after the other in turn, so that a
//! machine that slows down slows all of them. Each row prints the minimum and the median of each contestant; at the
//! end stands a table of the targets with what was measured.

#[path = "../../common/mod.rs"]
mod common;

mod allocations;
mod contest;
mod contestants;
mod facts;
mod report;
mod rows;
mod targets;

use clap::Parser;
use contest::Bench;
use std::path::PathBuf;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: allocations::Counting = allocations::Counting;

/// heist against rayon, chili, tokio, pools on a crossbeam deque and channel, a naive pool and, where built in, forte.
#[derive(Parser, Debug)]
pub struct Options {
    /// Small inputs and few repetitions: under a minute. The figures are rough.
    #[arg(long)]
    quick: bool,

    /// Only the rows and facts whose name contains this.
    #[arg(long, value_name = "SUBSTRING")]
    only: Option<String>,

    /// The thread counts, for all rows that can run at any. Otherwise each row has its own, among 1, 2 and 8.
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = parse_count)]
    threads: Option<Vec<usize>>,

    /// Timed repetitions of each contestant [default: 11, with --quick 5].
    #[arg(long, value_parser = parse_count)]
    reps: Option<usize>,

    /// Also write every sample to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

fn parse_count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count) if count > 0 => Ok(count),
        Ok(_) => Err("must be at least 1".to_string()),
        Err(error) => Err(format!("{error}")),
    }
}

fn main() -> ExitCode {
    let mut bench = Bench::new(Options::parse());
    report::print_preamble(&bench);
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
