//! Finds duplicate files: `cargo run --release --example dupes -- PATH...`
//!
//! A real job on real input, in three parallel steps on one `ThreadPool`:
//!
//! 1. `walk` reads the directory trees by a recursive `scope`. Each directory is a `spawn`, and `map` looks at the
//!    entries of one directory, so one huge flat directory is no bottleneck;
//! 2. `groups` drops files of unique size, then of unique prefix, then of unique content, hashing by
//!    `map_init` with one read buffer for each thread, or with `--processes` in processes (`hashing`);
//! 3. `report` prints the groups, the largest waste first.
//!
//! The answer depends on the files alone, not on the number of threads or their timing:
//! `paths` gives the files their names after the walk, in a fixed order.
//!
//! With `--trace FILE`, `trace` writes what the threads did: a page if the name ends in `.html`.

mod groups;
pub mod hash;
mod hashing;
mod identity;
mod options;
mod paths;
mod progress;
mod report;
#[path = "../trace.rs"]
mod trace;
mod walk;

use std::fmt;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::process::ExitCode;

use clap::Parser;

pub use groups::Group;
pub use hashing::Pools;
pub use options::Options;
pub use progress::Progress;
pub use report::Findings;

fn main() -> ExitCode {
    // In a process of `--processes` this never returns.
    #[cfg(target_os = "linux")]
    heist::init();
    let options = Options::parse();
    // The stream is locked for each write only, since the progress bar writes to it too.
    let mut notes = io::stderr();
    let mut output = BufWriter::new(io::stdout().lock());
    match run(&options, &mut output, &mut notes) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // If this write fails, there is nobody to tell, and `eprintln!` would panic.
            let _ = writeln!(notes, "dupes: {failure}");
            failure.exit_code()
        }
    }
}

/// Runs the program. The result goes to `output`; notes and statistics go to `notes`.
///
/// If the reader of `output` closes it (`dupes | head`), the report ends early, and that is no failure.
///
/// # Errors
///
/// Returns a [`Failure`]. Files that cannot be read are no failure: they are reported, counted and skipped.
pub fn run(
    options: &Options,
    output: &mut dyn Write,
    notes: &mut dyn Write,
) -> Result<(), Failure> {
    options.check()?;
    let pools = Pools::new(options.threads, options.processes, options.trace.as_deref())?;
    let progress = Progress::new(!options.quiet && io::stderr().is_terminal());
    let findings = find(&pools, options, &progress);
    progress.finish();

    let printed = if options.json {
        report::json(&findings, output)
    } else {
        report::text(&findings, output)
    };
    match printed.and_then(|()| output.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            return Err(Failure::Output(error));
        }
        Err(_) | Ok(()) => {}
    }

    trace::write(&pools.threads, options.trace.as_deref()).map_err(Failure::Trace)?;
    // The answer is written, so a closed stderr is no reason to fail.
    let _ = report::skipped(&findings, notes);
    if !options.quiet && !options.json {
        let _ = writeln!(notes, "\n{}", pools.threads.stats());
        #[cfg(target_os = "linux")]
        if let Some(processes) = &pools.processes {
            let _ = writeln!(notes, "\n{}", heist::Backend::stats(processes));
        }
    }
    Ok(())
}

/// Looks for duplicates below `options.paths` on `pools`.
pub fn find(pools: &Pools, options: &Options, progress: &Progress) -> Findings {
    let tree = walk::walk(&pools.threads, &options.paths, options.follow, progress);
    let inventory = paths::name(tree);
    groups::find(pools, inventory, options, progress)
}

/// Why the program ended without an answer.
#[derive(Debug)]
pub enum Failure {
    /// The command line cannot be carried out. The text says what to change.
    Usage(String),
    /// The pool could not be built.
    Pool(String),
    /// The result could not be written.
    Output(io::Error),
    /// The trace could not be written.
    Trace(io::Error),
}

impl Failure {
    fn exit_code(&self) -> ExitCode {
        match self {
            Failure::Usage(_) => ExitCode::from(2),
            Failure::Pool(_) | Failure::Output(_) | Failure::Trace(_) => ExitCode::from(1),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Usage(advice) => f.write_str(advice),
            Failure::Trace(error) => error.fmt(f),
            Failure::Pool(reason) => {
                write!(
                    f,
                    "cannot build the thread pool: {reason}; try another --threads"
                )
            }
            Failure::Output(error) => {
                write!(
                    f,
                    "cannot write the result: {error}; is there room where it goes?"
                )
            }
        }
    }
}

impl std::error::Error for Failure {}
