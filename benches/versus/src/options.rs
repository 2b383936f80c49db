//! The command line.

use clap::Parser;
use std::path::PathBuf;

/// heist against rayon, chili, tokio, pools on a crossbeam deque and channel, a naive pool and, where built in, forte.
#[derive(Parser, Debug)]
pub struct Options {
    /// Small inputs and few repetitions: under a minute. The figures are rough.
    #[arg(long)]
    pub quick: bool,

    /// Only the rows and facts whose name contains this.
    #[arg(long, value_name = "SUBSTRING")]
    pub only: Option<String>,

    /// The thread counts, for all rows that can run at any. Otherwise each row has its own, among 1, 2 and 8.
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = parse_count)]
    pub threads: Option<Vec<usize>>,

    /// Timed repetitions of each contestant [default: 11, with --quick 5].
    #[arg(long, value_parser = parse_count)]
    pub reps: Option<usize>,

    /// Also write every sample to this file.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

fn parse_count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count) if count > 0 => Ok(count),
        Ok(_) => Err("must be at least 1".to_string()),
        Err(error) => Err(format!("{error}")),
    }
}
