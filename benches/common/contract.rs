//! The two interfaces through which every scheduler runs the same kernels.

use std::cell::Cell;
use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// A fork-join primitive.
///
/// Some schedulers hand a context from fork to fork (chili its scope, forte its worker), others find it in a
/// thread-local variable. A kernel passes the context on in both cases; where it is `()` the optimiser removes the
/// argument.
pub trait Join {
    /// What a fork needs from the fork above it.
    type Context<'c>;

    /// Runs `a` and `b`, possibly in parallel, and returns both results.
    fn join<A, B, RA, RB>(context: &mut Self::Context<'_>, a: A, b: B) -> (RA, RB)
    where
        A: FnOnce(&mut Self::Context<'_>) -> RA + Send,
        B: FnOnce(&mut Self::Context<'_>) -> RB + Send,
        RA: Send,
        RB: Send;
}

/// The join that never forks: `a`, then `b`. It gives the serial time of kernels that are about order, not speed.
pub struct Serial;

impl Join for Serial {
    type Context<'c> = ();

    fn join<A, B, RA, RB>(context: &mut (), a: A, b: B) -> (RA, RB)
    where
        A: FnOnce(&mut ()) -> RA + Send,
        B: FnOnce(&mut ()) -> RB + Send,
        RA: Send,
        RB: Send,
    {
        let answer_a = a(context);
        let answer_b = b(context);
        (answer_a, answer_b)
    }
}

/// A program made of joins, with the serial program that it is compared with.
pub trait JoinKernel: Sync {
    /// What the program computes.
    type Answer: PartialEq + Debug + Send;

    /// The number of forks, nodes or items that one run handles: times are given per unit.
    fn units(&self) -> u64;

    /// The plain program, without a scheduler.
    fn serial(&self) -> Self::Answer;

    /// The same program by joins, without any cut-off.
    fn run<J: Join>(&self, context: &mut J::Context<'_>) -> Self::Answer;
}

/// A scope that tasks can be spawned on, from its body and from its tasks.
pub trait Spawn<'scope>: Sync {
    /// Adds a task that may borrow what outlives the scope.
    fn spawn<F>(&self, task: F)
    where
        F: FnOnce(&Self) + Send + 'scope;
}

/// A program that spawns one task per node of its recursion, with the serial program that it is compared with.
pub trait SpawnKernel: Copy + Send + Sync {
    /// How many tasks one run spawns.
    fn spawns(&self) -> u64;

    /// The plain program, without a scheduler.
    fn serial(&self) -> u64;

    /// The same program: what the tasks find is added to `tally`, whose total is the answer.
    fn run<'scope, S: Spawn<'scope>>(self, scope: &S, tally: &'scope Tally);
}

/// A sum to which many threads add without getting into each other's way.
#[derive(Default)]
pub struct Tally {
    shards: [Shard; SHARDS],
}

/// More than the threads of any row, so that a thread has a shard to itself.
const SHARDS: usize = 32;

/// One thread's part of a sum. Two cache lines, as adjacent ones are fetched together.
#[derive(Default)]
#[repr(align(128))]
struct Shard {
    sum: AtomicU64,
}

impl Tally {
    /// Adds `amount` to the calling thread's part.
    #[inline]
    pub fn add(&self, amount: u64) {
        // ORDERING: Relaxed; the end of the scope, which precedes `total`, orders the additions.
        self.shards[shard_index()]
            .sum
            .fetch_add(amount, Ordering::Relaxed);
    }

    /// The sum of all parts.
    pub fn total(&self) -> u64 {
        self.shards
            .iter()
            .map(|shard| shard.sum.load(Ordering::Relaxed))
            .sum()
    }
}

/// A number that is the calling thread's own, below [`SHARDS`].
#[inline]
fn shard_index() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    const UNSET: usize = usize::MAX;
    thread_local! {
        static INDEX: Cell<usize> = const { Cell::new(UNSET) };
    }
    INDEX.with(|index| {
        if index.get() == UNSET {
            index.set(NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS);
        }
        index.get()
    })
}
