//! A binomial tree of spawned tasks: the cost of a spawn and nothing else, with tasks of every fan-out.

use super::contract::{Spawn, SpawnKernel, Tally};
use std::hint::black_box;

/// A tree of order k has children of the orders 0 to k - 1, and so 2^k nodes. Every node except the root is a task.
#[derive(Clone, Copy, Debug)]
pub struct SpawnTree {
    /// The order of the root.
    pub order: u32,
}

impl SpawnKernel for SpawnTree {
    fn spawns(&self) -> u64 {
        (1 << self.order) - 1
    }

    fn serial(&self) -> u64 {
        serial(black_box(self.order))
    }

    fn run<'scope, S: Spawn<'scope>>(self, scope: &S, tally: &'scope Tally) {
        grow(scope, self.order, tally);
    }
}

#[inline(never)]
fn serial(order: u32) -> u64 {
    let mut nodes = 1;
    for child in 0..order {
        nodes += serial(child);
    }
    nodes
}

fn grow<'scope, S: Spawn<'scope>>(scope: &S, order: u32, tally: &'scope Tally) {
    tally.add(1);
    for child in 0..order {
        scope.spawn(move |scope| grow(scope, child, tally));
    }
}
