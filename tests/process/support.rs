//! Pools, and a watchdog.

pub use crate::common::{LONG, Log, Test, note, until};
pub use crate::signals::{kill, signal};
use heist::{Backend, ProcessPool, ProcessPoolBuilder, ThreadPool};
use std::fs;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

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
