//! The command line.

use std::path::PathBuf;

use clap::Parser;

use super::Failure;

/// Finds files with the same content.
#[derive(Clone, Debug, Parser)]
#[command(name = "dupes", after_long_help = DETAILS)]
pub struct Options {
    /// Directories (searched with all below) and files to compare
    #[arg(value_name = "PATH", default_value = ".")]
    pub paths: Vec<PathBuf>,

    /// Follow symbolic links; each directory is still read once, so loops end
    #[arg(long)]
    pub follow: bool,

    /// Report empty files too, as one group that wastes nothing
    #[arg(long)]
    pub empty: bool,

    /// Ignore smaller files; K, M and G stand for 1024, 1024^2 and 1024^3
    #[arg(long, value_name = "BYTES", default_value = "1", value_parser = parse_size)]
    pub min_size: u64,

    /// Print one JSON document instead of text (`--help` shows its form)
    #[arg(long)]
    pub json: bool,

    /// Show neither progress nor the pool's statistics
    #[arg(long)]
    pub quiet: bool,

    /// Write what the threads did to FILE: a page for .html, stacks for .folded, or else a trace for ui.perfetto.dev
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,

    /// Worker threads; 0: HEIST_NUM_THREADS if set, else one for each processor
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub threads: usize,

    /// Hash in so many processes, in which a file that crashes its reader is skipped; 0: on the threads
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub processes: usize,
}

const DETAILS: &str = "\
What counts as a duplicate:
  Regular files of equal size and equal BLAKE3 hash (256 bits). Empty files count only with --empty, and
  --min-size does not touch them. Several paths to one file (hard links, followed symbolic links, a PATH given twice)
  are one file that wastes nothing; its first path stands for it, the others are listed under it.
  Symbolic links are skipped unless --follow is given; a PATH that is itself a link is always followed.

Order:
  Groups by wasted bytes, the largest first, then by path. Any number of threads gives the same answer.

JSON (--json), all sizes in bytes:
  { \"groups\":  [ { \"size\": N, \"wasted\": N, \"blake3\": HEX,
                   \"files\": [ { \"path\": TEXT, \"path_hex\": HEX, \"aliases\": [ { \"path\": TEXT, ... } ] } ] } ],
    \"skipped\": [ { \"path\": TEXT, \"reason\": TEXT } ],
    \"summary\": { \"directories\": N, \"files\": N, \"bytes\": N, \"aliases\": N, \"skipped\": N,
                 \"groups\": N, \"redundant_files\": N, \"wasted_bytes\": N } }
  path_hex, the exact bytes of the path, is present only if the path is not UTF-8; path then shows
  replacement characters. aliases is left out if there are none.

Text output shows a path that contains control characters quoted, with escapes; every other path byte for byte.

Exit status:
  0  finished; files and directories that could not be read are listed on stderr and counted
  1  the result or the trace could not be written, or the thread pool could not be built
  2  the command line is wrong, or a PATH does not exist";

impl Options {
    /// Rejects mistakes that would otherwise look like an empty result.
    pub(super) fn check(&self) -> Result<(), Failure> {
        for path in &self.paths {
            if let Err(error) = path.symlink_metadata() {
                return Err(Failure::Usage(format!(
                    "{}: {error}; give paths that exist and that you may look at",
                    path.display()
                )));
            }
        }
        Ok(())
    }
}

/// Parses sizes such as `4096`, `4K`, `1M` and `2G`.
fn parse_size(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 1 << 10),
        Some(b'm' | b'M') => (&text[..text.len() - 1], 1 << 20),
        Some(b'g' | b'G') => (&text[..text.len() - 1], 1 << 30),
        _ => (text, 1),
    };
    digits
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(unit))
        .ok_or_else(|| "write a whole number of bytes, such as 4096, 4K or 1M".to_owned())
}
