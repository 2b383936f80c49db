//! `profile`: the work and the span of a program, measured while it runs on any number of threads.
//!
//! While a closure is profiled, the thread-local that a `join` reads is null, so that the `join` takes the path of a thread that takes part in no pool. There it
//! is measured. A `join` that nobody profiles executes the same instructions as if this module did not exist.
//!
//! | module | holds |
//! |---|---|
//! | `site` | the parts of a program to which time is attributed |
//! | `log` | what a thread did, in a bounded list |
//! | `expected` | what a thread expects of a `join` |
//! | `line` | how a thread measures |
//! | `skipped` | joins that run at full speed |
//! | `forks` | joins that are measured |
//! | `tasks` | the tasks of scopes |
//! | `mark` | where thieves see that they must measure what they have taken |
//! | `dag` | the graph of the program, its critical path |
//! | `simulate` | the time on a number of processors |
//! | `model` | what a profile says |

mod dag;
mod expected;
pub(crate) mod forks;
pub(crate) mod line;
mod log;
pub(crate) mod mark;
mod model;
mod settings;
mod simulate;
pub(crate) mod site;
pub(crate) mod skipped;
pub(crate) mod tasks;

pub use model::{Interval, Profile, ProfilePoint, ProfileSite};
pub use settings::ProfileSettings;

use crate::fork::join;
use crate::pool::{Registry, ThreadPool, context, worker};
use crate::record::{Named, SiteInfo};
use line::{Costs, Line, Report, Shared, Start};
use log::Entry;
use site::SiteRef;
use std::panic::Location;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The time of a steal in a simulated run, in nanoseconds. About what one takes from the push to the begin of the fork, if a thread searches.
const STEAL: u64 = 1_000;

/// # Work and span
impl ThreadPool {
    /// Runs `f` as [`install`](Self::install) does, and measures its work and its span: how much faster it would be on
    /// more processors, and what limits it.
    ///
    /// Every `join`, scope and map of `f` is followed, on whichever threads its parts run. Neither their number nor what
    /// else they do changes the result: times in which a thread waits or runs something else do not count. While a thread
    /// is kept from running by the system, its time counts.
    ///
    /// Times are attributed to closures, and to the spans of [`span`](crate::span()) within them.
    ///
    /// Joins that take less than 4 microseconds are not measured one by one, so that the program runs at nearly full speed
    /// and the span is an [`Interval`]: see [`ProfileSettings::resolution`].
    ///
    /// Not followed are submitted tasks, futures, streams, and the closures of [`run`](Self::run) and
    /// [`broadcast`](Self::broadcast): waiting for them counts as nothing, and so does their work, unless the waiting
    /// thread itself runs the task.
    ///
    /// A profile within a profile measures its closure, and the outer one includes all of that, unless one of them has a
    /// [clock](ProfileSettings::clock) of its own and the other has none. Several threads can make profiles of one pool
    /// at a time.
    ///
    /// # Panics
    ///
    /// If `f` panics, the panic continues in the caller and there is no profile. If it catches a panic of a part that
    /// another thread ran, the time of that part does not count.
    ///
    /// ```
    /// fn fib(n: u32) -> u64 {
    ///     if n < 2 {
    ///         return n.into();
    ///     }
    ///     let (a, b) = heist::join(|| fib(n - 1), || fib(n - 2));
    ///     a + b
    /// }
    /// let pool = heist::ThreadPool::new()?;
    /// let (value, profile) = pool.profile(|| fib(20));
    /// assert_eq!(value, 6765);
    /// assert!(profile.span().high <= profile.work());
    /// println!("{profile}");
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    #[track_caller]
    pub fn profile<R>(&self, f: impl FnOnce() -> R) -> (R, Profile) {
        self.profile_with(ProfileSettings::new(), f)
    }

    /// Runs and measures `f` as [`profile`](Self::profile) does, with other settings.
    ///
    /// ```
    /// use heist::ProfileSettings;
    /// use std::time::Duration;
    /// let pool = heist::ThreadPool::new()?;
    /// let settings = ProfileSettings::new().resolution(Duration::from_micros(20));
    /// let ((), profile) = pool.profile_with(settings, || { heist::join(|| (), || ()); });
    /// println!("{:?}", profile.work());
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    #[track_caller]
    pub fn profile_with<R>(
        &self,
        settings: ProfileSettings,
        f: impl FnOnce() -> R,
    ) -> (R, Profile) {
        let site = SiteRef::whole(run_of(&f), Some(Location::caller()));
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let mut shared = Shared::new(settings.clock, nanos(settings.resolution));
        if settings.clock.is_none() {
            shared.costs = costs(self.registry());
        }
        let began = Instant::now();
        let (result, report) = measure(self.registry(), &shared, site, f);
        let steal = if settings.clock.is_none() { STEAL } else { 0 };
        let profile = Profile::new(report, self.num_threads(), began.elapsed(), steal);
        (result, profile)
    }
}

/// The site of a closure that is profiled.
fn run_of<F>(_: &F) -> &'static SiteInfo {
    Named::<F>::RUN
}

/// Runs `f` on a line of its own. If the thread is on a line already, that includes what is measured.
fn measure<R>(
    registry: &Registry,
    shared: &Shared,
    site: SiteRef,
    f: impl FnOnce() -> R,
) -> (R, Report) {
    let outer = context::line();
    let paused = context::pause_line();
    let (result, report) = worker::as_part(registry, |_| {
        let line = Line::new(Start::root(shared, site));
        let followed = context::follow(&line);
        let result = f();
        drop(followed);
        (result, line.end())
    });
    drop(paused);
    if let Some(outer) = outer.filter(|outer| outer.shared.has_clock_of(shared)) {
        outer.include(report.clone());
    }
    (result, report)
}

/// How many joins are measured to find out what measuring costs.
const TRIALS: usize = 201;

/// What measuring costs on this machine.
fn costs(registry: &Registry) -> Costs {
    static COSTS: OnceLock<Costs> = OnceLock::new();
    *COSTS.get_or_init(|| {
        let _paused = context::pause_line();
        let shared = Shared::new(None, 0);
        let trials = || {
            for _ in 0..TRIALS {
                std::hint::black_box(join(|| (), || ()));
            }
        };
        let site = SiteRef::whole(run_of(&trials), None);
        let (_, report) = measure(registry, &shared, site, trials);
        // Strands that took no time are missing.
        let mut times = [[0; TRIALS]; 3];
        let (mut trial, mut kind) = (0, 2);
        for entry in &report.log.entries {
            match *entry {
                Entry::Open => kind = 0,
                Entry::Next => kind = 1,
                Entry::Close => (trial, kind) = (trial + 1, 2),
                Entry::Strand { time, .. } if kind < 2 => times[kind][trial] = time,
                Entry::Strand { time, .. } => times[2][trial.saturating_sub(1)] = time,
                _ => {}
            }
        }
        let [first, second, after] = times.map(|mut times| {
            times.sort_unstable();
            times[TRIALS / 2]
        });
        Costs {
            first,
            second,
            after,
        }
    })
}
