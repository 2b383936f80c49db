//! Pools, a watchdog, and a log of what has run.

pub use crate::signals::{kill, signal};
use heist::{Backend, ProcessPool, ProcessPoolBuilder, ThreadPool};
use std::fs::{self, File, OpenOptions};
use std::io::Write;

use std::path::PathBuf;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

pub type Test = (&'static str, fn());

/// The sizes that each behaviour is tested at: `HEIST_TEST_THREADS`, numbers with commas between them, or 2.
pub fn sizes() -> Vec<usize> {
    let text = std::env::var("HEIST_TEST_THREADS").unwrap_or_else(|_| "2".to_owned());
    let sizes = text.split(',').map(str::parse);
    sizes
        .collect::<Result<_, _>>()
        .expect("HEIST_TEST_THREADS holds numbers")
}

/// Panics in tasks, callbacks and codecs are expected: errors carry them. The others are failures of tests, and are printed.
pub fn silence_expected_panics() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let thread = std::thread::current();
        let is_of_heist = thread.name().is_some_and(|name| name.starts_with("heist-"));
        if !heist::is_worker() && !is_of_heist {
            print(panic);
        }
    }));
}

/// Longer than any wait of a test that works.
pub const LONG: Duration = Duration::from_secs(60);

/// Runs `body` on a new thread. Ends the program if it takes longer than [`LONG`] and a half.
pub fn watched(body: fn()) {
    let (done, ended) = mpsc::channel::<()>();
    let thread = std::thread::spawn(move || {
        let _done = done;
        body();
    });
    // In steps, so that the time in which the whole program was stopped does not count.
    let step = Duration::from_secs(1);
    let limit = LONG.as_secs() * 3 / 2;
    let hangs = (0..limit).all(|_| ended.recv_timeout(step) == Err(RecvTimeoutError::Timeout));
    if hangs {
        eprintln!("the test hangs");
        std::process::abort();
    }
    if let Err(payload) = thread.join() {
        std::panic::resume_unwind(payload);
    }
}

/// Runs a test on each back end, at each size, by its type and as a `dyn Backend`.
pub fn each(test: fn(&dyn Backend)) {
    for size in sizes() {
        test(&ThreadPool::with_threads(size).unwrap());
        test(&pool_of(size));
        for scheme in ["threads", "processes"] {
            test(&*heist::open(&format!("{scheme}://{size}")).unwrap());
        }
    }
}

pub fn pool_of(workers: usize) -> ProcessPool {
    pool_with(|builder| builder.num_workers(workers))
}

pub fn pool_with(set: impl FnOnce(ProcessPoolBuilder) -> ProcessPoolBuilder) -> ProcessPool {
    set(ProcessPool::builder()).build().expect("a process pool")
}

/// The ids of the worker processes.
pub fn pids(pool: &ProcessPool) -> Vec<u32> {
    let processes = pool.stats().processes;
    processes.iter().map(|process| process.pid).collect()
}

/// Whether there is a process with this id that has not ended. A zombie has ended.
pub fn is_alive(pid: u32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return false;
    };
    let state = stat
        .rsplit(')')
        .next()
        .and_then(|rest| rest.trim().chars().next());
    !matches!(state, Some('Z' | 'X') | None)
}

/// Waits until `condition` holds. Panics after `limit`. The time in which the program was stopped does not count.
#[track_caller]
pub fn until(limit: Duration, condition: impl Fn() -> bool) {
    let (mut waited, mut last) = (Duration::ZERO, Instant::now());
    while !condition() {
        let now = Instant::now();
        waited += (now - last).min(Duration::from_millis(100));
        last = now;
        assert!(waited < limit, "it has not happened in {limit:?}");
        std::thread::yield_now();
    }
}

/// A file to which each task appends its number when it begins.
pub struct Log(PathBuf);

impl Log {
    pub fn new() -> Self {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        let id = (std::process::id(), Instant::now());
        let path = folder.join(format!("{id:?}").replace([' ', '{', '}', '(', ')', ':', ','], "_"));
        File::create(&path).expect("a log");
        Log(path)
    }

    pub fn path(&self) -> String {
        self.0.to_str().expect("a path in UTF-8").to_owned()
    }

    /// How many times each of the tasks 0 to `tasks` has begun.
    pub fn counts(&self, tasks: usize) -> Vec<u32> {
        let bytes = fs::read(&self.0).expect("the log is read");
        let mut counts = vec![0; tasks];
        for entry in bytes.chunks_exact(8) {
            let number = u64::from_le_bytes(entry.try_into().expect("eight bytes"));
            counts[usize::try_from(number).expect("a number of a task")] += 1;
        }
        counts
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
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
