//! The ranks of MPI programs: `.ci/deep mpi`, or `cargo test --features mpi --test mpi` with Open MPI's `mpirun` in the path, or named by `HEIST_MPIRUN`.
//!
//! MPI can be initialised once in a program, so each test is a program of its own: this one, started again by `mpirun`.
#![cfg(target_os = "linux")]

mod cases;
#[path = "../support/mod.rs"]
mod common;
/// What the tasks of tests/process name.
mod parents {
    pub const MODE: &str = "HEIST_TEST_MODE";
}
#[path = "../process/signals.rs"]
mod signals;
#[path = "../process/suite.rs"]
mod suite;
mod support;
#[path = "../process/tasks.rs"]
mod tasks;

use libtest_mimic::{Arguments, Failed, Trial};

/// The test that this program is to run as one of several ranks.
const CASE: &str = "HEIST_TEST_CASE";

fn main() {
    heist::record_panic_locations();
    if let Ok(name) = std::env::var(CASE) {
        let body = suite::tests()
            .into_iter()
            .find(|test| test.0 == name)
            .map(|test| test.1);
        let case = cases::all().into_iter().find(|case| case.name == name);
        return match (body, case) {
            (Some(body), _) => body(),
            (None, Some(case)) => (case.body)(),
            (None, None) => panic!("no test is called {name}"),
        };
    }
    let mut arguments = Arguments::from_args();
    // Each test starts processes of its own.
    arguments.test_threads.get_or_insert(1);
    let suite = suite::tests()
        .into_iter()
        .map(|(name, _)| cases::Case::of_suite(name));
    let trials = suite
        .chain(cases::all())
        .map(|case| Trial::test(case.name, move || case.run().map_err(Failed::from)));
    libtest_mimic::run(&arguments, trials.collect()).exit();
}
