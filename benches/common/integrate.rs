//! Adaptive integration: a binary recursion whose depth depends on the data, with a little arithmetic per node.

use super::contract::{Join, JoinKernel};
use std::hint::black_box;

/// The integral of `(x * x + 1) * x` from 0 to `end`. Intervals are halved until the trapezoids agree.
#[derive(Clone, Copy, Debug)]
pub struct Integrate {
    end: f64,
    epsilon: f64,
    nodes: u64,
}

/// A piece of the integral: its two ends, the function there, and the trapezoid between them.
#[derive(Clone, Copy)]
struct Piece {
    left: f64,
    right: f64,
    at_left: f64,
    at_right: f64,
    area: f64,
}

impl Integrate {
    /// The integral up to `end`. An interval is not halved further when halving changes its area by at most `epsilon`.
    pub fn new(end: f64, epsilon: f64) -> Self {
        let mut nodes = 0;
        count_nodes(Piece::whole(end), epsilon, &mut nodes);
        Self {
            end,
            epsilon,
            nodes,
        }
    }
}

impl JoinKernel for Integrate {
    /// The bits of the area. Every program adds the halves in one order, so the bits agree.
    type Answer = u64;

    fn units(&self) -> u64 {
        self.nodes
    }

    fn serial(&self) -> u64 {
        serial(black_box(Piece::whole(self.end)), self.epsilon).to_bits()
    }

    fn run<J: Join>(&self, context: &mut J::Context<'_>) -> u64 {
        by_join::<J>(context, black_box(Piece::whole(self.end)), self.epsilon).to_bits()
    }
}

impl Piece {
    fn whole(end: f64) -> Self {
        Self::new(0.0, end, function(0.0), function(end))
    }

    #[inline]
    fn new(left: f64, right: f64, at_left: f64, at_right: f64) -> Self {
        Self {
            left,
            right,
            at_left,
            at_right,
            area: (at_left + at_right) * 0.5 * (right - left),
        }
    }

    #[inline]
    fn halves(&self) -> (Self, Self) {
        let middle = self.left + (self.right - self.left) * 0.5;
        let at_middle = function(middle);
        (
            Self::new(self.left, middle, self.at_left, at_middle),
            Self::new(middle, self.right, at_middle, self.at_right),
        )
    }
}

#[inline]
fn function(x: f64) -> f64 {
    (x * x + 1.0) * x
}

#[inline(never)]
fn serial(piece: Piece, epsilon: f64) -> f64 {
    let (left, right) = piece.halves();
    if (left.area + right.area - piece.area).abs() <= epsilon {
        return left.area + right.area;
    }
    serial(left, epsilon) + serial(right, epsilon)
}

#[inline(never)]
fn by_join<J: Join>(context: &mut J::Context<'_>, piece: Piece, epsilon: f64) -> f64 {
    let (left, right) = piece.halves();
    if (left.area + right.area - piece.area).abs() <= epsilon {
        return left.area + right.area;
    }
    let (left, right) = J::join(
        context,
        move |context| by_join::<J>(context, left, epsilon),
        move |context| by_join::<J>(context, right, epsilon),
    );
    left + right
}

fn count_nodes(piece: Piece, epsilon: f64, nodes: &mut u64) {
    *nodes += 1;
    let (left, right) = piece.halves();
    if (left.area + right.area - piece.area).abs() > epsilon {
        count_nodes(left, epsilon, nodes);
        count_nodes(right, epsilon, nodes);
    }
}
