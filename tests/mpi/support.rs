//! Ranks, and what the tasks of tests/process need.

pub use crate::common::{LONG, Log, Test, note, until};
pub use crate::signals::kill;
use heist::Backend;
use heist::mpi::Ranks;

/// Runs a test on the ranks of this program. Other ranks than 0 do not return from it.
pub fn each(test: fn(&dyn Backend)) {
    test(&Ranks::new().expect("ranks"));
}
