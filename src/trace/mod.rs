//! What a pool did: which thread ran what and when, what it waited for, from whom it stole and whom it woke.
//!
//! A pool that is *traced* records events: 16 bytes for each, in memory of a bounded size, of which the newest part is
//! kept. Recording begins with the pool ([`ThreadPoolBuilder::trace`](crate::ThreadPoolBuilder::trace)), or at any
//! moment ([`ThreadPool::start_trace`]). [`ThreadPool::trace`] takes a snapshot, for which no thread of the pool waits.
//!
//! ```
//! use heist::{ThreadPool, Trace};
//! use std::time::Duration;
//! let pool = ThreadPool::builder().trace(Trace::last(Duration::MAX)).build()?;
//! pool.scope(|s| {
//!     for _ in 0..100 {
//!         s.spawn(|_| { let _span = heist::span("a part"); });
//!     }
//! });
//! let trace = pool.trace();
//! assert!(trace.sites().iter().any(|site| site.name() == "a part"));
//! println!("{trace}");
//! # Ok::<(), heist::BuildError>(())
//! ```
//!
//! # Any program
//!
//! With the variable `HEIST_TRACE` a program that uses this crate is traced without a change. Its value is the name of a
//! file, and the name's ending says what is written there: `.pftrace` for the [Perfetto](https://ui.perfetto.dev) UI,
//! `.folded` for flame graphs, anything else for a page of HTML. If the value is empty, a summary goes to the standard
//! error. The file is written when a pool ends, or when the program exits. If there are several pools, the name of each
//! further file has a number. Up to 64 MiB of events are kept. It needs the feature `trace`, which is a default one.
//!
//! # What is recorded
//!
//! - The begin and the end of each task of `submit` and of each poll of a future, when it was queued, its name.
//! - The tasks of scopes. Many short ones that follow each other are one event: [`EventKind::Batch`].
//! - Steals, the runs of stolen forks and of stolen parts of maps, waits that find nothing to run, sleeps, wake-ups, the search
//!   for work.
//! - [Spans](crate::span) and [marks](crate::mark) of the user.
//!
//! A `join` whose second closure nobody steals is not recorded, and costs the same whether the pool is traced or not.
//!
//! What has no more room is lost, and [counted](Trace::lost) exactly.

#[cfg(feature = "trace")]
mod environment;
#[cfg(feature = "trace")]
mod forms;
#[cfg_attr(
    not(feature = "trace"),
    expect(dead_code, reason = "only the forms read some fields")
)]
mod model;
mod sites;
mod snapshot;
mod span;

pub use crate::record::{Outcome, SiteKind, TraceSettings, Wait, Work};
pub use model::{Event, EventKind, Site, Trace, Track, TrackRole};
pub(crate) use sites::described;
pub use span::{Span, mark, span};

use crate::pool::{Registry, ThreadPool};
use crate::stats::PoolStats;

/// Called when a pool was made: records it if the environment says so.
pub(crate) fn pool_made(registry: &Registry) {
    #[cfg(feature = "trace")]
    environment::pool_made(registry);
    #[cfg(not(feature = "trace"))]
    let _ = registry;
}

/// Called when a pool has ended: writes its trace if the environment says so.
pub(crate) fn pool_ends(registry: &Registry) {
    #[cfg(feature = "trace")]
    environment::pool_ends(registry);
    #[cfg(not(feature = "trace"))]
    let _ = registry;
}

/// # Traces
impl ThreadPool {
    /// Returns what was recorded so far. See the [module `trace`](crate::trace).
    ///
    /// The pool goes on, and none of its threads waits for the snapshot. If nothing is recorded, the trace has no
    /// [tracks](Trace::tracks).
    ///
    /// ```
    /// use heist::{ThreadPool, Trace};
    /// use std::time::Duration;
    /// let pool = ThreadPool::builder().trace(Trace::last(Duration::MAX)).build()?;
    /// pool.task().name("answer").submit(|| 6 * 7).join().unwrap();
    /// let trace = pool.trace();
    /// assert!(trace.sites().iter().any(|site| site.name() == "answer"));
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn trace(&self) -> Trace {
        snapshot::of(self.registry())
    }

    /// Begins to record what the pool does, while it runs. If it is recorded already, that recording ends and a new one
    /// begins.
    ///
    /// The memory of a recording stays with the pool, and later ones use it again.
    ///
    /// ```
    /// use heist::{ThreadPool, Trace};
    /// use std::time::Duration;
    /// let pool = ThreadPool::new()?;
    /// pool.start_trace(Trace::last(Duration::from_secs(60)));
    /// pool.submit(|| 6 * 7).join().unwrap();
    /// let trace = pool.stop_trace();
    /// assert_eq!(trace.lost(), 0);
    /// assert!(pool.trace().tracks().is_empty());
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn start_trace(&self, settings: TraceSettings) {
        let before: PoolStats = self.stats();
        self.registry()
            .start_recording(settings, Some(Box::new(before)));
    }

    /// Ends the recording, and returns what was recorded.
    #[must_use = "the record is gone after this"]
    pub fn stop_trace(&self) -> Trace {
        let trace = self.trace();
        self.registry().stop_recording();
        trace
    }
}
