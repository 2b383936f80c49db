//! The five jobs, each in three ways that must give the same answer.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use heist::{Scope, ThreadPool};

use super::naive::{NaivePool, NaiveScope};

/// Below this argument `fib` is plain calls in both pools. A call takes 2 ns, and a fork of the naive pool about 1,000 ns.
const FIB_CUTOFF: u32 = 20;
/// The number of rows whose boards are tasks, in both pools. The rest of a board takes about a microsecond.
const QUEENS_TASK_ROWS: u32 = 4;
/// Below this number of nodes the naive pool's tree is plain calls.
const NAIVE_TREE_CUTOFF: u64 = 1000;
/// What the naive pool does about `map`.
const NAIVE_PIECES: &str = "cuts the input into 8 equal pieces a thread, whatever they cost";

/// A job.
pub struct Kernel {
    /// What is computed, and by which operation.
    pub name: String,
    /// A note where the naive pool does less.
    pub remark: Option<String>,
    /// The plain code.
    pub serial: Box<dyn Fn() -> u64>,
    /// The job on the naive pool.
    pub naive: Box<dyn Fn(&NaivePool) -> u64>,
    /// The job on heist.
    pub heist: Box<dyn Fn(&ThreadPool) -> u64>,
}

/// All jobs. Each takes 10 to 100 ms of plain code, so the resolution of the clock and single wake-ups do not matter.
pub fn all() -> Vec<Kernel> {
    vec![
        fib(37),
        queens(13),
        uneven_tree(4_000_000),
        cheap_map(8_000_000),
        heavy_tailed_map(10_000),
    ]
}

/// A tree of forks with much work in each.
fn fib(n: u32) -> Kernel {
    #[inline(never)]
    fn serial(n: u32) -> u64 {
        if n < 2 {
            return n.into();
        }
        serial(n - 1) + serial(n - 2)
    }
    fn forked(n: u32) -> u64 {
        if n < FIB_CUTOFF {
            return serial(n);
        }
        let (a, b) = heist::join(move || forked(n - 1), move || forked(n - 2));
        a + b
    }
    fn naive(pool: &NaivePool, n: u32) -> u64 {
        if n < FIB_CUTOFF {
            return serial(n);
        }
        let (a, b) = pool.join(|| naive(pool, n - 1), || naive(pool, n - 2));
        a + b
    }
    Kernel {
        name: format!("fib({n}), join"),
        remark: None,
        serial: Box::new(move || serial(black_box(n))),
        naive: Box::new(move |pool| naive(pool, black_box(n))),
        heist: Box::new(move |pool| pool.install(|| forked(black_box(n)))),
    }
}

/// A chess board with a queen in each of the first rows. The bits are columns that are attacked in the next row.
#[derive(Clone, Copy)]
struct Board {
    free_rows: u32,
    all: u32,
    straight: u32,
    left: u32,
    right: u32,
}

impl Board {
    fn new(size: u32) -> Self {
        Board {
            free_rows: size,
            all: (1 << size) - 1,
            straight: 0,
            left: 0,
            right: 0,
        }
    }

    /// Whether there are queens in the first `rows` rows.
    fn is_below(self, rows: u32) -> bool {
        self.all.count_ones() - self.free_rows >= rows
    }

    /// Every board with one more queen.
    fn next(self) -> impl Iterator<Item = Board> {
        let mut free = self.all & !(self.straight | self.left | self.right);
        std::iter::from_fn(move || {
            let column = free & free.wrapping_neg();
            free &= !column;
            (column != 0).then_some(Board {
                free_rows: self.free_rows - 1,
                all: self.all,
                straight: self.straight | column,
                left: (self.left | column) << 1,
                right: (self.right | column) >> 1,
            })
        })
    }
}

/// A spawn for each board of the first rows: tasks that live on the heap, and recursive scopes.
fn queens(size: u32) -> Kernel {
    fn serial(board: Board) -> u64 {
        if board.free_rows == 0 {
            return 1;
        }
        board.next().map(serial).sum()
    }
    fn spawned<'scope>(scope: &Scope<'scope>, board: Board, found: &'scope AtomicU64) {
        if board.is_below(QUEENS_TASK_ROWS) {
            found.fetch_add(serial(board), Ordering::Relaxed);
            return;
        }
        for board in board.next() {
            scope.spawn(move |scope| spawned(scope, board, found));
        }
    }
    fn naive<'scope>(scope: &NaiveScope<'scope>, board: Board, found: &'scope AtomicU64) {
        if board.is_below(QUEENS_TASK_ROWS) {
            found.fetch_add(serial(board), Ordering::Relaxed);
            return;
        }
        for board in board.next() {
            scope.spawn(move |scope| naive(scope, board, found));
        }
    }
    Kernel {
        name: format!("{size} queens, scope"),
        remark: None,
        serial: Box::new(move || serial(Board::new(black_box(size)))),
        naive: Box::new(move |pool| {
            let found = AtomicU64::new(0);
            pool.scope(|scope| naive(scope, Board::new(black_box(size)), &found));
            found.into_inner()
        }),
        heist: Box::new(move |pool| {
            let found = AtomicU64::new(0);
            pool.scope(|scope| spawned(scope, Board::new(black_box(size)), &found));
            found.into_inner()
        }),
    }
}

/// A tree whose nodes divide what is left between two subtrees at random, most often unfairly.
fn uneven_tree(nodes: u64) -> Kernel {
    /// A node's own work, and the sizes of its subtrees.
    fn divide(seed: u64, nodes: u64) -> (u64, u64, u64) {
        let value = mix(seed);
        let share = (value >> 32) % 1000;
        let left = (nodes - 1) * share * share / 1_000_000;
        (value, left, nodes - 1 - left)
    }
    #[inline(never)]
    fn serial(seed: u64, nodes: u64) -> u64 {
        if nodes == 0 {
            return 0;
        }
        let (value, left, right) = divide(seed, nodes);
        let a = serial(value, left);
        let b = serial(!value, right);
        value.wrapping_add(a).wrapping_add(b)
    }
    fn forked(seed: u64, nodes: u64) -> u64 {
        if nodes == 0 {
            return 0;
        }
        let (value, left, right) = divide(seed, nodes);
        let (a, b) = heist::join(move || forked(value, left), move || forked(!value, right));
        value.wrapping_add(a).wrapping_add(b)
    }
    fn naive(pool: &NaivePool, seed: u64, nodes: u64) -> u64 {
        if nodes < NAIVE_TREE_CUTOFF {
            return serial(seed, nodes);
        }
        let (value, left, right) = divide(seed, nodes);
        let (a, b) = pool.join(|| naive(pool, value, left), || naive(pool, !value, right));
        value.wrapping_add(a).wrapping_add(b)
    }
    Kernel {
        name: format!("uneven tree, {}, join", in_words(nodes)),
        remark: Some(format!(
            "forks in subtrees of {NAIVE_TREE_CUTOFF} nodes and more only; heist forks at every node.\n\
             Without this cut-off it takes hundreds of times as long as serial code, or overflows a\n\
             stack: a thread that waits runs whatever is queued, on top of what it waits for"
        )),
        serial: Box::new(move || serial(1, black_box(nodes))),
        naive: Box::new(move |pool| naive(pool, 1, black_box(nodes))),
        heist: Box::new(move |pool| pool.install(|| forked(1, black_box(nodes)))),
    }
}

/// A map of items so cheap that memory is the limit.
fn cheap_map(items: u64) -> Kernel {
    fn f(x: &f64) -> f64 {
        (x * 1.000_1 + 0.5).sqrt()
    }
    fn checksum(output: &[f64]) -> u64 {
        // Only a few results are read, since reading all would be measured too.
        let sample = black_box(output).iter().step_by(4093);
        sample.fold(0, |sum, x| sum ^ x.to_bits().rotate_left(sum as u32 & 63))
    }
    let input: Arc<[f64]> = (0..items).map(|i| i as f64).collect();
    let (for_serial, for_naive, for_heist) = (Arc::clone(&input), Arc::clone(&input), input);
    Kernel {
        name: format!("cheap map, {}", in_words(items)),
        remark: Some(NAIVE_PIECES.to_owned()),
        serial: Box::new(move || checksum(&for_serial.iter().map(f).collect::<Vec<_>>())),
        naive: Box::new(move |pool| checksum(&pool.map(&for_naive, f))),
        heist: Box::new(move |pool| checksum(&pool.map(&for_heist[..], f))),
    }
}

/// Most items are cheap, some cost a thousand times as much, and they sit where they like.
fn heavy_tailed_map(items: u64) -> Kernel {
    fn f(&steps: &u32) -> u64 {
        (0..steps).fold(steps.into(), |value, _| mix(value))
    }
    fn checksum(output: &[u64]) -> u64 {
        output.iter().fold(0, |sum, x| sum.rotate_left(1) ^ x)
    }
    // A Pareto distribution with index 1.1, cut off at 2,000 times the least cost.
    let steps = (0..items).map(|i| {
        let uniform = (mix(i) >> 11) as f64 / (1u64 << 53) as f64;
        (200.0 * (1.0 - uniform).powf(-1.0 / 1.1)).min(400_000.0) as u32
    });
    let input: Arc<[u32]> = steps.collect();
    let (for_serial, for_naive, for_heist) = (Arc::clone(&input), Arc::clone(&input), input);
    Kernel {
        name: format!("heavy-tailed map, {}", in_words(items)),
        remark: Some(NAIVE_PIECES.to_owned()),
        serial: Box::new(move || checksum(&for_serial.iter().map(f).collect::<Vec<_>>())),
        naive: Box::new(move |pool| checksum(&pool.map(&for_naive, f))),
        heist: Box::new(move |pool| checksum(&pool.map(&for_heist[..], f))),
    }
}

/// A random number from another one (the finaliser of SplitMix64).
fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Formats counts such as `4M`, `200k` and `17`.
fn in_words(number: u64) -> String {
    match number {
        n if n >= 1_000_000 && n % 1_000_000 == 0 => format!("{}M", n / 1_000_000),
        n if n >= 1000 && n % 1000 == 0 => format!("{}k", n / 1000),
        n => n.to_string(),
    }
}
