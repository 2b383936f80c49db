//! The cost of a fork and nothing else: Fibonacci numbers without a cut-off, and a flat loop of joins.

use super::contract::{Join, JoinKernel, Spawn, SpawnKernel, Tally};
use std::hint::black_box;

/// `fib(n)` with a fork at every call above the leaves.
#[derive(Clone, Copy, Debug)]
pub struct Fib {
    /// The index of the Fibonacci number.
    pub n: u32,
}

impl JoinKernel for Fib {
    type Answer = u64;

    fn units(&self) -> u64 {
        forks(self.n)
    }

    fn serial(&self) -> u64 {
        serial_fib(black_box(self.n))
    }

    fn run<J: Join>(&self, context: &mut J::Context<'_>) -> u64 {
        fib_by_join::<J>(context, black_box(self.n))
    }
}

/// The plain recursion, kept out of line so that a call stays a call.
#[inline(never)]
pub fn serial_fib(n: u32) -> u64 {
    if n < 2 {
        return u64::from(n);
    }
    serial_fib(n - 1) + serial_fib(n - 2)
}

#[inline(never)]
fn fib_by_join<J: Join>(context: &mut J::Context<'_>, n: u32) -> u64 {
    if n < 2 {
        return u64::from(n);
    }
    let (a, b) = J::join(
        context,
        move |context| fib_by_join::<J>(context, n - 1),
        move |context| fib_by_join::<J>(context, n - 2),
    );
    a + b
}

/// The number of forks of `fib(n)`, which is `fib(n + 1) - 1`.
fn forks(n: u32) -> u64 {
    let (mut current, mut next) = (0u64, 1u64);
    for _ in 0..n {
        (current, next) = (next, current + next);
    }
    next - 1
}

/// `fib(n)` for pools that cannot join. Each call spawns one half and runs the other; the leaves are summed.
#[derive(Clone, Copy, Debug)]
pub struct FibBySpawn {
    /// The index of the Fibonacci number.
    pub n: u32,
}

impl SpawnKernel for FibBySpawn {
    fn spawns(&self) -> u64 {
        forks(self.n)
    }

    fn serial(&self) -> u64 {
        serial_fib(black_box(self.n))
    }

    fn run<'scope, S: Spawn<'scope>>(self, scope: &S, tally: &'scope Tally) {
        fib_by_spawn(scope, self.n, tally);
    }
}

fn fib_by_spawn<'scope, S: Spawn<'scope>>(scope: &S, mut n: u32, tally: &'scope Tally) {
    while n >= 2 {
        let less_one = n - 1;
        scope.spawn(move |scope| fib_by_spawn(scope, less_one, tally));
        n -= 2;
    }
    tally.add(u64::from(n));
}

/// A loop of joins of two tiny closures. Each join ends before the next one begins.
#[derive(Clone, Copy, Debug)]
pub struct FlatJoins {
    /// The number of joins.
    pub count: u64,
}

impl JoinKernel for FlatJoins {
    type Answer = u64;

    fn units(&self) -> u64 {
        self.count
    }

    fn serial(&self) -> u64 {
        let mut sum = 0u64;
        for i in 0..self.count {
            sum = sum.wrapping_add(tiny_a(i)).wrapping_add(tiny_b(i));
        }
        sum
    }

    fn run<J: Join>(&self, context: &mut J::Context<'_>) -> u64 {
        let mut sum = 0u64;
        for i in 0..self.count {
            let (a, b) = J::join(context, move |_| tiny_a(i), move |_| tiny_b(i));
            sum = sum.wrapping_add(a).wrapping_add(b);
        }
        sum
    }
}

#[inline(always)]
fn tiny_a(i: u64) -> u64 {
    black_box(i) ^ 1
}

#[inline(always)]
fn tiny_b(i: u64) -> u64 {
    i.wrapping_mul(3)
}
