//! What stands still: dumps, and the watch over stalls. Dumps show all pools of the process, so these tests are a program of their own.

#[path = "../it/support/mod.rs"]
mod support;

mod cycles;
mod dumps;
mod plants;
mod stalls;
mod systems;

/// The number of dumps that `.ci/deep stuck` asks for. If it is set, the machine must be quiet: then no dump may take long, and each must be right.
fn dumps_asked() -> Option<usize> {
    let asked = std::env::var("HEIST_TEST_DUMPS").ok()?;
    Some(asked.parse().expect("a number"))
}
