//! Leaves that sleep: is every thread busy while there is work that it may run?
//!
//! A sleeping leaf occupies its thread and no core, so a pool of any size can be measured on any machine. The work divided by the
//! time is the number of threads that were busy.

use super::contract::{Join, JoinKernel, Serial, Spawn, SpawnKernel, Tally};
use super::{mix, unit_interval};
use std::thread;
use std::time::Duration;

/// How a program of joins divides its leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `join(leaf, rest)`.
    LeafRest,
    /// `join(rest, leaf)`.
    RestLeaf,
    /// Into halves.
    Balanced,
    /// At random places.
    Random,
    /// By the golden section.
    Fibonacci,
    /// A chain of `join(chain, rest)`.
    Chains,
}

/// A program that runs leaves by joins.
#[derive(Clone, Debug)]
pub struct Naps {
    /// How the leaves are divided.
    pub shape: Shape,
    /// How long each sleeps.
    pub leaves: Vec<Duration>,
}

/// The number of leaves in one chain of [`Shape::Chains`].
const CHAIN: usize = 10;

impl JoinKernel for Naps {
    /// The number of leaves that have run.
    type Answer = usize;

    fn units(&self) -> u64 {
        self.leaves.len() as u64
    }

    fn serial(&self) -> usize {
        let awake = Naps {
            shape: self.shape,
            leaves: vec![Duration::ZERO; self.leaves.len()],
        };
        awake.run::<Serial>(&mut ())
    }

    fn run<J: Join>(&self, context: &mut J::Context<'_>) -> usize {
        divide::<J>(context, self.shape, &self.leaves)
    }
}

fn divide<J: Join>(context: &mut J::Context<'_>, shape: Shape, leaves: &[Duration]) -> usize {
    let count = leaves.len();
    if count == 0 {
        return 0;
    }
    if count == 1 {
        return sleep(leaves[0]);
    }
    let (middle, left_shape) = match shape {
        Shape::LeafRest => (1, shape),
        Shape::RestLeaf => (count - 1, shape),
        Shape::Balanced => (count / 2, shape),
        Shape::Random => {
            let at = unit_interval(mix(leaves.as_ptr().addr() as u64));
            (1 + (at * (count - 2) as f64) as usize, shape)
        }
        Shape::Fibonacci => ((count as f64 * 0.618) as usize, shape),
        Shape::Chains => (count.min(CHAIN), Shape::LeafRest),
    };
    if middle == count {
        return divide::<J>(context, left_shape, leaves);
    }
    let (left, right) = leaves.split_at(middle);
    let (a, b) = J::join(
        context,
        move |context| divide::<J>(context, left_shape, left),
        move |context| divide::<J>(context, shape, right),
    );
    a + b
}

/// Runs a leaf, which sleeps.
pub fn sleep(nap: Duration) -> usize {
    if !nap.is_zero() {
        thread::sleep(nap);
    }
    1
}

/// `count` leaves of equal length.
pub fn equal(count: usize, nap: Duration) -> Vec<Duration> {
    vec![nap; count]
}

/// The places of the long leaves. One leaf in twenty is long, and takes 10.5 times as long as the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// At the beginning.
    First,
    /// At random places.
    Random,
    /// At the end.
    Last,
}

/// `count` leaves, of which one in twenty is long.
pub fn heavy_tailed(count: usize, nap: Duration, tail: Tail) -> Vec<Duration> {
    let long = nap * 21 / 2;
    let heavy = count / 20;
    let mut leaves = vec![nap; count];
    match tail {
        Tail::First => leaves[..heavy].fill(long),
        Tail::Last => leaves[count - heavy..].fill(long),
        Tail::Random => {
            for n in 0..heavy {
                leaves[n * 20 + mix(n as u64) as usize % 20] = long;
            }
        }
    }
    leaves
}

/// Leaves that are spawned on a scope by tasks that halve the range.
#[derive(Clone, Copy, Debug)]
pub struct ScopedNaps {
    /// The number of leaves.
    pub count: usize,
    /// How long each sleeps.
    pub nap: Duration,
}

impl SpawnKernel for ScopedNaps {
    fn spawns(&self) -> u64 {
        self.count as u64
    }

    fn serial(&self) -> u64 {
        self.count as u64
    }

    fn run<'scope, S: Spawn<'scope>>(self, scope: &S, tally: &'scope Tally) {
        for _ in 0..self.count {
            let nap = self.nap;
            scope.spawn(move |_| tally.add(sleep(nap) as u64));
        }
    }
}
