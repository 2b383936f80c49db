//! Stands in for the forms of a trace.

use super::model::Trace;
use std::path::Path;
use std::{fmt, fs, io};

impl Trace {
    /// Writes the trace as a page of HTML.
    pub fn write_html(&self, path: impl AsRef<Path>) -> io::Result<()> {
        fs::write(path, format!("{self:?}"))
    }

    /// Writes the trace for the Perfetto UI.
    pub fn write_perfetto(&self, path: impl AsRef<Path>) -> io::Result<()> {
        fs::write(path, format!("{self:?}"))
    }

    /// Writes the trace for flame graphs.
    pub fn write_folded(&self, path: impl AsRef<Path>) -> io::Result<()> {
        fs::write(path, format!("{self:?}"))
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {} threads, {} lost",
            self.program,
            self.num_threads,
            self.lost()
        )
    }
}
