//! Pools, a watchdog, and a log of what has run.

use heist::{Backend, ProcessPool, ProcessPoolBuilder, ThreadPool};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

pub type Test = (&'static str, fn());

/// The sizes that each behaviour is tested at.
pub const SIZES: [usize; 3] = [1, 2, 8];

/// Longer than any wait of a test that works.
pub const LONG: Duration = Duration::from_secs(60);

/// Runs `body` on a new thread. Ends the program if it takes longer than [`LONG`] and a half.
pub fn watched(body: fn()) {
    let (done, ended) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        let _done = done;
        body();
    });
    match ended.recv_timeout(LONG * 3 / 2) {
        Err(RecvTimeoutError::Timeout) => {
            eprintln!("the test hangs");
            std::process::abort();
        }
        Ok(()) | Err(RecvTimeoutError::Disconnected) => {}
    }
    if let Err(payload) = thread.join() {
        std::panic::resume_unwind(payload);
    }
}

/// Runs a test on each back end, at each size, by its type and as a `dyn Backend`.
pub fn each(test: fn(&dyn Backend)) {
    for size in SIZES {
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

pub fn kill(pid: u32) {
    let pid = libc::pid_t::try_from(pid).expect("an id of a process");
    // SAFETY: the call takes two integers.
    unsafe { libc::kill(pid, libc::SIGKILL) };
}

/// Waits until `condition` holds. Panics after `limit`.
#[track_caller]
pub fn until(limit: Duration, condition: impl Fn() -> bool) -> Duration {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < limit, "it has not happened in {limit:?}");
        std::thread::yield_now();
    }
    begin.elapsed()
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
