//! What the tests of processes, clusters and ranks share: waits, and logs of what has run.

#![allow(dead_code, reason = "not each of them uses everything")]

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::time::{Duration, Instant};

pub type Test = (&'static str, fn());

/// Longer than any wait of a test that works.
pub const LONG: Duration = Duration::from_secs(60);

/// Waits until `condition` holds. Panics after `limit`. The time in which the program was stopped does not count. Returns how long it took.
#[track_caller]
pub fn until(limit: Duration, condition: impl Fn() -> bool) -> Duration {
    let begin = Instant::now();
    let (mut waited, mut last) = (Duration::ZERO, begin);
    while !condition() {
        let now = Instant::now();
        waited += (now - last).min(Duration::from_millis(100));
        last = now;
        assert!(waited < limit, "it has not happened in {limit:?}");
        std::thread::sleep(Duration::from_micros(200));
    }
    begin.elapsed()
}

/// A file to which each task appends its number when it begins.
pub struct Log(tempfile::NamedTempFile);

impl Log {
    pub fn new() -> Self {
        Log(tempfile::NamedTempFile::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a log"))
    }

    pub fn path(&self) -> String {
        self.0.path().to_str().expect("a path in UTF-8").to_owned()
    }

    /// How many times each of the tasks 0 to `tasks` has begun.
    pub fn counts(&self, tasks: usize) -> Vec<u32> {
        let bytes = fs::read(self.0.path()).expect("the log is read");
        let mut counts = vec![0; tasks];
        for entry in bytes.chunks_exact(8) {
            let number = u64::from_le_bytes(entry.try_into().expect("eight bytes"));
            counts[usize::try_from(number).expect("a number of a task")] += 1;
        }
        counts
    }
}

/// Notes in the log that a task begins.
pub fn note(log: &str, number: u64) {
    let mut file = OpenOptions::new()
        .append(true)
        .open(log)
        .expect("the log is there");
    // One call of the system, which appends all bytes or none.
    file.write_all(&number.to_le_bytes())
        .expect("the log is written");
}
