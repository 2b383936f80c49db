//! Random task graphs against their serial oracle: `.ci/deep fuzz`, or `cargo fuzz run --fuzz-dir tests/fuzz graphs`.
//!
//! If `HEIST_FUZZ_OPERATIONS` is set, the run ends after that number of operations. It prints how many there were. `HEIST_TEST_THREADS` is the number of threads of
//! the pools, 2 if it is not set.

#![no_main]

#[path = "../../it/support/graph.rs"]
mod graph;

use graph::{Graph, Pools};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

static POOLS: LazyLock<Pools> = LazyLock::new(|| {
    let threads = std::env::var("HEIST_TEST_THREADS").ok();
    Pools::new(threads.map_or(2, |text| text.parse().expect("a number")))
});
static OPERATIONS: AtomicU64 = AtomicU64::new(0);
static WANTED: LazyLock<u64> = LazyLock::new(|| {
    let wanted = std::env::var("HEIST_FUZZ_OPERATIONS").ok();
    wanted.map_or(u64::MAX, |text| text.parse().expect("a number"))
});

unsafe extern "C" {
    fn _exit(status: std::ffi::c_int) -> !;
}

fuzz_target!(|bytes: &[u8]| {
    let graph = Graph::read(bytes);
    graph.check(&POOLS);
    let before = OPERATIONS.fetch_add(graph.operations() as u64, Ordering::Relaxed);
    let after = before + graph.operations() as u64;
    if before / 1_000_000 != after / 1_000_000 {
        eprintln!("fuzz: {after} operations so far");
    }
    if after >= *WANTED {
        eprintln!("fuzz: {after} operations without a find");
        // SAFETY: `_exit` requires nothing. It ends the process without libFuzzer's exit handler, which would report a crash.
        unsafe { _exit(0) };
    }
});
