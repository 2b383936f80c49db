//! Pools of processes: `cargo test --features process --test process`, with `-- --include-ignored` for all tests.
//!
//! The workers of a pool are this program, started again, so its `main` cannot be the test harness's: it begins with `heist::init()`. libtest-mimic reads the
//! harness's arguments. Some tests run this program once more, as a parent that is killed or has few descriptors: see [`parents`].
#![cfg(target_os = "linux")]

mod attacks;
#[path = "../support/mod.rs"]
mod common;
mod deaths;
mod inputs;
mod kills;
mod limits;
mod parents;
mod signals;
mod suite;
mod support;
mod tasks;

use libtest_mimic::{Arguments, Trial};

/// Tests that watch the clock or the memory closely, or take long. `.ci/deep process` runs them too.
const DEEP: [&str; 7] = [
    "deaths::a_new_worker_comes_soon",
    "kills::of_workers_at_random_with_chunks",
    "kills::of_workers_at_random_with_five_tries",
    "kills::of_workers_at_random_with_one_try",
    "limits::a_timeout_kills_in_time",
    "parents::a_parent_that_is_killed_leaves_no_child_after_a_second",
    "parents::memory_of_queued_tasks",
];

fn main() {
    support::silence_expected_panics();
    heist::record_panic_locations();
    heist::register(inputs::Registered);
    if let Ok(log) = std::env::var(attacks::TOGETHER) {
        attacks::initialise_together(&log);
    }
    heist::init();
    if let Some(code) = parents::run_as_parent() {
        std::process::exit(code);
    }
    let mut arguments = Arguments::from_args();
    // Most of the time the tests wait for processes. Those that measure time run alone.
    let measures = arguments.include_ignored || arguments.ignored;
    arguments
        .test_threads
        .get_or_insert(if measures { 1 } else { 4 });
    let tests = [
        suite::tests(),
        deaths::tests(),
        kills::tests(),
        limits::tests(),
        inputs::tests(),
        parents::tests(),
        attacks::tests(),
    ];
    let trials = tests.into_iter().flatten().map(|(name, body)| {
        let test = Trial::test(name, move || {
            support::watched(body);
            Ok(())
        });
        test.with_ignored_flag(DEEP.contains(&name))
    });
    libtest_mimic::run(&arguments, trials.collect()).exit();
}
