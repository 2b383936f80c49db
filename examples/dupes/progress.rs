//! What a person at a terminal sees while it works.

use std::borrow::Cow;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A progress bar on stderr, or nothing.
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// Draws only if `visible`.
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

    /// The walk begins; its length is not known.
    pub fn walking(&self) {
        self.style("{spinner} looking around: {human_pos} names, {elapsed}");
    }

    /// The walk came by so many names.
    pub fn found(&self, names: usize) {
        self.bar.inc(names as u64);
    }

    /// A step that opens `files` files begins.
    pub fn comparing(&self, what: impl Into<Cow<'static, str>>, files: u64) {
        self.style("comparing {msg} {wide_bar} {human_pos}/{human_len} files, {eta} left");
        self.bar.set_message(what);
        self.restart(files);
    }

    /// A step that reads `bytes` bytes begins.
    pub fn hashing(&self, bytes: u64) {
        self.style("reading {wide_bar} {bytes}/{total_bytes}, {bytes_per_sec}, {eta} left");
        self.restart(bytes);
    }

    /// The step has come so much further.
    pub fn advance(&self, amount: u64) {
        self.bar.inc(amount);
    }

    /// Clears the bar away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }

    fn restart(&self, length: u64) {
        self.bar.reset();
        self.bar.set_length(length);
    }

    fn style(&self, template: &str) {
        // A template is a constant of this module: a mistake in it shows at the first try.
        self.bar.set_style(
            ProgressStyle::with_template(template).expect("the template is well formed"),
        );
    }
}
