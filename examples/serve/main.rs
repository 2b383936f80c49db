//! Serves files over HTTP/1.1: `cargo run --release --example serve -- ROOT`
//!
//! Connections are futures, files are read by closures that block, hashes and compression are forked work, and all of it
//! runs on one `ThreadPool`:
//!
//! - `connections` accepts connections and serves each of them by a future that hyper makes;
//! - `service` routes a request, limits how many are under way, and gives each of them a deadline and a token;
//! - `files` finds a file below the root and reads it piece by piece; `hash` and `gzip` work on such pieces in parallel;
//! - `body` is an answer whose next piece is made while the client takes the last one;
//! - `io` is what hyper needs from a socket and from a clock;
//! - `counters` is what `/stats` shows;
//! - `trace` writes at the end what the pool did, with `--trace FILE`: a page if the name ends in `.html`.
//!
//! The sockets are async-io's. Its `Async<TcpStream>` needs nothing of the thread that polls it: one thread of the crate
//! waits for events and calls the wakers, which queue tasks of the pool. tokio's sockets would need its runtime entered
//! at each accept and connect (`examples/REACTORS.md` shows how).
//!
//! A piece of a file is at most 1 MiB, and what hashes or compresses it has a low priority. So the threads come back to the
//! connections soon, a pool of one thread too, and a request whose client has gone or whose time is over stops after the
//! piece. Inside a piece, the forks ask the token.

mod body;
mod connections;
mod counters;
mod files;
mod gzip;
mod hash;
mod io;
mod options;
mod service;
#[path = "../trace.rs"]
mod trace;

use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::process::{self, ExitCode};
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Parser;
use heist::ThreadPool;

use connections::Closing;
use files::Root;
use options::Options;
use service::Service;

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let _ = writeln!(std::io::stderr(), "serve: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Serves until a signal comes and the last request is answered.
fn run(options: &Options) -> Result<(), String> {
    let builder = ThreadPool::builder().num_threads(options.threads);
    let pool = trace::recorded(builder, options.trace.as_deref())
        .build()
        .map_err(|error| format!("cannot build the thread pool: {error}"))?;
    let root = Root::open(&options.root)
        .map_err(|error| format!("cannot open {}: {error}", options.root.display()))?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port))
        .map_err(|error| format!("cannot listen on port {}: {error}", options.port))?;
    let address = listener
        .local_addr()
        .map_err(|error| format!("the socket has no address: {error}"))?;

    let closing = Closing::new();
    end_on_signal(closing.clone());
    let service = Service::new(&pool, root, options);
    let connections = connections::accept(listener, service.clone(), closing);
    let accepting = pool.task().name("accept").submit_async(connections);
    let _ = writeln!(std::io::stdout(), "listening on http://{address}");

    let accepted = accepting.join().map_err(|error| error.to_string())?;
    // The connections are tasks of the pool, so it is idle when the last one has ended.
    pool.wait_idle();
    if !options.quiet {
        let (counters, stats) = (service.counters(), pool.stats());
        let _ = writeln!(std::io::stderr(), "{counters}\n{stats}");
    }
    trace::write(&pool, options.trace.as_deref()).map_err(|error| error.to_string())?;
    accepted.map_err(|error| format!("cannot accept connections: {error}"))
}

/// Ends the service when a first signal comes, and the process when a second one does.
fn end_on_signal(closing: Closing) {
    let asked = AtomicBool::new(false);
    let handler = move || {
        if asked.swap(true, Ordering::Relaxed) {
            process::exit(130);
        }
        closing.begin();
    };
    if let Err(error) = ctrlc::set_handler(handler) {
        let _ = writeln!(
            std::io::stderr(),
            "serve: signals will cut requests short: {error}"
        );
    }
}
