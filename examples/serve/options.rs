//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

/// Serves the files of a directory, their hashes, and the files compressed, on 127.0.0.1.
#[derive(Clone, Debug, Parser)]
#[command(name = "serve", args_override_self = true, after_long_help = DETAILS)]
pub struct Options {
    /// The directory whose files are served
    #[arg(value_name = "ROOT", default_value = ".")]
    pub root: PathBuf,

    /// The TCP port; 0: any free one, see the first line of the output
    #[arg(short, long, default_value_t = 8080)]
    pub port: u16,

    /// Worker threads; 0: HEIST_NUM_THREADS if set, else one for each processor
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub threads: usize,

    /// Requests under way at a time; more are refused with status 503
    #[arg(long, value_name = "N", default_value = "64", value_parser = parse_limit)]
    pub limit: usize,

    /// Time for a request, until the last byte of its answer is handed over
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = parse_seconds)]
    pub deadline: Duration,

    /// Time in which a client must send the head of a request, or take some more of an answer
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = parse_seconds)]
    pub patience: Duration,

    /// At the end, write what the pool did last to FILE: a page for .html, stacks for .folded, or else a trace for ui.perfetto.dev
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,

    /// Do not print the statistics at the end
    #[arg(long)]
    pub quiet: bool,
}

const DETAILS: &str = "\
What is served, with GET:
  /files/PATH  the file
  /hash/PATH   its BLAKE3 hash (256 bits), as text
  /gzip/PATH   the file, compressed
  /stats       counters of the service and of its thread pool, as JSON; always answered
PATH is relative to ROOT. Symbolic links are not followed.

A first SIGINT or SIGTERM ends the service: requests that have arrived are answered, idle connections are closed. A second
signal ends the process at once.

Exit status:
  0    ended by a signal, no request was lost
  1    the port is taken, ROOT is no directory, the thread pool could not be built, or the trace could not be written
  2    the command line is wrong
  130  ended by a second signal";

fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok();
    seconds
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .filter(|time| !time.is_zero())
        .ok_or_else(|| "write a number of seconds above 0, such as 60 or 0.5".to_owned())
}

fn parse_limit(text: &str) -> Result<usize, String> {
    let limit = text.parse().ok();
    limit
        .filter(|&limit| limit > 0)
        .ok_or_else(|| "write a number of requests, at least 1".to_owned())
}
