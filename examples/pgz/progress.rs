//! What a person at a terminal sees while it works.

use std::fmt;
use std::io::{self, Read, Write};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A progress bar on stderr, or nothing.
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// Draws only if `visible`. There are `bytes` to read, as far as is known.
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
        // A constant: a mistake in it shows at the first try.
        bar.set_style(ProgressStyle::with_template(template).expect("the template is well formed"));
        Progress { bar }
    }

    /// `input`, counted as it is read.
    pub fn of<R: Read>(&self, input: R) -> impl Read {
        self.bar.wrap_read(input)
    }

    /// Says above the bar what went wrong.
    pub fn note(&self, line: impl fmt::Display) {
        self.say(format_args!("pgz: {line}"));
    }

    /// Says something above the bar.
    pub fn say(&self, line: impl fmt::Display) {
        // Nobody is left to tell if this write fails.
        self.bar.suspend(|| drop(writeln!(io::stderr(), "{line}")));
    }

    /// Clears the bar away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
