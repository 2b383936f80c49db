//! Rows of single tasks with handles: submitted by one thread, by several, by each other, and one at a time.
//!
//! The submitting thread takes no part in the work. A pool has its workers beside it.

use super::shared::time;
use crate::common::contract::Tally;
use crate::contest::{Bench, Row};
#[cfg(feature = "forte")]
use crate::contestants::Forte;
use crate::contestants::{Channel, Heist, Naive, Peer, Rayon, SubmitPeer, Tokio};
use crate::results::Unit;
use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// The thread count of rows that have only one.
const THREADS: usize = 2;

/// The pause before a task that finds the pool parked.
const LEFT_ALONE: Duration = Duration::from_millis(1);

/// Runs the rows.
pub fn run(bench: &mut Bench) {
    for threads in bench.threads_or(&[2, 8]) {
        bench.row(&format!("submit/{threads}"), |bench| flood(bench, threads));
    }
    for submitters in [2, 4] {
        for threads in bench.threads_or(&[THREADS]) {
            bench.row(&format!("submit-from-{submitters}/{threads}"), |bench| {
                flood_from(bench, submitters, threads)
            });
        }
    }
    for threads in bench.threads_or(&[THREADS]) {
        bench.row(&format!("submit-tree/{threads}"), |bench| {
            tree(bench, threads)
        });
    }
    for pace in [Pace::Hot, Pace::Parked, Pace::Busy] {
        let name = match pace {
            Pace::Hot => "round-trip-hot",
            Pace::Parked => "round-trip-parked",
            Pace::Busy => "round-trip-busy",
        };
        for threads in bench.threads_or(&[THREADS]) {
            bench.row(&format!("{name}/{threads}"), |bench| {
                round_trip(bench, pace, threads)
            });
        }
    }
}

/// Calls a function that adds one contestant for every scheduler that takes single tasks.
macro_rules! add_all {
    ($add:ident $arguments:tt) => {
        add_all!(@one $add, Heist, $arguments);
        add_all!(@one $add, Rayon, $arguments);
        add_all!(@one $add, Channel, $arguments);
        add_all!(@one $add, Tokio, $arguments);
        #[cfg(feature = "forte")]
        add_all!(@one $add, Forte, $arguments);
        add_all!(@one $add, Naive, $arguments);
    };
    (@one $add:ident, $peer:ident, ($($argument:expr),*)) => {
        $add::<$peer>($($argument),*);
    };
}

/// A tiny task.
fn tiny(n: u64) -> impl FnOnce() -> u64 + Send + 'static {
    move || black_box(n) + 1
}

/// The sum of what tiny tasks return, for each of `0..count`.
fn tiny_sum(count: u64) -> u64 {
    count * (count + 1) / 2
}

/// Submits tiny tasks for `numbers`, then joins them in order.
fn submit_and_join<P: SubmitPeer>(pool: &P, numbers: std::ops::Range<u64>) -> u64 {
    let handles: Vec<_> = numbers.map(|n| pool.submit(tiny(n))).collect();
    let mut sum = 0;
    pool.join_all(handles, |result| sum += result);
    sum
}

/// Many tiny tasks submitted by one outside thread, which then joins them.
fn flood<'a>(bench: &Bench, threads: usize) -> Row<'a> {
    fn add<P: SubmitPeer + 'static>(row: &mut Row, count: u64, threads: usize) {
        let pool = P::with_workers(threads);
        row.add(P::NAME, count, move || {
            let (duration, sum) = time(|| submit_and_join(&pool, 0..count));
            assert_eq!(sum, tiny_sum(count), "{} lost a task", P::NAME);
            duration
        });
    }

    let count = bench.pick(1_000_000, 100_000);
    let about = format!("{count} tiny tasks submitted from outside, then joined in order");
    let mut row = Row::new(about, Unit::NanosecondsPer("task"));
    add_all!(add(&mut row, count, threads));
    row
}

/// The same number of tasks, divided among several threads that submit and join their own at the same time.
fn flood_from<'a>(bench: &Bench, submitters: u64, threads: usize) -> Row<'a> {
    fn add<P: SubmitPeer + 'static>(row: &mut Row, count: u64, submitters: u64, threads: usize) {
        let pool = P::with_workers(threads);
        row.add(P::NAME, count, move || {
            let (duration, sum) = from_each(&pool, count, submitters);
            assert_eq!(sum, tiny_sum(count), "{} lost a task", P::NAME);
            duration
        });
    }

    fn from_each<P: SubmitPeer>(pool: &P, count: u64, submitters: u64) -> (Duration, u64) {
        let start_line = Barrier::new(submitters as usize);
        let part = |index| {
            start_line.wait();
            let start = Instant::now();
            let numbers = count * index / submitters..count * (index + 1) / submitters;
            let sum = submit_and_join(pool, numbers);
            (start, Instant::now(), sum)
        };
        let parts: Vec<(Instant, Instant, u64)> = thread::scope(|scope| {
            let others: Vec<_> = (1..submitters)
                .map(|index| scope.spawn(move || part(index)))
                .collect();
            let own = part(0);
            let others = others
                .into_iter()
                .map(|other| other.join().expect("a submitter panicked"));
            std::iter::once(own).chain(others).collect()
        });
        let first = parts.iter().map(|part| part.0).min();
        let last = parts.iter().map(|part| part.1).max();
        let duration = last
            .zip(first)
            .map_or(Duration::ZERO, |(last, first)| last - first);
        (duration, parts.iter().map(|part| part.2).sum())
    }

    let count = bench.pick(1_000_000, 100_000);
    let about = format!("{count} tiny tasks by {submitters} outside threads, each joins its own");
    let mut row = Row::new(about, Unit::NanosecondsPer("task"));
    add_all!(add(&mut row, count, submitters, threads));
    row
}

/// A binary tree of tasks, each submitted by its parent, which does not wait.
fn tree<'a>(bench: &Bench, threads: usize) -> Row<'a> {
    fn add<P: SubmitPeer + 'static>(row: &mut Row, levels: u32, threads: usize) {
        add_as::<P, Spawned>(row, P::NAME, levels, threads);
    }

    fn add_as<P, M>(row: &mut Row, name: &'static str, levels: u32, threads: usize)
    where
        P: SubmitPeer + 'static,
        M: Manner,
    {
        let tree = Tree::plant(P::with_workers(threads), levels);
        row.add(name, tree.nodes(), move || tree.time::<M>());
    }

    let levels = bench.pick(20, 17);
    let about = format!("a binary tree of {levels} levels, a task per node, nobody waits");
    let mut row = Row::new(about, Unit::NanosecondsPer("task"));
    add_as::<Heist, Submitted>(&mut row, Heist::NAME, levels, threads);
    add_as::<Heist, Spawned>(&mut row, "heist-spawn", levels, threads);
    add::<Rayon>(&mut row, levels, threads);
    add::<Channel>(&mut row, levels, threads);
    add::<Tokio>(&mut row, levels, threads);
    #[cfg(feature = "forte")]
    add::<Forte>(&mut row, levels, threads);
    add::<Naive>(&mut row, levels, threads);
    row
}

/// How a task starts another.
trait Manner: 'static {
    fn start<P: SubmitPeer>(pool: &P, task: impl FnOnce() + Send + 'static);
}

/// With a handle, which is let go.
struct Submitted;

/// Without a handle.
struct Spawned;

impl Manner for Submitted {
    fn start<P: SubmitPeer>(pool: &P, task: impl FnOnce() + Send + 'static) {
        drop(pool.submit(task));
    }
}

impl Manner for Spawned {
    fn start<P: SubmitPeer>(pool: &P, task: impl FnOnce() + Send + 'static) {
        pool.spawn(task);
    }
}

/// The tree and the counts that show when it is done. The root is node 1, and the children of n are 2n and 2n + 1.
struct Tree<P> {
    pool: P,
    levels: u32,
    /// The sum of the numbers of all nodes that have run, over all repetitions.
    sum: Tally,
    /// The numbers of tasks that are left: one for the upper levels, then one for each subtree below them. So mostly one thread writes to each.
    pending: Vec<Pending>,
    /// How many of the counts in `pending` are not zero.
    left: AtomicU64,
    waiter: Thread,
}

#[repr(align(128))]
struct Pending(AtomicU64);

impl<P: SubmitPeer + 'static> Tree<P> {
    /// Makes a tree that is never freed, nor is its pool: tasks refer to it, and nobody knows when the last one has returned.
    fn plant(pool: P, levels: u32) -> &'static Self {
        let places = 1 + (1 << (levels / 2));
        Box::leak(Box::new(Tree {
            pool,
            levels,
            sum: Tally::default(),
            pending: (0..places).map(|_| Pending(AtomicU64::new(0))).collect(),
            left: AtomicU64::new(0),
            waiter: thread::current(),
        }))
    }

    fn nodes(&self) -> u64 {
        (1 << self.levels) - 1
    }

    fn time<M: Manner>(&'static self) -> Duration {
        let sum_before = self.sum.total();
        let upper = self.levels / 2;
        let (first, others) = self.pending.split_first().expect("a place for the root");
        first.0.store((1 << upper) - 1, Ordering::Relaxed);
        for other in others {
            let nodes = (1 << (self.levels - upper)) - 1;
            other.0.store(nodes, Ordering::Relaxed);
        }
        self.left
            .store(self.pending.len() as u64, Ordering::Relaxed);

        let start = Instant::now();
        M::start(&self.pool, move || self.grow::<M>(1));
        // ORDERING: Acquire pairs with the Release of the last task of each place.
        while self.left.load(Ordering::Acquire) > 0 {
            thread::park();
        }
        let duration = start.elapsed();

        let nodes = self.nodes();
        let sum = self.sum.total() - sum_before;
        assert_eq!(sum, nodes * (nodes + 1) / 2, "{} lost a task", P::NAME);
        duration
    }

    fn grow<M: Manner>(&'static self, node: u64) {
        self.sum.add(node);
        if 2 * node <= self.nodes() {
            for child in [2 * node, 2 * node + 1] {
                M::start(&self.pool, move || self.grow::<M>(child));
            }
        }
        self.count(node);
    }

    /// Counts down after a task.
    fn count(&self, node: u64) {
        let (level, upper) = (node.ilog2(), self.levels / 2);
        let place = match level.checked_sub(upper) {
            None => 0,
            Some(depth) => 1 + (node >> depth) as usize - (1 << upper),
        };
        // ORDERING: AcqRel pairs with itself: the task that counts down to zero has seen what all others did.
        if self.pending[place].0.fetch_sub(1, Ordering::AcqRel) == 1
            && self.left.fetch_sub(1, Ordering::AcqRel) == 1
        {
            self.waiter.unpark();
        }
    }
}

/// How tasks follow each other.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pace {
    /// Each task is submitted at once after the last one.
    Hot,
    /// Each task is submitted after a pause.
    Parked,
    /// Each task is submitted at once, while busy threads, twice as many as there are cores, compete for the cores.
    Busy,
}

impl Pace {
    /// Makes `trips` round trips and returns how long each takes.
    fn time(self, trips: u64, mut trip: impl FnMut(u64)) -> Vec<Duration> {
        if self != Pace::Parked {
            // The pool has been left alone.
            (0..100).for_each(&mut trip);
        }
        let time_one = |n| {
            if self == Pace::Parked {
                thread::sleep(LEFT_ALONE);
            }
            time(|| trip(n)).0
        };
        let neighbours = match self {
            Pace::Busy => 2 * thread::available_parallelism().map_or(1, usize::from),
            _ => 0,
        };
        let over = AtomicBool::new(false);
        let busy = || {
            while !over.load(Ordering::Relaxed) {
                black_box(());
            }
        };
        thread::scope(|scope| {
            (0..neighbours).for_each(|_| drop(scope.spawn(busy)));
            let times = (0..trips).map(time_one).collect();
            over.store(true, Ordering::Relaxed);
            times
        })
    }
}

/// One tiny task at a time, submitted and joined.
fn round_trip<'a>(bench: &Bench, pace: Pace, threads: usize) -> Row<'a> {
    fn add<P: SubmitPeer + 'static>(row: &mut Row, pace: Pace, trips: u64, threads: usize) {
        let pool = P::with_workers(threads);
        row.add_events(P::NAME, move || {
            pace.time(trips, |n| {
                let result = pool.join(pool.submit(tiny(n)));
                assert_eq!(result, n + 1);
            })
        });
    }

    let (trips, when) = match pace {
        Pace::Hot => (bench.pick(5_000, 1_000), "to a pool just used"),
        Pace::Parked => (bench.pick(200, 40), "1 ms after the one before"),
        Pace::Busy => (bench.pick(2_000, 200), "to a pool just used, on busy cores"),
    };
    let about = format!("one task submitted and joined, {when}, trip by trip");
    let mut row = Row::new(about, Unit::MicrosecondsPer("trip"));
    add_all!(add(&mut row, pace, trips, threads));
    row
}
