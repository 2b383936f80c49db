//! Rows that sum up a tree in memory, with a join at every node. Only times of one order of the children can be compared.

use super::join::join_rows;
use crate::common::heap_tree::{HeapTree, LeftFirst, RightFirst};
use crate::contest::Bench;
use std::cell::LazyCell;

/// Runs the rows.
pub fn run(bench: &mut Bench) {
    let repeat_small = bench.pick(4_000, 1_000);
    tree_rows(bench, "1k", 10, repeat_small);
    tree_rows(bench, "1M", 20, 1);
    if !bench.is_quick() {
        tree_rows(bench, "16M", 24, 1);
    }
}

fn tree_rows(bench: &mut Bench, size: &str, depth: u32, repeat: u64) {
    let tree = LazyCell::new(move || HeapTree::new(depth));
    let right_first = LazyCell::new(|| RightFirst {
        tree: *tree,
        repeat,
    });
    let about =
        format!("sum over a tree of {size} nodes in post-order, right child's closure first");
    let name = format!("tree-{size}-right");
    join_rows(bench, &name, &about, "node", &[1, 2], &right_first);

    let left_first = LazyCell::new(|| LeftFirst {
        tree: *tree,
        repeat,
    });
    let about =
        format!("sum over a tree of {size} nodes in post-order, left child's closure first");
    let name = format!("tree-{size}-left");
    join_rows(bench, &name, &about, "node", &[1, 2], &left_first);
}
