//! Unbalanced Tree Search: trees that cannot be cut into even parts, since every node draws its number of children.
//!
//! The shapes are those of the UTS benchmark. A node's randomness comes from a cheap 64-bit mixer instead of SHA-1, so a
//! node costs nanoseconds and the benchmark measures the scheduler.

use super::contract::{Join, JoinKernel};
use super::{mix, unit_interval};
use std::hint::black_box;

/// A shape: how many children each node has.
pub trait Shape: Sync {
    /// The number of children, the same at each call.
    fn children(&self, node: Node) -> u32;
}

/// A node of the tree. Its fields determine the whole subtree.
#[derive(Clone, Copy, Debug)]
pub struct Node {
    state: u64,
    depth: u32,
}

impl Node {
    #[inline]
    fn child(self, index: u32) -> Self {
        Self {
            state: mix(self.state ^ (u64::from(index) << 32)),
            depth: self.depth + 1,
        }
    }
}

/// The geometric shape: the expected number of children is the same at every node above a depth, and 0 below it.
#[derive(Clone, Debug)]
pub struct Geometric {
    depth_limit: u32,
    /// 1 / ln(1 - p) of the geometric distribution.
    inverse_log: f64,
}

impl Geometric {
    /// A shape with `branching` expected children of each node above `depth_limit`, and none from there on.
    pub fn new(branching: f64, depth_limit: u32) -> Self {
        let stop = 1.0 / (1.0 + branching);
        Self {
            depth_limit,
            inverse_log: 1.0 / (1.0 - stop).ln(),
        }
    }
}

impl Shape for Geometric {
    #[inline]
    fn children(&self, node: Node) -> u32 {
        if node.depth < self.depth_limit {
            (unit_interval(node.state).ln() * self.inverse_log) as u32
        } else {
            0
        }
    }
}

/// The binomial shape: below the root, a node has either `fan_out` children or none.
#[derive(Clone, Debug)]
pub struct Binomial {
    root_children: u32,
    fan_out: u32,
    threshold: u64,
}

impl Binomial {
    /// A shape whose root has `root_children` children. Any other node has `fan_out` children with this probability, or else none.
    pub fn new(root_children: u32, fan_out: u32, probability: f64) -> Self {
        Self {
            root_children,
            fan_out,
            threshold: (probability * u64::MAX as f64) as u64,
        }
    }
}

impl Shape for Binomial {
    #[inline]
    fn children(&self, node: Node) -> u32 {
        if node.depth == 0 {
            self.root_children
        } else if node.state < self.threshold {
            self.fan_out
        } else {
            0
        }
    }
}

/// Counts the nodes of the tree of this shape below a root.
#[derive(Clone, Debug)]
pub struct UnevenTree<S> {
    shape: S,
    root: Node,
    nodes: u64,
}

impl<S: Shape> UnevenTree<S> {
    /// The tree that grows from `seed`.
    pub fn new(shape: S, seed: u64) -> Self {
        let root = Node {
            state: mix(seed),
            depth: 0,
        };
        let nodes = serial(&shape, root);
        Self { shape, root, nodes }
    }
}

/// The geometric tree of the benches: 2.8 million nodes, or 175 thousand where `small`.
pub fn geometric(small: bool) -> UnevenTree<Geometric> {
    let depth_limit = if small { 8 } else { 10 };
    UnevenTree::new(Geometric::new(4.0, depth_limit), 18)
}

/// The binomial tree of the benches: 2.0 million nodes, or 194 thousand where `small`.
pub fn binomial(small: bool) -> UnevenTree<Binomial> {
    let root_children = if small { 200 } else { 2_000 };
    UnevenTree::new(Binomial::new(root_children, 8, 0.124_875), 16)
}

impl<S: Shape> JoinKernel for UnevenTree<S> {
    type Answer = u64;

    fn units(&self) -> u64 {
        self.nodes
    }

    fn serial(&self) -> u64 {
        serial(&self.shape, black_box(self.root))
    }

    fn run<J: Join>(&self, context: &mut J::Context<'_>) -> u64 {
        visit::<J, S>(context, &self.shape, black_box(self.root))
    }
}

#[inline(never)]
fn serial<S: Shape>(shape: &S, node: Node) -> u64 {
    let mut nodes = 1;
    for index in 0..shape.children(node) {
        nodes += serial(shape, node.child(index));
    }
    nodes
}

fn visit<J: Join, S: Shape>(context: &mut J::Context<'_>, shape: &S, node: Node) -> u64 {
    match shape.children(node) {
        0 => 1,
        children => 1 + visit_children::<J, S>(context, shape, node, 0, children),
    }
}

/// Visits the children from `start` to `end`, by halves. There is at least one.
fn visit_children<J: Join, S: Shape>(
    context: &mut J::Context<'_>,
    shape: &S,
    node: Node,
    start: u32,
    end: u32,
) -> u64 {
    if end - start == 1 {
        return visit::<J, S>(context, shape, node.child(start));
    }
    let middle = start + (end - start) / 2;
    let (first, second) = J::join(
        context,
        move |context| visit_children::<J, S>(context, shape, node, start, middle),
        move |context| visit_children::<J, S>(context, shape, node, middle, end),
    );
    first + second
}
