//! The sum over a complete binary tree in memory, with a fork at every node: the cost of a user's own recursive structure.
//!
//! The nodes lie in post-order, as if a program had built them by `Node { left: .., right: .. }` literals. The right
//! child lies next to its parent, and the left child far away. A visit of the right child first walks the memory
//! backwards; a visit of the left child first jumps. Each order is a kernel of its own, since only times of one order
//! can be compared. The order is that of the closures given to `join`: some schedulers run the second closure first.

use super::contract::{Join, JoinKernel};
use std::hint::black_box;

/// A node of 32 bytes, the size that a boxed node takes in a general-purpose allocator.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(32))]
struct Node {
    value: u64,
    left: Option<&'static Node>,
    right: Option<&'static Node>,
}

const _: () = assert!(size_of::<Node>() == 32);

/// A complete tree. It is never freed, so its layout does not depend on earlier allocations.
#[derive(Clone, Copy, Debug)]
pub struct HeapTree {
    root: &'static Node,
    nodes: u64,
}

impl HeapTree {
    /// A tree of `depth` levels, which has 2^depth - 1 nodes with the values 1, 2, 3, ... in post-order.
    pub fn new(depth: u32) -> Self {
        let count = (1usize << depth) - 1;
        let mut slots = vec![Node::default(); count].leak().iter_mut();
        let mut next_value = 0;
        let root = build(depth, &mut slots, &mut next_value);
        assert!(slots.next().is_none());
        Self {
            root: root.expect("a tree has at least one level"),
            nodes: count as u64,
        }
    }

    /// The sum of all values.
    fn expected(&self) -> u64 {
        self.nodes * (self.nodes + 1) / 2
    }
}

fn build(
    depth: u32,
    slots: &mut std::slice::IterMut<'static, Node>,
    next_value: &mut u64,
) -> Option<&'static Node> {
    if depth == 0 {
        return None;
    }
    let left = build(depth - 1, slots, next_value);
    let right = build(depth - 1, slots, next_value);
    *next_value += 1;
    let slot = slots.next().expect("a slot for every node");
    *slot = Node {
        value: *next_value,
        left,
        right,
    };
    Some(slot)
}

/// The sum in which the right child's closure is the first.
#[derive(Clone, Copy, Debug)]
pub struct RightFirst {
    /// The tree to sum up.
    pub tree: HeapTree,
    /// The number of repetitions, so that the sum over a small tree takes long enough to time.
    pub repeat: u64,
}

/// The sum in which the left child's closure is the first.
#[derive(Clone, Copy, Debug)]
pub struct LeftFirst {
    /// The tree to sum up.
    pub tree: HeapTree,
    /// The number of repetitions, so that the sum over a small tree takes long enough to time.
    pub repeat: u64,
}

impl JoinKernel for RightFirst {
    type Answer = u64;

    fn units(&self) -> u64 {
        self.tree.nodes * self.repeat
    }

    fn serial(&self) -> u64 {
        repeated(&self.tree, self.repeat, serial_right_first)
    }

    fn run<J: Join>(&self, context: &mut J::Context<'_>) -> u64 {
        repeated(&self.tree, self.repeat, |root| {
            right_first::<J>(context, root)
        })
    }
}

impl JoinKernel for LeftFirst {
    type Answer = u64;

    fn units(&self) -> u64 {
        self.tree.nodes * self.repeat
    }

    fn serial(&self) -> u64 {
        repeated(&self.tree, self.repeat, serial_left_first)
    }

    fn run<J: Join>(&self, context: &mut J::Context<'_>) -> u64 {
        repeated(&self.tree, self.repeat, |root| {
            left_first::<J>(context, root)
        })
    }
}

/// Sums up the tree `repeat` times and checks each sum.
fn repeated(
    tree: &HeapTree,
    repeat: u64,
    mut sum: impl FnMut(Option<&'static Node>) -> u64,
) -> u64 {
    for _ in 0..repeat {
        assert_eq!(sum(black_box(Some(tree.root))), tree.expected());
    }
    tree.expected()
}

#[inline(never)]
fn serial_right_first(node: Option<&'static Node>) -> u64 {
    let Some(node) = node else { return 0 };
    let right = serial_right_first(node.right);
    let left = serial_right_first(node.left);
    node.value + left + right
}

#[inline(never)]
fn serial_left_first(node: Option<&'static Node>) -> u64 {
    let Some(node) = node else { return 0 };
    let left = serial_left_first(node.left);
    let right = serial_left_first(node.right);
    node.value + left + right
}

#[inline(never)]
fn right_first<J: Join>(context: &mut J::Context<'_>, node: Option<&'static Node>) -> u64 {
    let Some(node) = node else { return 0 };
    let (right, left) = J::join(
        context,
        move |context| right_first::<J>(context, node.right),
        move |context| right_first::<J>(context, node.left),
    );
    node.value + left + right
}

#[inline(never)]
fn left_first<J: Join>(context: &mut J::Context<'_>, node: Option<&'static Node>) -> u64 {
    let Some(node) = node else { return 0 };
    let (left, right) = J::join(
        context,
        move |context| left_first::<J>(context, node.left),
        move |context| left_first::<J>(context, node.right),
    );
    node.value + left + right
}
