//! What a profile says.

use super::dag::Dag;
use super::line::{Position, Report};
use super::simulate::Graph;
use super::site::{Part, SiteRef};
use crate::trace::{SiteKind, described};
use std::cmp::Reverse;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// The bounds of a figure, and the best guess.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval<T> {
    /// The greatest value below which the figure is not.
    pub low: T,
    /// The figure if the short joins that were not measured are like those that were.
    pub estimate: T,
    /// The least value above which the figure is not.
    pub high: T,
}

/// A part of the program to which a [`Profile`] attributes time: a closure, or a span of [`span`](crate::span()).
///
/// [`Display`](std::fmt::Display) writes its name and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileSite {
    kind: SiteKind,
    name: String,
    place: Option<(&'static str, u32)>,
    part: Part,
    work: Duration,
    span: Duration,
}

/// The figures of a program for a number of processors. See [`Profile::curve`].
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct ProfilePoint {
    /// The number of processors.
    pub processors: usize,
    /// The speed-up that no schedule exceeds: the number of processors, or the parallelism if that is less.
    pub upper: f64,
    /// The speed-up of a simulated run.
    pub simulated: f64,
    /// The speed-up that a greedy schedule reaches even if each `join` on the critical path costs a steal.
    pub lower: f64,
}

/// The work and the span of a program, and what follows from them. See [`ThreadPool::profile`](crate::ThreadPool::profile).
///
/// [`Display`](std::fmt::Display) writes a summary in words.
#[derive(Clone, Debug)]
pub struct Profile {
    threads: usize,
    wall: Duration,
    work: u64,
    span: Interval<u64>,
    /// The time of a steal in nanoseconds.
    steal: u64,
    dag: Arc<Dag>,
    graph: Arc<OnceLock<Graph>>,
    sites: Vec<ProfileSite>,
    /// For each site of the dag the index of the site here.
    indices: Vec<usize>,
}

impl ProfileSite {
    /// Returns what it is. The closure that was profiled is a [`SiteKind::Run`].
    pub fn kind(&self) -> SiteKind {
        self.kind
    }

    /// Returns its name: that of the closure's type, as in `app::sort::{{closure}}`, or the name of the span.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the file and the line of the call that was given the closure, if they are known.
    pub fn place(&self) -> Option<(&str, u32)> {
        self.place
    }

    /// Returns the time of all its strands.
    pub fn work(&self) -> Duration {
        self.work
    }

    /// Returns its time on the critical path.
    pub fn span(&self) -> Duration {
        self.span
    }
}

impl fmt::Display for ProfileSite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        let part = match self.part {
            Part::Whole => "",
            Part::First => ", first closure",
            Part::Second => ", second closure",
            Part::Both => ", both closures",
        };
        match self.place {
            Some((file, line)) => write!(f, " ({file}:{line}{part})"),
            None => Ok(()),
        }
    }
}

/// The sites of a dag, without their times, and for each site of the dag the index of the one that stands for it.
fn sites_of(dag: &Dag) -> (Vec<ProfileSite>, Vec<usize>) {
    let mut sites: Vec<ProfileSite> = Vec::new();
    let mut known = HashMap::new();
    let mut indices = Vec::with_capacity(dag.sites.len());
    for site in &dag.sites {
        let (kind, name, place, part) = match *site {
            SiteRef::Closure { info, at, part } => {
                let (kind, name) = described(info);
                // The line of a map is one of this crate.
                let at = at.filter(|_| kind != SiteKind::Map);
                let part = if kind == SiteKind::Map {
                    Part::Whole
                } else {
                    part
                };
                (kind, name, at.map(|at| (at.file(), at.line())), part)
            }
            SiteRef::Span(name) => (SiteKind::Span, name, None, Part::Whole),
        };
        let index = *known.entry((kind, name, place, part)).or_insert_with(|| {
            sites.push(ProfileSite {
                kind,
                name: name.to_owned(),
                place,
                part,
                work: Duration::ZERO,
                span: Duration::ZERO,
            });
            sites.len() - 1
        });
        indices.push(index);
    }
    (sites, indices)
}

impl Profile {
    pub(super) fn new(report: Report, threads: usize, wall: Duration, steal: u64) -> Self {
        let dag = Dag::new(&report.log);
        let (sites, indices) = sites_of(&dag);
        let Position {
            low,
            estimate,
            high,
        } = report.position;
        Profile {
            threads,
            wall,
            work: report.work,
            span: Interval {
                low,
                estimate,
                high,
            },
            steal,
            dag: Arc::default(),
            graph: Arc::default(),
            sites,
            indices,
        }
        .with(dag)
    }

    /// Sets the dag, and the times of the sites from it.
    fn with(mut self, dag: Dag) -> Self {
        for site in &mut self.sites {
            (site.work, site.span) = (Duration::ZERO, Duration::ZERO);
        }
        let times = dag.works().into_iter().zip(dag.critical());
        for (&index, (work, span)) in self.indices.iter().zip(times) {
            self.sites[index].work += Duration::from_nanos(work);
            self.sites[index].span += Duration::from_nanos(span);
        }
        self.dag = Arc::new(dag);
        self.graph = Arc::default();
        self
    }

    /// Returns the time of all strands on all threads, without waits. It is what the program would take on one processor.
    pub fn work(&self) -> Duration {
        Duration::from_nanos(self.work)
    }

    /// Returns the length of the longest chain of strands of which each one waits for the one before it. It is what the
    /// program would take on any number of processors.
    pub fn span(&self) -> Interval<Duration> {
        let Interval {
            low,
            estimate,
            high,
        } = self.span;
        Interval {
            low: Duration::from_nanos(low),
            estimate: Duration::from_nanos(estimate),
            high: Duration::from_nanos(high),
        }
    }

    /// Returns the work divided by the span: the greatest speed-up that any number of processors can give.
    pub fn parallelism(&self) -> Interval<f64> {
        let by = |span: u64| match (self.work, span) {
            (0, _) => 1.0,
            (work, span) => work as f64 / span as f64,
        };
        Interval {
            low: by(self.span.high),
            estimate: by(self.span.estimate),
            high: by(self.span.low),
        }
    }

    /// Returns how long the profiled call took.
    pub fn wall(&self) -> Duration {
        self.wall
    }

    /// Returns the number of workers of the pool.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Returns how long the program would take on so many processors, by a simulation of work stealing in which each
    /// steal takes a microsecond.
    pub fn time(&self, processors: usize) -> Duration {
        let graph = self.graph.get_or_init(|| Graph::new(&self.dag, self.steal));
        Duration::from_nanos(graph.run(processors))
    }

    /// Returns how many times as fast the program would be on so many processors as on one. See [`time`](Self::time).
    ///
    /// ```
    /// let pool = heist::ThreadPool::new()?;
    /// let (sum, profile) = pool.profile(|| (0..1_000_u64).sum::<u64>());
    /// // It is serial.
    /// assert_eq!((sum, profile.speedup(64)), (499_500, 1.0));
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn speedup(&self, processors: usize) -> f64 {
        match self.time(processors).as_nanos() {
            0 => 1.0,
            time => self.dag.work() as f64 / time as f64,
        }
    }

    /// Returns the speed-up on 1, 2, 4 and so on, up to 1,024 processors.
    pub fn curve(&self) -> Vec<ProfilePoint> {
        let work = self.dag.work() as f64;
        let span = self.dag.span(0) as f64;
        let burdened = self.dag.span(self.steal) as f64;
        let point = |exponent| {
            let processors = 1_usize << exponent;
            let number = processors as f64;
            ProfilePoint {
                processors,
                upper: number.min(if span > 0.0 { work / span } else { 1.0 }),
                simulated: self.speedup(processors),
                lower: if work > 0.0 {
                    (work / (work / number + burdened)).min(number)
                } else {
                    1.0
                },
            }
        };
        (0..=10).map(point).collect()
    }

    /// Returns the sites of the program, those with most work first.
    pub fn sites(&self) -> Vec<&ProfileSite> {
        let mut sites: Vec<_> = self.sites.iter().collect();
        sites.sort_by_key(|site| Reverse(site.work));
        sites
    }

    /// Returns the sites on the critical path, the longest chain of strands that wait for each other, those with most time
    /// on it first. Only making one of these faster makes the span shorter.
    ///
    /// ```
    /// let pool = heist::ThreadPool::new()?;
    /// let (_, profile) = pool.profile(|| heist::join(|| (0..100_000_u64).sum::<u64>(), || 1));
    /// for site in profile.critical_path() {
    ///     println!("{site}: {:?}", site.span());
    /// }
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn critical_path(&self) -> Vec<&ProfileSite> {
        let on_path = self.sites.iter().filter(|site| !site.span.is_zero());
        let mut sites: Vec<_> = on_path.collect();
        sites.sort_by_key(|site| Reverse(site.span));
        sites
    }

    /// Returns what this profile would be if the strands of a site took less time, by this factor.
    ///
    /// Compare the [`time`](Self::time) of both: that of the whole program on a number of processors.
    ///
    /// # Panics
    ///
    /// Panics if the factor is not positive.
    ///
    /// ```
    /// let pool = heist::ThreadPool::new()?;
    /// let (_, profile) = pool.profile(|| heist::join(|| (0..100_000_u64).sum::<u64>(), || 1));
    /// if let Some(site) = profile.critical_path().first() {
    ///     let faster = profile.what_if(site, 2.0);
    ///     assert!(faster.time(8) <= profile.time(8));
    /// }
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn what_if(&self, site: &ProfileSite, factor: f64) -> Profile {
        let same = |other: &ProfileSite| {
            let key = |site: &ProfileSite| (site.kind, site.place, site.part);
            key(other) == key(site) && other.name == site.name
        };
        self.what_if_all(same, factor)
    }

    /// Returns what [`what_if`](Self::what_if) returns, for all sites for which `is_changed` returns true.
    ///
    /// # Panics
    ///
    /// Panics if the factor is not positive.
    ///
    /// ```
    /// let pool = heist::ThreadPool::new()?;
    /// let (_, profile) = pool.profile(|| heist::join(|| (0..100_000_u64).sum::<u64>(), || 1));
    /// let faster = profile.what_if_all(|site| site.kind() == heist::trace::SiteKind::Join, 10.0);
    /// assert!(faster.work() <= profile.work());
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn what_if_all(&self, is_changed: impl Fn(&ProfileSite) -> bool, factor: f64) -> Profile {
        assert!(
            factor > 0.0,
            "heist: a program cannot become {factor} times as fast"
        );
        let changed: Vec<bool> = self.sites.iter().map(is_changed).collect();
        let changed: Vec<bool> = self.indices.iter().map(|&index| changed[index]).collect();
        let dag = self.dag.scaled(&changed, factor);
        let ratio = |new: u64, old: u64| {
            if old == 0 {
                1.0
            } else {
                new as f64 / old as f64
            }
        };
        let span = ratio(dag.span(0), self.dag.span(0));
        let scale = |time: u64, by: f64| (time as f64 * by).round() as u64;
        let mut profile = self.clone();
        profile.work = scale(self.work, ratio(dag.work(), self.dag.work()));
        profile.span = Interval {
            low: scale(self.span.low, span),
            estimate: scale(self.span.estimate, span),
            high: scale(self.span.high, span),
        };
        profile.with(dag)
    }
}

/// A duration with three digits or so.
struct Short(Duration);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.as_nanos() as f64;
        match nanos {
            0.0..1e3 => write!(f, "{nanos:.0} ns"),
            1e3..1e6 => write!(f, "{:.1} us", nanos / 1e3),
            1e6..1e9 => write!(f, "{:.1} ms", nanos / 1e6),
            _ => write!(f, "{:.2} s", nanos / 1e9),
        }
    }
}

/// The most sites of a summary.
const SUMMARY: usize = 5;

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (span, parallelism) = (self.span(), self.parallelism());
        let (work, wall) = (Short(self.work()), Short(self.wall));
        writeln!(f, "work {work}, in {wall} on {} workers", self.threads)?;
        let estimate = Short(span.estimate);
        write!(
            f,
            "span {estimate}, parallelism {:.1}",
            parallelism.estimate
        )?;
        if span.low < span.high {
            let (low, high) = (Short(span.low), Short(span.high));
            write!(
                f,
                " (span between {low} and {high}: parallelism at least {:.1})",
                parallelism.low
            )?;
        }
        writeln!(f)?;
        let curve = self.curve();
        f.write_str("speed-up by simulation:")?;
        for point in &curve[1..] {
            write!(f, " {}: {:.1}", point.processors, point.simulated)?;
        }
        writeln!(f)?;
        let highest = curve.iter().map(|point| point.simulated);
        let highest = highest.fold(1.0, f64::max);
        let enough = curve.iter().find(|point| point.simulated >= 0.9 * highest);
        if let Some(point) = enough {
            match point.processors {
                1 => writeln!(f, "the program is serial: more processors gain nothing")?,
                most => writeln!(f, "more than {most} processors gain little")?,
            }
        }
        for site in self.critical_path().into_iter().take(SUMMARY) {
            let share = 100.0 * site.span.as_secs_f64() / span.estimate.as_secs_f64().max(1e-9);
            writeln!(f, "{share:.0} % of the critical path: {site}")?;
        }
        if let Some(&site) = self.critical_path().first() {
            let faster = self.what_if(site, 2.0);
            let gain = |processors: usize| {
                let (time, before) = (faster.time(processors), self.time(processors));
                100.0 * (1.0 - time.as_secs_f64() / before.as_secs_f64().max(1e-9))
            };
            let threads = self.threads;
            let (few, many) = (gain(threads), gain(1_024));
            write!(
                f,
                "if {site} were twice as fast, the program would take {few:.0} % less time on {threads} threads, {many:.0} % less on 1,024"
            )?;
        }
        Ok(())
    }
}
