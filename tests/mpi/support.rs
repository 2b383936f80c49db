//! Ranks, and what the tasks of tests/process need.

pub use crate::signals::kill;
use heist::Backend;
use heist::mpi::Ranks;
use std::fs::OpenOptions;
use std::io::Write;
use std::time::{Duration, Instant};

pub type Test = (&'static str, fn());

/// Longer than any wait of a test that works.
pub const LONG: Duration = Duration::from_secs(60);

/// Runs a test on the ranks of this program. Other ranks than 0 do not return from it.
pub fn each(test: fn(&dyn Backend)) {
    test(&Ranks::new().expect("ranks"));
}

/// Waits until `condition` holds. Panics after `limit`.
#[track_caller]
pub fn until(limit: Duration, condition: impl Fn() -> bool) -> Duration {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < limit, "it has not happened in {limit:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
    begin.elapsed()
}

/// Notes in the log that a task begins.
pub fn note(log: &str, number: u64) {
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .open(log)
        .expect("the log is there");
    // One call of the system, which appends all bytes or none.
    file.write_all(&number.to_le_bytes())
        .expect("the log is written");
}
