//! The progress bar, for a person at a terminal.

use std::fmt;
use std::io::{self, Read, Write};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A progress bar on stderr, or nothing.
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// A bar that draws only if `visible`. `bytes` is the number of bytes to read, as far as it is known.
    pub fn new(visible: bool, bytes: u64) -> Self {
        let target = if visible {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(bytes), target);
        let template = if bytes > 0 {
            "{wide_bar} {bytes}/{total_bytes}, {bytes_per_sec}, {eta} left"
        } else {
            "{spinner} {bytes}, {bytes_per_sec}"
        };
        // The template is a constant, so a mistake in it shows at the first run.
        bar.set_style(ProgressStyle::with_template(template).expect("the template is well formed"));
        Progress { bar }
    }

    /// Wraps `input` so that the bar counts what is read.
    pub fn of<R: Read>(&self, input: R) -> impl Read {
        self.bar.wrap_read(input)
    }

    /// Prints an error above the bar.
    pub fn note(&self, line: impl fmt::Display) {
        self.say(format_args!("pgz: {line}"));
    }

    /// Prints a message above the bar.
    pub fn say(&self, line: impl fmt::Display) {
        // If this write fails, there is nobody to tell.
        self.bar.suspend(|| drop(writeln!(io::stderr(), "{line}")));
    }

    /// Removes the bar.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
