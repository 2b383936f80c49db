//! Rows of futures. Their names begin with `async`.
//!
//! The thread that submits or waits takes no part in the work. A pool has its workers beside it.

use crate::contest::Bench;

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
