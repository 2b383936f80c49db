//! The two interfaces through which every scheduler runs the same kernels.

use std::cell::Cell;
use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// A fork-join primitive.
///
/// Some schedulers hand a context from fork to fork (chili its scope, forte its worker); others find it in a
/// thread-local variable. A kernel passes the context on in both cases. Where the context is `()`, the optimiser removes
/// the argument.
pub trait Join {
    /// The context that a fork gets from the fork above it.
    type Context<'c>;

    /// Runs `a` and `b`, possibly in parallel, and returns both results.
    fn join<A, B, RA, RB>(context: &mut Self::Context<'_>, a: A, b: B) -> (RA, RB)
    where
        A: FnOnce(&mut Self::Context<'_>) -> RA + Send,
        B: FnOnce(&mut Self::Context<'_>) -> RB + Send,
        RA: Send,
        RB: Send;
}

/// A join that never forks: it runs `a`, then `b`. It gives the serial time of kernels that are about order, not speed.
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
    /// The result of the program.
    type Answer: PartialEq + Debug + Send;

    /// The number of forks, nodes or items in one run. Times are stated for each of them.
    fn units(&self) -> u64;

    /// The plain program, without a scheduler.
    fn serial(&self) -> Self::Answer;

    /// The program by joins, without any cut-off.
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

    /// The program by tasks. They add what they find to `tally`, whose total is the answer.
    fn run<'scope, S: Spawn<'scope>>(self, scope: &S, tally: &'scope Tally);
}

/// A sum to which many threads add without contention.
#[derive(Default)]
pub struct Tally {
    shards: [Shard; SHARDS],
}

/// The number of shards. No row has as many threads, so each thread has its own shard.
const SHARDS: usize = 32;

/// One thread's part of a sum. It has two cache lines, since processors fetch adjacent lines together.
#[derive(Default)]
#[repr(align(128))]
struct Shard {
    sum: AtomicU64,
}

impl Tally {
    /// Adds `amount` to the calling thread's part.
    #[inline]
    pub fn add(&self, amount: u64) {
        // ORDERING: Relaxed. The end of the scope comes before `total` and orders the additions.
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

/// A number below [`SHARDS`] that belongs to the calling thread.
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
