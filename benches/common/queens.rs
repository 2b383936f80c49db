//! n-queens: counts the ways to place n queens, by joins over the candidates of a row and by one task per node.

use super::contract::{Join, JoinKernel, Spawn, SpawnKernel, Tally};
use std::hint::black_box;

/// The attacked columns and diagonals of a partly filled board, with one bit for each column.
#[derive(Clone, Copy, Debug)]
struct Board {
    all: u32,
    columns: u32,
    left: u32,
    right: u32,
}

impl Board {
    fn empty(size: u32) -> Self {
        Self {
            all: (1 << size) - 1,
            columns: 0,
            left: 0,
            right: 0,
        }
    }

    #[inline]
    fn is_full(&self) -> bool {
        self.columns == self.all
    }

    /// The columns of the next row that no queen attacks.
    #[inline]
    fn free(&self) -> u32 {
        self.all & !(self.columns | self.left | self.right)
    }

    /// The board after a queen at `column`, a single bit, of the next row.
    #[inline]
    fn with(&self, column: u32) -> Self {
        Self {
            all: self.all,
            columns: self.columns | column,
            left: (self.left | column) << 1,
            right: (self.right | column) >> 1,
        }
    }
}

/// The lowest candidate and the candidates after it.
#[inline]
fn split_lowest(free: u32) -> (u32, u32) {
    let lowest = free & free.wrapping_neg();
    (lowest, free ^ lowest)
}

/// n-queens by a fork between the lowest candidate of a row and the candidates after it.
#[derive(Clone, Copy, Debug)]
pub struct QueensByJoin {
    size: u32,
    nodes: u64,
}

impl QueensByJoin {
    /// A board of `size` times `size`.
    pub fn new(size: u32) -> Self {
        Self {
            size,
            nodes: count_nodes(Board::empty(size)),
        }
    }
}

impl JoinKernel for QueensByJoin {
    type Answer = u64;

    fn units(&self) -> u64 {
        self.nodes
    }

    fn serial(&self) -> u64 {
        serial(black_box(Board::empty(self.size)))
    }

    fn run<J: Join>(&self, context: &mut J::Context<'_>) -> u64 {
        row_by_join::<J>(context, black_box(Board::empty(self.size)))
    }
}

#[inline(never)]
fn serial(board: Board) -> u64 {
    if board.is_full() {
        return 1;
    }
    let mut solutions = 0;
    let mut free = board.free();
    while free != 0 {
        let (lowest, rest) = split_lowest(free);
        solutions += serial(board.with(lowest));
        free = rest;
    }
    solutions
}

fn row_by_join<J: Join>(context: &mut J::Context<'_>, board: Board) -> u64 {
    if board.is_full() {
        return 1;
    }
    match board.free() {
        0 => 0,
        free => candidates_by_join::<J>(context, board, free),
    }
}

fn candidates_by_join<J: Join>(context: &mut J::Context<'_>, board: Board, free: u32) -> u64 {
    let (lowest, rest) = split_lowest(free);
    if rest == 0 {
        return row_by_join::<J>(context, board.with(lowest));
    }
    let (first, others) = J::join(
        context,
        move |context| row_by_join::<J>(context, board.with(lowest)),
        move |context| candidates_by_join::<J>(context, board, rest),
    );
    first + others
}

fn count_nodes(board: Board) -> u64 {
    let mut nodes = 1;
    let mut free = board.free();
    while free != 0 {
        let (lowest, rest) = split_lowest(free);
        nodes += count_nodes(board.with(lowest));
        free = rest;
    }
    nodes
}

/// n-queens with one spawned task for every node of the search except the first.
#[derive(Clone, Copy, Debug)]
pub struct QueensBySpawn {
    size: u32,
    nodes: u64,
}

impl QueensBySpawn {
    /// A board of `size` times `size`.
    pub fn new(size: u32) -> Self {
        Self {
            size,
            nodes: count_nodes(Board::empty(size)),
        }
    }
}

impl SpawnKernel for QueensBySpawn {
    fn spawns(&self) -> u64 {
        self.nodes - 1
    }

    fn serial(&self) -> u64 {
        serial(black_box(Board::empty(self.size)))
    }

    fn run<'scope, S: Spawn<'scope>>(self, scope: &S, tally: &'scope Tally) {
        row_by_spawn(scope, Board::empty(self.size), tally);
    }
}

fn row_by_spawn<'scope, S: Spawn<'scope>>(scope: &S, board: Board, tally: &'scope Tally) {
    if board.is_full() {
        tally.add(1);
        return;
    }
    let mut free = board.free();
    while free != 0 {
        let (lowest, rest) = split_lowest(free);
        let next = board.with(lowest);
        scope.spawn(move |scope| row_by_spawn(scope, next, tally));
        free = rest;
    }
}
