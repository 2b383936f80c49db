//! Rows with one spawned task per node. chili and forte have no scope of this kind, and the crossbeam pool only joins.

use super::shared::{add_scope_peer, time};
use crate::common::contract::SpawnKernel;
use crate::common::queens::QueensBySpawn;
use crate::common::spawn_tree::SpawnTree;
use crate::contest::{Bench, Row};
use crate::contestants::{Heist, Naive, Rayon};
use crate::results::Unit;

/// Runs the rows.
pub fn run(bench: &mut Bench) {
    let size = bench.pick(12, 10);
    let about = format!("n-queens {size}, a spawned task per node");
    scope_rows(bench, "scope-queens", &about, || QueensBySpawn::new(size));

    let order = bench.pick(19, 16);
    let about = format!("binomial tree of order {order}, a spawned task per node");
    scope_rows(bench, "scope-tree", &about, || SpawnTree { order });
}

fn scope_rows<K>(bench: &mut Bench, name: &str, about: &str, kernel: impl Fn() -> K)
where
    K: SpawnKernel + 'static,
{
    for threads in bench.threads_or(&[1, 2, 8]) {
        bench.row(&format!("{name}/{threads}"), |_| {
            let kernel = kernel();
            let mut row = Row::new(about, Unit::NanosecondsPer("spawn"));
            row.add("serial", kernel.spawns(), move || {
                time(|| kernel.serial()).0
            });
            add_scope_peer::<Heist, K>(&mut row, kernel, threads);
            add_scope_peer::<Rayon, K>(&mut row, kernel, threads);
            add_scope_peer::<Naive, K>(&mut row, kernel, threads);
            row
        });
    }
}
