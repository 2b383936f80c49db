//! Counts the words of all text files below a directory: `cargo run --release --example pages -- DIRECTORY`.
//!
//! Each file is a task. `HEIST_EXECUTOR=threads://2` and `HEIST_EXECUTOR=processes://2` choose where the tasks run, and the output is the same: the program knows only a
//! `dyn Backend`. With `--features nats`, `HEIST_EXECUTOR=nats://127.0.0.1:4222/pages` is a cluster, whose workers are this program with `--worker`;
//! they read the files themselves, so they need the same ones. In processes, a file that crashes its reader costs one line of the report. A file whose first line is `%CRASH` stands for such a file.
//!
//! With `--executor threads:// --trace FILE`, `trace` writes what the threads did: a page if the name ends in `.html`.

mod report;
#[path = "../trace.rs"]
mod trace;
mod words;

use std::fmt;
use std::fs;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use heist::{Backend, Executor, ThreadPool};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

pub use report::Report;

/// Counts the words of text files.
#[derive(Clone, Debug, Parser)]
#[command(name = "pages")]
pub struct Options {
    /// The directory that is searched with all below
    #[arg(value_name = "DIRECTORY", default_value = ".")]
    pub directory: PathBuf,

    /// Where the tasks run: threads://N, processes://N or nats://HOST:PORT/QUEUE
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "HEIST_EXECUTOR",
        default_value = "processes://"
    )]
    pub executor: String,

    /// Write what the threads of threads://N did to FILE: a page for .html, stacks for .folded, or else a trace for ui.perfetto.dev
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,

    /// Show neither progress nor statistics
    #[arg(long)]
    pub quiet: bool,

    /// Run tasks of the cluster, until a SIGTERM
    #[cfg(feature = "nats")]
    #[arg(long)]
    pub worker: bool,
}

#[heist::main]
fn main() -> ExitCode {
    let options = Options::parse();
    #[cfg(feature = "nats")]
    if options.worker {
        return match work(&options.executor) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("pages: {error}");
                ExitCode::FAILURE
            }
        };
    }
    let mut output = BufWriter::new(io::stdout().lock());
    match run(&options, &mut output, &mut io::stderr()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("pages: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Runs tasks of a cluster. Each is isolated, so that a file that crashes its reader costs one line of the report.
#[cfg(feature = "nats")]
fn work(address: &str) -> Result<(), heist::BuildError> {
    let worker = heist::nats::Worker::connect(address)?;
    worker
        .isolate(true)
        .version(env!("CARGO_PKG_VERSION"))
        .run()
}

/// Runs the program. The report goes to `output`, files without a result and statistics go to `notes`.
///
/// # Errors
///
/// Returns a [`Failure`]. A file that cannot be read, or that crashes its process, is no failure.
pub fn run(
    options: &Options,
    output: &mut dyn Write,
    notes: &mut dyn Write,
) -> Result<(), Failure> {
    let (executor, traced) = open(options)?;
    let files = files(&options.directory)
        .map_err(|error| Failure(format!("{}: {error}", options.directory.display())))?;
    let progress = progress(files.len(), !options.quiet && io::stderr().is_terminal());
    let report = count(&*executor, &files, &progress);
    progress.finish_and_clear();
    let written = report.write(output).and_then(|()| output.flush());
    if let Err(error) = written
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        return Err(Failure(format!("cannot write the report: {error}")));
    }
    if let Some(pool) = traced {
        trace::write(&pool, options.trace.as_deref())
            .map_err(|error| Failure(error.to_string()))?;
    }
    // The report is written, so a closed stderr is no reason to fail.
    let _ = report.write_skipped(notes);
    if !options.quiet {
        let _ = writeln!(notes, "\n{}", executor.stats());
    }
    Ok(())
}

/// Opens the back end. If there is a file for a trace, it is a pool of threads that is recorded, which is returned too.
fn open(options: &Options) -> Result<(Box<dyn Backend>, Option<ThreadPool>), Failure> {
    let failure = |error: heist::BuildError| Failure(error.to_string());
    if options.trace.is_none() {
        return Ok((heist::open(&options.executor).map_err(failure)?, None));
    }
    let threads = match options.executor.strip_prefix("threads://") {
        Some("") => Some(0),
        Some(threads) => threads.parse().ok(),
        None => None,
    };
    let Some(threads) = threads else {
        let advice = "--trace records threads: add --executor threads://4, with their number";
        return Err(Failure(advice.to_owned()));
    };
    let builder = ThreadPool::builder().num_threads(threads);
    let pool = trace::recorded(builder, options.trace.as_deref())
        .build()
        .map_err(failure)?;
    Ok((Box::new(pool.clone()), Some(pool)))
}

/// Counts the words of each file. The streams' chunks adapt to the files: many small ones travel together.
fn count(executor: &dyn Backend, files: &[PathBuf], progress: &ProgressBar) -> Report {
    let mut report = Report::default();
    let inputs = files.iter().map(|file| words::bytes(file));
    for (file, result) in files.iter().zip(executor.imap(words::read::TASK, inputs)) {
        match result {
            Ok(Ok(page)) => report.add(file, page),
            Ok(Err(reason)) => report.skip(file, reason),
            // The process is gone, and with it this file only.
            Err(error) => report.skip(file, error.to_string()),
        }
        progress.inc(1);
    }
    report
}

fn progress(files: usize, visible: bool) -> ProgressBar {
    let target = match visible {
        true => ProgressDrawTarget::stderr(),
        false => ProgressDrawTarget::hidden(),
    };
    let style = ProgressStyle::with_template(
        "reading {wide_bar} {human_pos}/{human_len} files, {eta} left",
    );
    let bar = ProgressBar::with_draw_target(Some(files as u64), target);
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// The text files below a directory, in a fixed order.
fn files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            let is_text = |path: &Path| {
                let extension = path.extension().and_then(|extension| extension.to_str());
                matches!(extension, Some("txt" | "md" | "rs"))
            };
            if kind.is_dir() {
                directories.push(entry.path());
            } else if kind.is_file() && is_text(&entry.path()) {
                files.push(entry.path());
            }
        }
    }
    files.sort_unstable();
    Ok(files)
}

/// Why the program ended without a report.
#[derive(Debug)]
pub struct Failure(String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}
