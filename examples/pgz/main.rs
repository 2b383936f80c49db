//! Compresses files in parallel, to gzip's format: `cargo run --release --example pgz -- FILE...`
//!
//! A pipeline over input that may be larger than memory. One thread reads blocks on demand, `imap` compresses
//! them on the pool and returns them in order, and the first thread writes them. The window bounds the use of memory.
//!
//! - `pack` is that pipeline;
//! - `sizes` counts the bytes of input and output;
//! - `target` makes output files appear whole or not at all, also when a signal ends the program;
//! - `trace` writes what the pool did to a file, with `--trace FILE`;
//! - this file runs one task for each file that is too small to keep the pool busy, or that is decompressed.

mod options;
mod pack;
mod progress;
mod sizes;
mod target;
#[path = "../trace.rs"]
mod trace;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufReader, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use flate2::bufread::MultiGzDecoder;
use heist::ThreadPool;

use options::Options;
use progress::Progress;
use sizes::{Counted, Sizes};
use target::{Origin, Target};

/// The largest number of blocks of a file that one task reads, compresses and writes.
const SMALL_BLOCKS: u64 = 4;

const READ_BYTES: usize = 128 * 1024;

fn main() -> ExitCode {
    let options = Options::read();
    let builder = ThreadPool::builder().num_threads(options.threads);
    let pool = match trace::recorded(builder, options.trace.as_deref()).build() {
        Ok(pool) => pool,
        Err(error) => {
            let _ = writeln!(io::stderr(), "pgz: cannot build the thread pool: {error}");
            return ExitCode::FAILURE;
        }
    };
    if !run(&pool, &options) {
        return ExitCode::FAILURE;
    }
    if let Err(error) = trace::write(&pool, options.trace.as_deref()) {
        let _ = writeln!(io::stderr(), "pgz: {error}");
        return ExitCode::FAILURE;
    }
    if options.stats {
        // The work is done, so a closed stderr is no reason to fail.
        let _ = writeln!(io::stderr(), "{}", pool.stats());
    }
    ExitCode::SUCCESS
}

/// Runs the program. Returns whether all files succeeded.
fn run(pool: &ThreadPool, options: &Options) -> bool {
    let stdin = [PathBuf::from("-")];
    let files = if options.files.is_empty() {
        &stdin[..]
    } else {
        &options.files
    };
    let size = |path: &&Path| fs::metadata(path).map_or(0, |data| data.len());
    let (small, large): (Vec<&Path>, Vec<&Path>) =
        files.iter().map(PathBuf::as_path).partition(|path| {
            !to_stdout(options, path)
                && (!packs(options) || size(path) <= SMALL_BLOCKS * options.block() as u64)
        });

    let bytes = files.iter().map(|path| size(&path.as_path())).sum();
    let job = Job {
        pool,
        options,
        progress: Progress::new(!options.quiet && io::stderr().is_terminal(), bytes),
    };
    if let Err(error) = ctrlc::set_handler(target::abandon) {
        job.progress.note(format_args!(
            "signals will leave temporary files behind: {error}"
        ));
    }
    let mut done = true;
    let mut total = Sizes::default();
    let mut report = |path: &Path, outcome: io::Result<Sizes>| match outcome {
        Ok(sizes) => {
            total = total + sizes;
            if !options.quiet {
                job.progress
                    .say(format_args!("{}: {sizes}", name(path).display()));
            }
        }
        Err(error) => {
            done = false;
            job.progress
                .note(format_args!("{}: {error}", path.display()));
        }
    };
    for path in large {
        report(path, job.file(path));
    }
    pool.scope(|scope| {
        let outcomes = scope.imap(small.iter(), |path| job.file(path));
        for (path, outcome) in small.iter().zip(outcomes) {
            report(
                path,
                outcome.unwrap_or_else(|panic| Err(io::Error::other(panic))),
            );
        }
    });
    job.progress.finish();
    if done && !options.quiet && files.len() > 1 {
        job.progress
            .say(format_args!("{} files: {total}", files.len()));
    }
    done
}

/// The name of an input in messages.
fn name(path: &Path) -> &Path {
    if is_stdin(path) {
        Path::new("standard input")
    } else {
        path
    }
}

fn is_stdin(path: &Path) -> bool {
    path == Path::new("-")
}

fn to_stdout(options: &Options, path: &Path) -> bool {
    (options.stdout || is_stdin(path)) && !options.test
}

fn packs(options: &Options) -> bool {
    !options.decompress && !options.test
}

/// The state that all files share.
struct Job<'a> {
    pool: &'a ThreadPool,
    options: &'a Options,
    progress: Progress,
}

impl Job<'_> {
    /// Compresses, decompresses or tests one file.
    fn file(&self, path: &Path) -> io::Result<Sizes> {
        if is_stdin(path) {
            let mut input = self.progress.of(io::stdin().lock());
            return if self.options.test {
                self.convert(&Origin::default(), &mut input, &mut io::sink())
            } else {
                self.to_stdout(&Origin::default(), &mut input)
            };
        }
        let options = self.options;
        let target = if options.stdout || options.test {
            None
        } else {
            Some(self.target_of(path)?)
        };
        let file = File::open(path)?;
        let data = file.metadata()?;
        if data.is_dir() || (target.is_some() && !data.is_file()) {
            return refuse("it is not a regular file");
        }
        let origin = Origin {
            name: path.file_name().map(OsStr::to_owned),
            modified: data.modified().ok(),
        };
        let mut input = self.progress.of(file);
        let Some(target) = target else {
            return if options.test {
                self.convert(&origin, &mut input, &mut io::sink())
            } else {
                self.to_stdout(&origin, &mut input)
            };
        };
        let mut output = Target::new(&target)?;
        let sizes = self.convert(&origin, &mut input, output.file())?;
        output.finish(&data, options.force)?;
        if !options.keep {
            fs::remove_file(path)?;
        }
        Ok(sizes)
    }

    /// The name of the output for `path`, if it may be created.
    fn target_of(&self, path: &Path) -> io::Result<PathBuf> {
        let options = self.options;
        let packed = path.extension() == Some(OsStr::new("gz"));
        let target = match (options.decompress, packed) {
            (true, true) => path.with_extension(""),
            (true, false) => return refuse("its name does not end in .gz; use -c"),
            (false, true) if !options.force => {
                return refuse("it ends in .gz already; use -f to compress it again");
            }
            (false, _) => {
                let mut name = path.as_os_str().to_owned();
                name.push(".gz");
                PathBuf::from(name)
            }
        };
        if !options.force {
            if !options.keep && path.symlink_metadata()?.is_symlink() {
                return refuse("it is a symbolic link; use -k, -c or -f");
            }
            if target.symlink_metadata().is_ok() {
                return refuse(&format!(
                    "{} exists; use -f to overwrite it",
                    target.display()
                ));
            }
        }
        Ok(target)
    }

    fn to_stdout(&self, origin: &Origin, input: &mut dyn Read) -> io::Result<Sizes> {
        let mut output = io::stdout().lock();
        if packs(self.options) && !self.options.force && output.is_terminal() {
            return refuse("compressed data are not for a terminal; use -f to see them");
        }
        let sizes = self.convert(origin, input, &mut output)?;
        output.flush()?;
        Ok(sizes)
    }

    fn convert(
        &self,
        origin: &Origin,
        input: &mut dyn Read,
        output: &mut dyn Write,
    ) -> io::Result<Sizes> {
        let mut input = Counted::new(input);
        let mut output = Counted::new(output);
        if packs(self.options) {
            pack::pack(self.pool, self.options, origin, &mut input, &mut output)?;
            Ok(Sizes::packed(input.count(), output.count()))
        } else {
            let buffered = BufReader::with_capacity(READ_BYTES, &mut input);
            unpack(&mut MultiGzDecoder::new(buffered), &mut output)?;
            Ok(Sizes::unpacked(input.count(), output.count()))
        }
    }
}

/// Copies like `io::copy`, with a larger buffer.
fn unpack(input: &mut dyn Read, output: &mut dyn Write) -> io::Result<()> {
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match input.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => output.write_all(&buffer[..read])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn refuse<T>(reason: &str) -> io::Result<T> {
    Err(io::Error::other(reason))
}
