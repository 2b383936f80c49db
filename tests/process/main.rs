//! Pools of processes: `cargo test --features process --test process`.
//!
//! The workers of a pool are this program, started again, so its `main` cannot be the test harness's: it begins with `heist::init()`. libtest-mimic reads the
//! harness's arguments. Some tests run this program once more, as a parent that is killed or has few descriptors: see [`parents`].
#![cfg(target_os = "linux")]

mod deaths;
mod inputs;
mod kills;
mod limits;
mod parents;
mod suite;
mod support;
mod tasks;

use libtest_mimic::{Arguments, Trial};

fn main() {
    heist::register(inputs::Registered);
    heist::init();
    if let Some(code) = parents::run_as_parent() {
        std::process::exit(code);
    }
    let mut arguments = Arguments::from_args();
    // Each test starts processes of its own, and some measure time.
    arguments.test_threads.get_or_insert(1);
    let tests = [
        suite::tests(),
        deaths::tests(),
        kills::tests(),
        limits::tests(),
        inputs::tests(),
        parents::tests(),
    ];
    let trials = tests.into_iter().flatten().map(|(name, body)| {
        Trial::test(name, move || {
            support::watched(body);
            Ok(())
        })
    });
    libtest_mimic::run(&arguments, trials.collect()).exit();
}
