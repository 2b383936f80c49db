//! What a program calls to get a trace in one of its forms.

use super::analysis::Analysis;
use super::summary::{Summary, Totals};
use super::{folded, html, perfetto};
use crate::trace::model::Trace;
use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

/// # Forms
///
/// The forms need the feature `trace`, which is on by default. Names are shown escaped and cut, so no name of a task, span or
/// thread breaks a form.
impl Trace {
    /// Writes the trace as a page of HTML: one file that needs no other file and no network.
    ///
    /// The page has the time line of each thread with arrows for steals, wake-ups and waits, what the workers did and the
    /// queue depth over time, histograms, the call sites, who stole from whom, and warnings in words. It holds all
    /// events in at most 6 bytes for each, and some 150 KB besides. Browsers show pages of some millions of events.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    ///
    /// ```
    /// use heist::{ThreadPool, Trace};
    /// use std::time::Duration;
    /// let pool = ThreadPool::builder().trace(Trace::last(Duration::MAX)).build()?;
    /// pool.task().name("answer").submit(|| 6 * 7).join().unwrap();
    /// let path = std::env::temp_dir().join(format!("heist-{}.html", std::process::id()));
    /// pool.trace().write_html(&path).unwrap();
    /// assert!(std::fs::read_to_string(&path).unwrap().contains("answer"));
    /// # std::fs::remove_file(&path).unwrap();
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn write_html(&self, path: impl AsRef<Path>) -> io::Result<()> {
        fs::write(path, self.to_html())
    }

    /// Returns the page that [`write_html`](Self::write_html) writes.
    ///
    /// ```
    /// let pool = heist::ThreadPool::new()?;
    /// assert!(pool.trace().to_html().starts_with("<!doctype html>"));
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn to_html(&self) -> String {
        html::page(self, None)
    }

    /// Writes the trace for [Perfetto](https://ui.perfetto.dev): the ending `.pftrace` is usual.
    ///
    /// The file has a track for each thread, counters of the queues, and arrows from where a task is made to where it begins,
    /// from victims to thieves, from wakers to the woken, and from ended tasks to those who waited for them. Times are
    /// those of `CLOCK_MONOTONIC`, as in traces of other tools.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    ///
    /// ```
    /// use heist::{ThreadPool, Trace};
    /// use std::time::Duration;
    /// let pool = ThreadPool::builder().trace(Trace::last(Duration::MAX)).build()?;
    /// pool.submit(|| 6 * 7).join().unwrap();
    /// let path = std::env::temp_dir().join(format!("heist-{}.pftrace", std::process::id()));
    /// pool.trace().write_perfetto(&path).unwrap();
    /// assert!(std::fs::metadata(&path).unwrap().len() > 0);
    /// # std::fs::remove_file(&path).unwrap();
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn write_perfetto(&self, path: impl AsRef<Path>) -> io::Result<()> {
        perfetto::write(self, &mut fs::File::create(path)?)
    }

    /// Returns the bytes that [`write_perfetto`](Self::write_perfetto) writes.
    ///
    /// ```
    /// let pool = heist::ThreadPool::new()?;
    /// assert!(!pool.trace().to_perfetto().is_empty());
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn to_perfetto(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // Writing to a vector cannot fail.
        let _ = perfetto::write(self, &mut bytes);
        bytes
    }

    /// Writes folded stacks, from which other tools draw flame graphs: a line for each stack of runs and waits, with
    /// its time in nanoseconds without what is inside.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    ///
    /// ```
    /// use heist::{ThreadPool, Trace};
    /// use std::time::Duration;
    /// let pool = ThreadPool::builder().trace(Trace::last(Duration::MAX)).build()?;
    /// pool.submit(|| 6 * 7).join().unwrap();
    /// let path = std::env::temp_dir().join(format!("heist-{}.folded", std::process::id()));
    /// pool.trace().write_folded(&path).unwrap();
    /// # std::fs::remove_file(&path).unwrap();
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn write_folded(&self, path: impl AsRef<Path>) -> io::Result<()> {
        fs::write(path, self.to_folded())
    }

    /// Returns the lines that [`write_folded`](Self::write_folded) writes.
    ///
    /// ```
    /// use heist::{ThreadPool, Trace};
    /// use std::time::Duration;
    /// let pool = ThreadPool::builder().trace(Trace::last(Duration::MAX)).build()?;
    /// pool.task().name("answer").submit(|| std::thread::sleep(Duration::from_millis(1))).join().unwrap();
    /// pool.wait_idle();
    /// assert!(pool.trace().to_folded().contains(";answer "));
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn to_folded(&self) -> String {
        folded::folded(self)
    }
}

/// A summary in words: totals, what the workers did, the sites with the longest runs, and warnings about what makes the
/// program slow. Totals are those of the pool's counters, also if events were lost.
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
