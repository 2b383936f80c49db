//! The timed rows, one file for each theme. A row is named after what it runs; the number after the slash is the thread count.

mod busy;
mod coarse;
mod entry;
mod futures;
mod join;
mod map;
mod scope;
mod shared;
mod small;
mod stream;
mod submit;
mod tree;

use crate::contest::Bench;

/// Runs every row that is wanted.
pub fn run_all(bench: &mut Bench) {
    join::run(bench);
    tree::run(bench);
    coarse::run(bench);
    scope::run(bench);
    map::run(bench);
    entry::run(bench);
    submit::run(bench);
    stream::run(bench);
    busy::run(bench);
    small::run(bench);
    futures::run(bench);
}
