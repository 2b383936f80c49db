//! The command line.

use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, CommandFactory, FromArgMatches, Parser};

/// Compresses files to gzip's format, or decompresses them, on all processors.
#[derive(Clone, Debug, Parser)]
#[command(name = "pgz", args_override_self = true, after_long_help = DETAILS)]
pub struct Options {
    /// Files; "-" or none: from standard input to standard output
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,

    /// Decompress FILE.gz to FILE
    #[arg(short, long)]
    pub decompress: bool,

    /// Check that compressed files are whole, and write nothing
    #[arg(short, long, conflicts_with = "decompress")]
    pub test: bool,

    /// Write to standard output and keep the input
    #[arg(short = 'c', long)]
    pub stdout: bool,

    /// Keep the input
    #[arg(short, long)]
    pub keep: bool,

    /// Overwrite the output if it exists; compress links, what has been compressed, and to a terminal
    #[arg(short, long)]
    pub force: bool,

    /// Show neither progress nor sizes
    #[arg(short, long)]
    pub quiet: bool,

    /// Show the pool's statistics at the end, unless a file failed
    #[arg(long)]
    pub stats: bool,

    /// Write what the pool did to FILE: a page for .html, stacks for .folded, or else a trace for ui.perfetto.dev
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,

    /// Worker threads; 0: HEIST_NUM_THREADS if set, else one for each processor
    #[arg(short = 'p', long, value_name = "N", default_value_t = 0)]
    pub threads: usize,

    /// KiB that one task compresses
    #[arg(short, long = "block", value_name = "KIB", default_value_t = 128,
          value_parser = clap::value_parser!(u32).range(32..=16384))]
    pub block_kib: u32,

    /// 1 to 9
    #[arg(skip = DEFAULT_LEVEL)]
    pub level: u32,
}

const DEFAULT_LEVEL: u32 = 6;

const LEVELS: [(&str, &str); 9] = [
    ("1", "Fastest"),
    ("2", ""),
    ("3", ""),
    ("4", ""),
    ("5", ""),
    ("6", "The default"),
    ("7", ""),
    ("8", ""),
    ("9", "Smallest; the last one given counts"),
];

const DETAILS: &str = "\
The input is removed after success, unless -k or -c is given. Output appears under its name when it is complete, with
the input's permissions and time of change; until then it is a temporary file beside it, which goes away on any failure.

Exit status:
  0    finished
  1    some file failed, the others are done; or the thread pool could not be built
  2    the command line is wrong
  130  ended by a signal";

impl Options {
    /// Parses the command line of the program, or ends the program with advice.
    pub fn read() -> Self {
        let levels = LEVELS.map(|(flag, help)| {
            Arg::new(flag)
                .short(flag.chars().next())
                .help(help)
                .hide(help.is_empty())
                .action(ArgAction::SetTrue)
        });
        let matches = Self::command().args(levels).get_matches();
        let mut options = Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
        let given = LEVELS
            .iter()
            .filter(|(flag, _)| matches.value_source(flag) == Some(ValueSource::CommandLine));
        let last = given.max_by_key(|(flag, _)| matches.index_of(flag));
        options.level = last
            .and_then(|(flag, _)| flag.parse().ok())
            .unwrap_or(DEFAULT_LEVEL);
        options
    }

    /// The number of bytes that one task compresses.
    pub fn block(&self) -> usize {
        self.block_kib as usize * 1024
    }
}
