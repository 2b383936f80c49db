//! Rows of futures. Their names begin with `async`.
//!
//! The thread that submits or waits takes no part in the work. A pool has its workers beside it.

use crate::contest::Bench;
use crate::contestants::Peer;

/// The thread count of rows that have only one.
const THREADS: usize = 2;

/// Calls a function that adds one contestant for every scheduler that polls futures.
macro_rules! add_all {
    ($add:ident $arguments:tt) => {
        add_all!(@one $add, Heist, $arguments);
        add_all!(@one $add, Tokio, $arguments);
        add_all!(@one $add, AsyncExecutor, $arguments);
        add_all!(@one $add, Futures, $arguments);
    };
    (@one $add:ident, $peer:ident, ($($argument:expr),*)) => {
        $add::<crate::contestants::$peer>($($argument),*);
    };
}

mod blocking;
mod echo;
mod sleeps;
mod tasks;
mod wakes;

/// Runs the rows.
pub fn run(bench: &mut Bench) {
    tasks::run(bench);
    wakes::run(bench);
    echo::run(bench);
    sleeps::run(bench);
    blocking::run(bench);
}

/// Makes a pool that is never freed, because tasks refer to it.
fn leak<P: Peer>(threads: usize) -> &'static P {
    Box::leak(Box::new(P::build(threads)))
}
