//! The forms of a trace that a program writes.

use super::analysis::Analysis;
use super::model::Trace;
use super::summary::{Summary, Totals};
use super::{folded, html, perfetto};
use std::fmt;
use std::io;
use std::path::Path;

/// # Forms
///
/// They need the feature `trace`, which is on by default.
impl Trace {
    /// Writes a page.
    pub fn write_html(&self, path: impl AsRef<Path>) -> io::Result<()> {
        std::fs::write(path, self.to_html())
    }

    /// Returns the page.
    pub fn to_html(&self) -> String {
        html::page(self, None)
    }

    /// Writes a trace for Perfetto.
    pub fn write_perfetto(&self, path: impl AsRef<Path>) -> io::Result<()> {
        let mut file = std::fs::File::create(path)?;
        perfetto::write(self, &mut file)
    }

    /// Returns the trace for Perfetto.
    pub fn to_perfetto(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // Writing to a vector cannot fail.
        let _ = perfetto::write(self, &mut bytes);
        bytes
    }

    /// Writes folded stacks.
    pub fn write_folded(&self, path: impl AsRef<Path>) -> io::Result<()> {
        std::fs::write(path, self.to_folded())
    }

    /// Returns the folded stacks.
    pub fn to_folded(&self) -> String {
        folded::folded(self)
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = Analysis::of(self);
        let summary = Summary {
            trace: self,
            found: &found,
            totals: Totals::of(self),
        };
        summary.fmt(f)
    }
}
