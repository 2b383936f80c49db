//! Rows of recursive joins without a cut-off: the cost of a fork, and trees that cannot be cut evenly.

use super::shared::{add_join_contestants, add_scope_peer};
use crate::common::contract::JoinKernel;
use crate::common::fib::{Fib, FibBySpawn, FlatJoins};
use crate::common::integrate::Integrate;
use crate::common::queens::QueensByJoin;
use crate::common::uneven_tree;
use crate::contest::{Bench, Row};
use crate::contestants::Naive;
use crate::results::Unit;
use std::cell::LazyCell;

/// Runs the rows.
pub fn run(bench: &mut Bench) {
    fib(bench);

    let flat = LazyCell::new({
        let count = bench.pick(10_000_000, 1_000_000);
        move || FlatJoins { count }
    });
    let about = "a loop of joins of two tiny closures";
    join_rows(bench, "flat", about, "join", &[1, 2], &flat);

    let small = bench.is_quick();
    let geometric = LazyCell::new(move || uneven_tree::geometric(small));
    let about = "uneven tree (UTS, geometric), a join per pair of children";
    join_rows(
        bench,
        "uts-geometric",
        about,
        "node",
        &[1, 2, 8],
        &geometric,
    );

    let binomial = LazyCell::new(move || uneven_tree::binomial(small));
    let about = "uneven tree (UTS, binomial), a join per pair of children";
    join_rows(bench, "uts-binomial", about, "node", &[1, 2, 8], &binomial);

    let integrate = LazyCell::new({
        let epsilon = bench.pick(1e-6, 1e-4);
        move || Integrate::new(2_000.0, epsilon)
    });
    let about = "adaptive integration by halves";
    join_rows(bench, "integrate", about, "node", &[1, 2, 8], &integrate);

    let queens = LazyCell::new({
        let size = bench.pick(13, 11);
        move || QueensByJoin::new(size)
    });
    let about = "n-queens, a join per pair of candidates";
    join_rows(bench, "queens", about, "node", &[1, 2, 8], &queens);
}

/// fib by joins. The naive pool cannot join: it computes a smaller number and spawns one half of each call.
fn fib(bench: &mut Bench) {
    let kernel = Fib {
        n: bench.pick(37, 30),
    };
    let naive = FibBySpawn {
        n: bench.pick(22, 19),
    };
    for threads in bench.threads_or(&[1, 2, 8]) {
        bench.row(&format!("fib/{threads}"), |_| {
            let about = format!(
                "fib({}) by join, no cut-off (naive: fib({}) by spawn)",
                kernel.n, naive.n
            );
            let mut row = Row::new(about, Unit::NanosecondsPer("join"));
            add_join_contestants(&mut row, &kernel, threads);
            add_scope_peer::<Naive, _>(&mut row, naive, threads);
            row
        });
    }
}

/// One row for each number of threads. The kernel is built when the first wanted row needs it.
pub fn join_rows<K, F>(
    bench: &mut Bench,
    name: &str,
    about: &str,
    unit: &'static str,
    threads: &[usize],
    kernel: &LazyCell<K, F>,
) where
    K: JoinKernel,
    F: FnOnce() -> K,
{
    for threads in bench.threads_or(threads) {
        bench.row(&format!("{name}/{threads}"), |_| {
            let mut row = Row::new(about, Unit::NanosecondsPer(unit));
            add_join_contestants(&mut row, &**kernel, threads);
            row
        });
    }
}
