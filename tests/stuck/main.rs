//! What stands still: dumps, and the watch over stalls. Dumps show all pools of the process, so these tests are a program of their own.

#[path = "../it/support/mod.rs"]
mod support;

mod cycles;
mod dumps;
mod plants;
mod stalls;
mod systems;
