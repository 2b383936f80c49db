//! Trees of forks whose leaves take a known time. The simulation and the real pools run the same ones.

use crate::random::{fraction, mix};
use clap::ValueEnum;

/// A point in time or a duration, in nanoseconds.
pub type Ns = u64;

/// How a tree divides its leaves, and how long they take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shape {
    /// Each fork divides its leaves at a random point; a leaf takes an exponentially distributed time.
    Random,
    /// Each fork divides its leaves into halves; leaves differ by at most 20 % from their mean.
    Balanced,
    /// Each fork divides its leaves by the golden ratio, as `fib` does; all leaves take the same time.
    Fib,
}

/// A fork-join program.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    /// The shape of the tree.
    pub shape: Shape,
    /// The number of leaves.
    pub leaves: u32,
    /// The mean duration of a leaf.
    pub leaf: Ns,
}

/// A subtree.
#[derive(Clone, Copy, Debug)]
pub struct Node {
    leaves: u32,
    hash: u64,
}

/// What a subtree consists of.
pub enum Parts {
    /// One leaf, which takes so long.
    Leaf(Ns),
    /// The two closures of a join.
    Fork(Node, Node),
}

impl Workload {
    /// A program that keeps `threads` threads busy for `per_thread` at best.
    pub fn of(shape: Shape, threads: usize, per_thread: Ns, leaf: Ns) -> Self {
        let leaves = threads as u64 * per_thread / leaf;
        Workload {
            shape,
            leaves: u32::try_from(leaves.max(1)).unwrap_or(u32::MAX),
            leaf,
        }
    }

    /// The whole tree. Trees of different seeds have different leaves.
    pub fn root(&self, seed: u64) -> Node {
        Node {
            leaves: self.leaves,
            hash: mix(seed),
        }
    }

    /// The parts of a subtree.
    pub fn expand(&self, node: Node) -> Parts {
        if node.leaves <= 1 {
            return Parts::Leaf(self.leaf_time(node.hash));
        }
        let (first_hash, second_hash) = (
            mix(node.hash ^ 0x9e37_79b9_7f4a_7c15),
            mix(node.hash.wrapping_add(0x0123_4567)),
        );
        let share = match self.shape {
            Shape::Random => fraction(first_hash),
            Shape::Balanced => 0.5,
            Shape::Fib => 0.618,
        };
        let first = ((f64::from(node.leaves) * share) as u32).clamp(1, node.leaves - 1);
        let part = |leaves, hash| Node { leaves, hash };
        Parts::Fork(
            part(first, first_hash),
            part(node.leaves - first, second_hash),
        )
    }

    fn leaf_time(&self, hash: u64) -> Ns {
        let mean = self.leaf as f64;
        let time = match self.shape {
            Shape::Random => -mean * (1.0 - fraction(mix(hash))).ln(),
            Shape::Balanced => mean * (0.8 + 0.4 * fraction(mix(hash))),
            Shape::Fib => mean,
        };
        time as Ns
    }
}
