//! The progress bar, for a person at a terminal.

use std::borrow::Cow;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A progress bar on stderr, or nothing.
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// A bar that draws only if `visible`.
    pub fn new(visible: bool) -> Self {
        let target = if visible {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        Progress {
            bar: ProgressBar::with_draw_target(None, target),
        }
    }

    /// Begins the walk, whose length is not known.
    pub fn walking(&self) {
        self.style("{spinner} looking around: {human_pos} names, {elapsed}");
    }

    /// Adds names that the walk has found.
    pub fn found(&self, names: usize) {
        self.bar.inc(names as u64);
    }

    /// Begins a step that opens `files` files.
    pub fn comparing(&self, what: impl Into<Cow<'static, str>>, files: u64) {
        self.style("comparing {msg} {wide_bar} {human_pos}/{human_len} files, {eta} left");
        self.bar.set_message(what);
        self.restart(files);
    }

    /// Begins a step that reads `bytes` bytes.
    pub fn hashing(&self, bytes: u64) {
        self.style("reading {wide_bar} {bytes}/{total_bytes}, {bytes_per_sec}, {eta} left");
        self.restart(bytes);
    }

    /// Adds progress of the step.
    pub fn advance(&self, amount: u64) {
        self.bar.inc(amount);
    }

    /// Removes the bar.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }

    fn restart(&self, length: u64) {
        self.bar.reset();
        self.bar.set_length(length);
    }

    fn style(&self, template: &str) {
        // A template is a constant of this module, so a mistake in it shows at the first run.
        self.bar.set_style(
            ProgressStyle::with_template(template).expect("the template is well formed"),
        );
    }
}
