//! One table in under a minute: `cargo run --release --example throughput`
//!
//! Five jobs, each done serially, by a naive pool (one queue behind one lock) and by heist. `naive` is that pool,
//! `kernels` are the jobs. `measure` alternates between the three, so a busy machine slows all of them alike.
//! `table` prints, and `chart` draws. With `--trace FILE`, `trace` writes what heist's pool did. The numbers to quote come from the package's benches. This is for a first
//! look at one's own machine.

mod chart;
mod kernels;
mod measure;
mod naive;
mod table;
#[path = "../trace.rs"]
mod trace;

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use heist::ThreadPool;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use measure::{Plan, Report};
use naive::NaivePool;

/// Compares serial code, a naive thread pool and heist on five small jobs.
#[derive(Debug, Parser)]
#[command(name = "throughput")]
struct Options {
    /// Threads of each pool; 0: HEIST_NUM_THREADS if set, else one for each processor
    #[arg(long, value_name = "N", default_value_t = 0)]
    threads: usize,

    /// Few rounds: a few seconds in all
    #[arg(long)]
    quick: bool,

    /// Draw the ratios as a bar chart into this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,

    /// Write what heist's pool did to FILE: a page for .html, stacks for .folded, or else a trace for ui.perfetto.dev
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(advice) => {
            // If this write fails, there is nobody to tell, and `eprintln!` would panic.
            let _ = writeln!(io::stderr(), "throughput: {advice}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), String> {
    // The file is created first, so that an error does not come after a minute of measuring.
    let drawing = options.svg.as_deref().map(create).transpose()?;
    let builder = ThreadPool::builder().num_threads(options.threads);
    let pool = trace::recorded(builder, options.trace.as_deref())
        .build()
        .map_err(|error| format!("cannot build heist's pool: {error}; try fewer --threads"))?;
    let threads = pool.num_threads();
    let naive = NaivePool::new(threads)
        .map_err(|error| format!("cannot start {threads} threads: {error}; try fewer --threads"))?;

    let kernels = kernels::all();
    let plan = if options.quick {
        Plan {
            rounds: 5,
            at_most: Duration::from_secs(5),
        }
    } else {
        Plan {
            rounds: 15,
            at_most: Duration::from_secs(40),
        }
    };
    let bar = progress_bar(kernels.len() * (plan.rounds + 1));
    let report = measure::measure(&kernels, &naive, &pool, &plan, || bar.inc(1));
    bar.finish_and_clear();

    print(&report, &pool)?;
    trace::write(&pool, options.trace.as_deref()).map_err(|error| error.to_string())?;
    match (drawing, &options.svg) {
        (Some(mut file), Some(path)) => file
            .write_all(chart::svg(&report).as_bytes())
            .map_err(|error| cannot_write(path, &error)),
        _ => Ok(()),
    }
}

/// Prints the table, then the statistics of heist's pool. A reader that closes the output is no failure.
fn print(report: &Report, pool: &ThreadPool) -> Result<(), String> {
    let text = format!(
        "{}\nheist's own counts:\n{}\n",
        table::text(report),
        pool.stats()
    );
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(format!("cannot write the table: {error}"))
        }
        _ => Ok(()),
    }
}

fn create(path: &Path) -> Result<File, String> {
    File::create(path).map_err(|error| cannot_write(path, &error))
}

fn cannot_write(path: &Path, error: &io::Error) -> String {
    format!(
        "cannot write {}: {error}; name another file after --svg",
        path.display()
    )
}

/// A progress bar that moves between measurements only, so drawing it does not affect them.
fn progress_bar(steps: usize) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("measuring {wide_bar} {elapsed}, {eta} left");
    ProgressBar::with_draw_target(Some(steps as u64), ProgressDrawTarget::stderr())
        .with_style(style.expect("the template is well formed"))
}
