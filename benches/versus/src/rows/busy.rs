//! Rows of leaves that sleep: is every thread busy while there is work that it may run, however the work is divided?
//!
//! The ideal is the work divided among the threads. Where leaves differ in length, the longest leaf is added: no scheduler that keeps every
//! thread busy while there is unstarted work takes longer than that.

use super::shared::time;
use crate::common::contract::{JoinKernel, Tally};
use crate::common::naps::{self, Naps, ScopedNaps, Shape, Tail, sleep};
use crate::contest::{Bench, Row};
use crate::contestants::{Heist, JoinPeer, MapPeer, Peer, Rayon, ScopePeer};
use crate::results::Unit;
use heist::{Source, ThreadPool};
use std::sync::mpsc;
use std::time::Duration;

/// Leaves for each thread.
const LEAVES: usize = 20;

/// Runs the rows.
pub fn run(bench: &mut Bench) {
    for threads in bench.threads_or(&[2, 4, 8, 32, 128]) {
        let nap = Duration::from_millis(if threads <= 8 { 10 } else { 20 });
        let size = Size { threads, nap };
        joins(bench, size);
        maps(bench, size);
        others(bench, size);
        if threads > 2 {
            last_thread(bench, size);
        }
    }
}

#[derive(Clone, Copy)]
struct Size {
    threads: usize,
    nap: Duration,
}

impl Size {
    fn equal(self) -> Vec<Duration> {
        naps::equal(LEAVES * self.threads, self.nap)
    }

    fn name(self, what: &str) -> String {
        format!("busy-{what}/{}", self.threads)
    }

    fn row<'a>(self, about: &str, leaves: &[Duration]) -> Row<'a> {
        let work: Duration = leaves.iter().sum();
        let longest = leaves.iter().max().copied().unwrap_or_default();
        let longer = longest.saturating_sub(self.nap);
        let tail = if longer.is_zero() { longer } else { longest };
        let about = format!("{about}, {} leaves", leaves.len());
        Row::new(about, Unit::Milliseconds).ideal(work / self.threads as u32 + tail)
    }
}

fn joins(bench: &mut Bench, size: Size) {
    for (name, about, shape) in [
        ("leaf-rest", "join(leaf, rest)", Shape::LeafRest),
        ("rest-leaf", "join(rest, leaf)", Shape::RestLeaf),
        ("balanced", "join of halves", Shape::Balanced),
        ("random", "join of parts cut anywhere", Shape::Random),
        ("fibonacci", "join of golden sections", Shape::Fibonacci),
        ("chains", "join(chain, rest)", Shape::Chains),
    ] {
        bench.row(&size.name(name), |_| {
            let leaves = size.equal();
            let mut row = size.row(about, &leaves);
            add_join::<Heist>(&mut row, Naps { shape, leaves }, size.threads);
            let leaves = size.equal();
            add_join::<Rayon>(&mut row, Naps { shape, leaves }, size.threads);
            row
        });
    }
}

fn add_join<'a, P: JoinPeer + 'a>(row: &mut Row<'a>, kernel: Naps, threads: usize) {
    let pool = P::build(threads);
    let expected = kernel.serial();
    row.add(P::NAME, 1, move || {
        let (duration, answer) = pool.time(&kernel);
        assert_eq!(answer, expected, "{} lost a leaf", P::NAME);
        duration
    });
}

fn maps(bench: &mut Bench, size: Size) {
    bench.row(&size.name("map"), |_| map_row("map", size, size.equal()));
    for (name, about, tail) in [
        ("map-long-first", "map, long items first", Tail::First),
        ("map-long-random", "map, long items anywhere", Tail::Random),
        ("map-long-last", "map, long items last", Tail::Last),
    ] {
        bench.row(&size.name(name), |_| {
            let leaves = naps::heavy_tailed(LEAVES * size.threads, size.nap, tail);
            map_row(about, size, leaves)
        });
    }
    own(bench, size, "map-init", |pool, leaves| {
        let ones = pool.map_init(leaves, || 0, |_, &nap| sleep(nap));
        ones.len()
    });
    own(bench, size, "for-each", |pool, leaves| {
        pool.for_each(leaves, |&nap| {
            sleep(nap);
        });
        leaves.len()
    });
    own(bench, size, "map-reduce", |pool, leaves| {
        pool.map_reduce(leaves, |&nap| sleep(nap), || 0, |a, b| a + b)
    });
    own(bench, size, "try-map", |pool, leaves| {
        let ones = pool.try_map(leaves, |&nap| Ok::<_, ()>(sleep(nap)));
        ones.map_or(0, |ones| ones.len())
    });
    own(bench, size, "find-any", |pool, leaves| {
        let found = pool.find_any(leaves, |nap| sleep(**nap) > 1);
        found.map_or(leaves.len(), |_| 0)
    });
    own(bench, size, "own-source", |pool, leaves| {
        let range = Numbers(0..leaves.len());
        pool.map_reduce(range, |n| sleep(leaves[n]), || 0, |a, b| a + b)
    });
}

fn map_row<'a>(about: &str, size: Size, leaves: Vec<Duration>) -> Row<'a> {
    let mut row = size.row(about, &leaves);
    add_map::<Heist>(&mut row, leaves.clone(), size.threads);
    add_map::<Rayon>(&mut row, leaves, size.threads);
    row
}

fn add_map<'a, P: MapPeer + 'a>(row: &mut Row<'a>, leaves: Vec<Duration>, threads: usize) {
    let pool = P::build(threads);
    row.add(P::NAME, 1, move || {
        let (duration, ones) = time(|| pool.map(&leaves, |&nap| sleep(nap)));
        assert_eq!(ones.len(), leaves.len());
        duration
    });
}

/// A row with heist alone. `run` returns how many leaves have run.
fn own(
    bench: &mut Bench,
    size: Size,
    name: &str,
    run: impl Fn(&ThreadPool, &[Duration]) -> usize + 'static,
) {
    bench.row(&size.name(name), |_| {
        let leaves = size.equal();
        let mut row = size.row(name, &leaves);
        let heist = Heist::build(size.threads);
        row.add("heist", 1, move || {
            let (duration, ran) = time(|| run(heist.pool(), &leaves));
            assert_eq!(ran, leaves.len());
            duration
        });
        row
    });
}

/// A source as a user writes it.
struct Numbers(std::ops::Range<usize>);

impl Source for Numbers {
    type Item = usize;
    type Iter = std::ops::Range<usize>;

    fn len(&self) -> usize {
        self.0.end - self.0.start
    }

    fn split_at(self, middle: usize) -> (Self, Self) {
        let middle = self.0.start + middle;
        (Numbers(self.0.start..middle), Numbers(middle..self.0.end))
    }

    fn into_seq(self) -> Self::Iter {
        self.0
    }
}

fn others(bench: &mut Bench, size: Size) {
    bench.row(&size.name("scope"), |_| {
        let leaves = size.equal();
        let kernel = ScopedNaps {
            count: leaves.len(),
            nap: size.nap,
        };
        let mut row = size.row("a scope's tasks", &leaves);
        add_scope::<Heist>(&mut row, kernel, size.threads);
        add_scope::<Rayon>(&mut row, kernel, size.threads);
        row
    });
    own(bench, size, "stream", |pool, leaves| {
        let naps = leaves.iter().copied();
        let stream = pool.imap(naps, sleep).map(|one| one.unwrap_or(0));
        stream.sum()
    });
    own(bench, size, "nested-maps", |pool, leaves| {
        let rows: Vec<&[Duration]> = leaves.chunks(LEAVES).collect();
        let inner =
            |row: &&[Duration]| pool.map_reduce(*row, |&nap| sleep(nap), || 0, |a, b| a + b);
        pool.map_reduce(&rows, inner, || 0, |a, b| a + b)
    });
    own(bench, size, "mixed", |pool, leaves| {
        pool.install(|| mixed(leaves))
    });
    bench.row(&size.name("two-pools"), |_| {
        let leaves = size.equal();
        let mut row = size.row("maps of one pool in a map of another", &leaves);
        let (outer, inner) = (Heist::build(size.threads), Heist::build(size.threads));
        row.add("heist", 1, move || {
            let rows: Vec<&[Duration]> = leaves.chunks(LEAVES).collect();
            time(|| {
                outer.pool().for_each(&rows, |row| {
                    inner.pool().for_each(*row, |&nap| {
                        sleep(nap);
                    });
                });
            })
            .0
        });
        row
    });
}

fn add_scope<'a, P: ScopePeer + 'a>(row: &mut Row<'a>, kernel: ScopedNaps, threads: usize) {
    let pool = P::build(threads);
    row.add(P::NAME, 1, move || {
        let tally = Tally::default();
        let duration = pool.time_scope(kernel, &tally);
        assert_eq!(tally.total(), kernel.count as u64);
        duration
    });
}

/// Maps in joins in scopes in maps.
fn mixed(leaves: &[Duration]) -> usize {
    use std::sync::atomic::{AtomicUsize, Ordering};
    let ran = AtomicUsize::new(0);
    let pool = ThreadPool::current().expect("inside a pool");
    let rows: Vec<&[Duration]> = leaves.chunks(2 * LEAVES).collect();
    pool.for_each(&rows, |row| {
        heist::scope(|scope| {
            for part in row.chunks(LEAVES / 2) {
                let (ran, pool) = (&ran, &pool);
                scope.spawn(move |_| {
                    let (left, right) = part.split_at(part.len() / 4);
                    let map = |part: &[Duration]| {
                        pool.map_reduce(part, |&nap| sleep(nap), || 0, |a, b| a + b)
                    };
                    let (a, b) = heist::join(|| map(left), || map(right));
                    ran.fetch_add(a + b, Ordering::Relaxed);
                });
            }
        });
    });
    ran.into_inner()
}

/// All threads but one wait, without spares. Then the last thread creates work for all.
fn last_thread(bench: &mut Bench, size: Size) {
    for (name, about, work) in [
        (
            "last-forks",
            "all but one wait, which then forks",
            Last::Forks,
        ),
        (
            "last-scope",
            "all but one wait, which then opens a scope",
            Last::Scope,
        ),
        (
            "last-chain",
            "all but one wait, which then runs a chain",
            Last::Chain,
        ),
    ] {
        bench.row(&size.name(name), |_| {
            let leaves = size.equal();
            let mut row = size.row(about, &leaves);
            let pool = ThreadPool::builder()
                .num_threads(size.threads)
                .spare_threads(0)
                .build()
                .expect("a pool for the bench could not be built");
            row.add("heist", 1, move || {
                pool.install(|| gather(size.threads - 1, &leaves, work))
            });
            row
        });
    }
}

#[derive(Clone, Copy)]
enum Last {
    Forks,
    Scope,
    Chain,
}

/// Lets `more` further threads wait, each for the next one, and the last one do the work. Returns how long that takes.
fn gather(more: usize, leaves: &[Duration], work: Last) -> Duration {
    if more > 0 {
        let (begin, begun) = mpsc::channel::<()>();
        let (_, took) = heist::join(
            move || begun.recv().is_ok(),
            move || {
                drop(begin);
                gather(more - 1, leaves, work)
            },
        );
        return took;
    }
    let shape = |shape| {
        let kernel = Naps {
            shape,
            leaves: leaves.to_vec(),
        };
        time(|| kernel.run::<crate::common::through_heist::HeistJoin>(&mut ())).0
    };
    match work {
        Last::Forks => shape(Shape::Balanced),
        Last::Chain => shape(Shape::LeafRest),
        Last::Scope => {
            let work = || {
                heist::scope(|scope| {
                    for &nap in leaves {
                        scope.spawn(move |_| {
                            sleep(nap);
                        });
                    }
                });
            };
            time(work).0
        }
    }
}
