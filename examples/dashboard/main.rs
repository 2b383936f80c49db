//! Shows what a pool does, live in a browser. The pool hashes the files of a folder, over and over.
//!
//! ```text
//! cargo run --release --example dashboard -- [FOLDER] [--port N] [--threads N] [--seconds N] [--trace FILE]
//! ```
//!
//! The page is at the address that the program prints, on this computer only. Beside it there are `/report` (the page of the trace as it is now),
//! `/metrics` (the figures for Prometheus), `/dump` (what each thread does and who waits for whom) and `/trace.pftrace` (for <https://ui.perfetto.dev>).
//! The program ends after `--seconds`, or when its standard input ends or has the line `q`, and prints the pool's summary. Ctrl-C ends it at once.
//! With `--trace FILE` the last seconds are written to a file too: a page if it ends in `.html`, or else a file for Perfetto.

mod load;
mod server;
#[path = "../trace.rs"]
#[expect(dead_code, reason = "the pool is recorded in any case")]
mod trace;

use heist::{ThreadPool, Timing, Trace};
use std::error::Error;
use std::io::{self, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// What the program is told.
struct Options {
    folder: PathBuf,
    port: u16,
    threads: Option<usize>,
    seconds: Option<u64>,
    trace: Option<PathBuf>,
}

fn options() -> Result<Options, Box<dyn Error>> {
    let mut options = Options {
        folder: PathBuf::from("."),
        port: 0,
        threads: None,
        seconds: None,
        trace: None,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--port" => options.port = value()?.parse()?,
            "--threads" => options.threads = Some(value()?.parse()?),
            "--seconds" => options.seconds = Some(value()?.parse()?),
            "--trace" => options.trace = Some(value()?.into()),
            option if option.starts_with("--") => {
                return Err(format!("no such option: {option}").into());
            }
            folder => options.folder = folder.into(),
        }
    }
    Ok(options)
}

/// Waits until the time is over, or until the standard input has the line `q`. Without a time, the end of the input counts too.
fn wait_for_end(seconds: Option<u64>) {
    let (sender, receiver) = mpsc::channel();
    let ends_with_input = seconds.is_none();
    thread::spawn(move || {
        let quits = io::stdin()
            .lines()
            .map_while(Result::ok)
            .any(|line| line.trim() == "q");
        if quits || ends_with_input {
            let _ = sender.send(());
        } else {
            // The channel stays open until the time is over.
            thread::park();
        }
    });
    match seconds {
        Some(seconds) => drop(receiver.recv_timeout(Duration::from_secs(seconds))),
        None => drop(receiver.recv()),
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = options()?;
    let mut builder = ThreadPool::builder()
        .timing(Timing::All)
        .trace(Trace::last(Duration::from_secs(5)).max_bytes(4 << 20));
    if let Some(threads) = options.threads {
        builder = builder.num_threads(threads);
    }
    let pool = builder.build()?;
    let listener = TcpListener::bind(("127.0.0.1", options.port))?;
    println!("http://{}/", listener.local_addr()?);
    io::stdout().flush()?;
    server::start(listener, pool.clone());
    let load = load::start(pool.clone(), options.folder);
    wait_for_end(options.seconds);
    let rounds = load.stop();
    trace::write(&pool, options.trace.as_deref())?;
    let stats = pool.stats();
    println!(
        "{rounds} rounds, {} tasks, {} steals",
        stats.completed, stats.steals
    );
    println!("{}", pool.trace());
    Ok(())
}
