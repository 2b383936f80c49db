//! Six ways to use a pool of tasks, on real files: `cargo run --release --example patterns -- [--search TEXT] [--trace FILE] [PATH...]`
//!
//! 1. map and iterate: the words of each file, in order
//! 2. submit and forget: a task writes the sizes of all files to a temporary file, and nobody waits for it
//! 3. submit many and forget: tasks count the letters, and the program waits for the pool, not for each task
//! 4. unordered, as completed: the longest line so far, printed whenever a file has a longer one
//! 5. the first result wins: any file that contains the text
//! 6. futures, a few at a time: ten files from a slow server, at most four of them under way
//!
//! With `--trace FILE`, `trace` writes what the pool did: a page if the name ends in `.html`.

mod trace;

use std::collections::BTreeMap;
use std::env;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use heist::{AsyncPool, JoinHandle, TaskError, ThreadPool};
use indicatif::ProgressBar;

const USAGE: &str = "\
Counts, searches and compares the lines of text files, each in another way.

Usage: patterns [--search TEXT] [--trace FILE] [PATH...]

PATH           a file, or a directory whose files are taken, with all below; src if none is given
--search TEXT  what the last pattern searches for; unsafe if none is given
--trace FILE   where to write what the pool did: a page for .html, stacks for .folded, or else a trace for ui.perfetto.dev
";

/// The command line.
struct Options {
    paths: Vec<PathBuf>,
    search: String,
    trace: Option<PathBuf>,
}

impl Options {
    /// `None` if the command line asks for help, or has a mistake.
    fn read() -> Option<Self> {
        let mut options = Options {
            paths: Vec::new(),
            search: "unsafe".to_owned(),
            trace: None,
        };
        let mut arguments = env::args_os().skip(1);
        while let Some(argument) = arguments.next() {
            match argument.to_str() {
                Some("--search") => options.search = arguments.next()?.into_string().ok()?,
                Some("--trace") => options.trace = Some(arguments.next()?.into()),
                Some(option) if option.starts_with('-') => return None,
                _ => options.paths.push(argument.into()),
            }
        }
        if options.paths.is_empty() {
            options.paths.push("src".into());
        }
        Some(options)
    }
}

fn main() -> ExitCode {
    let Some(options) = Options::read() else {
        // If this write fails, there is nobody to tell, and `eprint!` would panic.
        let _ = io::stderr().write_all(USAGE.as_bytes());
        return ExitCode::from(2);
    };
    match run(&options, &mut io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "patterns: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options, output: &mut dyn Write) -> io::Result<()> {
    let mut files = Vec::new();
    for path in &options.paths {
        collect(path, &mut files)?;
    }
    files.sort();
    let trace = options.trace.as_deref();
    let pool = trace::recorded(ThreadPool::builder(), trace)
        .build()
        .map_err(io::Error::other)?;

    map_and_iterate(&pool, &files, output)?;
    submit_and_forget(&pool, &files);
    submit_many_and_forget(&pool, &files, output)?;
    as_completed(&pool, &files, output)?;
    first_wins(&pool, &files, &options.search, output)?;
    few_at_a_time(&pool, &files, output)?;

    // Forgotten tasks end before the program does, and count in the statistics.
    pool.wait_idle();
    let _ = writeln!(io::stderr(), "\n{}", pool.stats());
    trace::write(&pool, trace)
}

/// Results come in the order of the input, each as soon as it and all earlier ones are available.
fn map_and_iterate(pool: &ThreadPool, files: &[PathBuf], output: &mut dyn Write) -> io::Result<()> {
    let bar = if io::stderr().is_terminal() {
        ProgressBar::new(files.len() as u64)
    } else {
        ProgressBar::hidden()
    };
    let mut total = 0;
    let counts = pool.imap(files.to_vec(), |path| words(&path));
    for (path, count) in files.iter().zip(counts) {
        match count.map_err(io::Error::other)? {
            Ok(count) => {
                total += count;
                bar.suspend(|| writeln!(output, "{count:8} words in {}", path.display()))?;
            }
            Err(error) => bar.suspend(|| writeln!(output, "{}: {error}", path.display()))?,
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    writeln!(output, "{total:8} words in all files\n")
}

/// A side job, which ends at some time before the pool does.
fn submit_and_forget(pool: &ThreadPool, files: &[PathBuf]) {
    let files = files.to_vec();
    pool.spawn(move || {
        let sizes = files.iter().filter_map(|path| fs::metadata(path).ok());
        let sizes: Vec<String> = sizes.map(|data| data.len().to_string()).collect();
        let note =
            tempfile::tempfile().and_then(|mut file| file.write_all(sizes.join("\n").as_bytes()));
        if let Err(error) = note {
            let _ = writeln!(io::stderr(), "patterns: no note of the sizes: {error}");
        }
    });
}

/// The tasks add their results to shared counters. `wait_idle` returns when all are done.
fn submit_many_and_forget(
    pool: &ThreadPool,
    files: &[PathBuf],
    output: &mut dyn Write,
) -> io::Result<()> {
    let letters = Arc::new(Mutex::new(BTreeMap::new()));
    drop(pool.submit_many(files.iter().map(|path| {
        let (path, letters) = (path.clone(), Arc::clone(&letters));
        move || {
            let Ok(text) = fs::read(path) else { return };
            let mut counts = [0_u64; 26];
            for letter in text.iter().filter(|byte| byte.is_ascii_alphabetic()) {
                counts[usize::from(letter.to_ascii_lowercase() - b'a')] += 1;
            }
            let mut all = letters.lock().unwrap_or_else(PoisonError::into_inner);
            for (letter, count) in ('a'..='z').zip(counts) {
                *all.entry(letter).or_insert(0) += count;
            }
        }
    })));
    pool.wait_idle();
    let letters = letters.lock().unwrap_or_else(PoisonError::into_inner);
    let mut letters: Vec<_> = letters.iter().collect();
    letters.sort_by_key(|&(letter, count)| (std::cmp::Reverse(count), letter));
    for (letter, count) in letters.iter().take(3) {
        writeln!(output, "{count:8} times {letter}")?;
    }
    writeln!(output)
}

/// Results come in the order in which they are ready.
fn as_completed(pool: &ThreadPool, files: &[PathBuf], output: &mut dyn Write) -> io::Result<()> {
    let handles: Vec<_> = files
        .iter()
        .map(|path| {
            let path = path.clone();
            pool.submit(move || longest_line(&path))
        })
        .collect();
    let mut best = 0;
    for (index, outcome) in heist::as_completed(handles).timeout(Duration::from_secs(60)) {
        // Files that are not text were reported above.
        if let Ok(length) = outcome.map_err(io::Error::other)?
            && length > best
        {
            best = length;
            writeln!(
                output,
                "{length:8} characters in a line of {}",
                files[index].display()
            )?;
        }
    }
    writeln!(output)
}

/// The first success cancels the tasks that have not begun.
fn first_wins(
    pool: &ThreadPool,
    files: &[PathBuf],
    what: &str,
    output: &mut dyn Write,
) -> io::Result<()> {
    let handles = files.iter().map(|path| {
        let (path, what) = (path.clone(), what.to_owned());
        pool.submit(move || line_with(&path, &what))
    });
    match heist::first_ok(handles) {
        Ok((index, line)) => writeln!(
            output,
            "{what:?} is in line {line} of {}",
            files[index].display()
        ),
        Err(errors) => {
            let lost = |error: &&TaskError<io::Error>| matches!(error, TaskError::Lost(_));
            let lost = errors.iter().filter(lost).count();
            writeln!(
                output,
                "{what:?} is in none of {} files; {lost} tasks failed",
                errors.len()
            )
        }
    }
}

/// A future that waits takes no thread, so the limit is not the number of threads. The server is a pause of 50 ms before each file.
fn few_at_a_time(pool: &ThreadPool, files: &[PathBuf], output: &mut dyn Write) -> io::Result<()> {
    let (begin, limited) = (Instant::now(), AsyncPool::new(pool, 4));
    let handles: Vec<_> = files
        .iter()
        .take(10)
        .map(|path| {
            let path = path.clone();
            limited.submit(async move {
                heist::sleep(Duration::from_millis(50)).await;
                heist::blocking(|| fs::read(path)).map_or(0, |text| text.len())
            })
        })
        .collect();
    let mut bytes = 0;
    for outcome in handles.into_iter().map(JoinHandle::join) {
        bytes += outcome.map_err(io::Error::other)?;
    }
    let (limit, time) = (limited.limit(), begin.elapsed().as_millis());
    writeln!(
        output,
        "\n{bytes:8} bytes from a slow server, {limit} files at a time, in {time} ms"
    )
}

/// Adds the files at and below `path`. Symbolic links below it are skipped.
fn collect(path: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    let named = |error| io::Error::other(format!("{}: {error}", path.display()));
    if !fs::metadata(path).map_err(named)?.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    for entry in fs::read_dir(path).map_err(named)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            collect(&entry.path(), files)?;
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    Ok(())
}

fn lines(path: &Path) -> io::Result<impl Iterator<Item = io::Result<String>>> {
    Ok(BufReader::new(File::open(path)?).lines())
}

fn words(path: &Path) -> io::Result<usize> {
    lines(path)?
        .map(|line| Ok(line?.split_whitespace().count()))
        .sum()
}

fn longest_line(path: &Path) -> io::Result<usize> {
    lines(path)?.try_fold(0, |longest, line| Ok(longest.max(line?.chars().count())))
}

/// The number of the first line that contains `what`.
fn line_with(path: &Path, what: &str) -> io::Result<usize> {
    for (index, line) in lines(path)?.enumerate() {
        if line?.contains(what) {
            return Ok(index + 1);
        }
    }
    Err(io::ErrorKind::NotFound.into())
}
