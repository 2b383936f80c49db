//! The measured kernels. Each one checks its answer.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use rayon::prelude::*;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// One kernel.
pub struct Row {
    /// The name of the row.
    pub name: &'static str,
    /// The target: the time on heist divided by the time on rayon.
    pub target: f64,
    /// Makes the input and returns a closure that runs the kernel once and returns the time.
    pub prepare: fn() -> Box<dyn FnMut() -> Duration>,
}

const LEAF_BOUND: f64 = 1.03;
const FORK_BOUND: f64 = 0.5;

/// All kernels.
pub const ROWS: [Row; 9] = [
    row("par-sort-unstable-10M", LEAF_BOUND, par_sort_unstable),
    row("sum-10M", LEAF_BOUND, sum),
    row("collect-10M", LEAF_BOUND, collect),
    row("matmul-512", LEAF_BOUND, matmul),
    row("joins-fib-32", FORK_BOUND, joins),
    row("joins-flat-1M", FORK_BOUND, flat_joins),
    row("quicksort-1k-each", FORK_BOUND, quicksort),
    row("mergesort-1k-each", FORK_BOUND, mergesort),
    row("nbody-64", FORK_BOUND, nbody),
];

const fn row(
    name: &'static str,
    target: f64,
    prepare: fn() -> Box<dyn FnMut() -> Duration>,
) -> Row {
    Row {
        name,
        target,
        prepare,
    }
}

/// The time of `kernel` alone. Its result is checked afterwards.
fn timed<R>(kernel: impl FnOnce() -> R, check: impl FnOnce(R)) -> Duration {
    let start = Instant::now();
    let result = kernel();
    let took = start.elapsed();
    check(result);
    took
}

fn numbers(count: usize) -> Vec<u32> {
    let mut random = SmallRng::seed_from_u64(7);
    (0..count).map(|_| random.random()).collect()
}

fn par_sort_unstable() -> Box<dyn FnMut() -> Duration> {
    let input = numbers(10_000_000);
    Box::new(move || {
        let mut data = input.clone();
        timed(|| data.par_sort_unstable(), |()| ()) + check_sorted(&data)
    })
}

fn check_sorted(data: &[u32]) -> Duration {
    assert!(data.is_sorted());
    Duration::ZERO
}

fn sum() -> Box<dyn FnMut() -> Duration> {
    let input = numbers(10_000_000);
    let expected: u64 = input.iter().map(|&n| u64::from(n)).sum();
    Box::new(move || {
        // Ten repetitions, since one takes a few milliseconds only.
        let sums = || {
            (0..10).map(|_| {
                black_box(&input)
                    .par_iter()
                    .map(|&n| u64::from(n))
                    .sum::<u64>()
            })
        };
        timed(
            || sums().sum::<u64>(),
            |total| assert_eq!(total, 10 * expected),
        )
    })
}

fn collect() -> Box<dyn FnMut() -> Duration> {
    let input = numbers(10_000_000);
    Box::new(move || {
        let squares = || {
            input
                .par_iter()
                .map(|&n| u64::from(n) * u64::from(n))
                .collect::<Vec<_>>()
        };
        let check = |squares: Vec<u64>| {
            let last = u64::from(*input.last().expect("there are numbers"));
            assert_eq!(squares.last(), Some(&(last * last)));
        };
        timed(squares, check)
    })
}

fn matmul() -> Box<dyn FnMut() -> Duration> {
    const N: usize = 512;
    let a: Vec<f32> = (0..N * N).map(|n| (n % 7) as f32).collect();
    let b: Vec<f32> = (0..N * N).map(|n| (n % 5) as f32).collect();
    Box::new(move || {
        let mut c = vec![0.0_f32; N * N];
        let multiply = || {
            c.par_chunks_mut(N)
                .zip(a.par_chunks(N))
                .for_each(|(row, left)| {
                    for (&factor, right) in left.iter().zip(b.chunks(N)) {
                        for (sum, &value) in row.iter_mut().zip(right) {
                            *sum += factor * value;
                        }
                    }
                });
        };
        let took = timed(multiply, |()| ());
        let first: f32 = (0..N).map(|n| a[n] * b[n * N]).sum();
        assert_eq!(c[0], first);
        took
    })
}

/// Runs both closures in parallel. With the feature `serial` they run one after the other, which is the time of the row if forks cost nothing.
#[inline(always)]
fn fork<A: Send, B: Send>(a: impl FnOnce() -> A + Send, b: impl FnOnce() -> B + Send) -> (A, B) {
    if cfg!(feature = "serial") {
        (a(), b())
    } else {
        rayon::join(a, b)
    }
}

fn fib(n: u32) -> u64 {
    if n < 2 {
        return n.into();
    }
    let (a, b) = fork(|| fib(n - 1), || fib(n - 2));
    a + b
}

fn joins() -> Box<dyn FnMut() -> Duration> {
    Box::new(|| {
        timed(
            || fib(black_box(32)),
            |answer| assert_eq!(answer, 2_178_309),
        )
    })
}

fn flat_joins() -> Box<dyn FnMut() -> Duration> {
    Box::new(|| {
        let count = || {
            let mut total = 0_u64;
            for n in 0..1_000_000_u64 {
                let (a, b) = fork(|| black_box(n) & 1, || black_box(n) >> 1 & 1);
                total += a + b;
            }
            total
        };
        // The whole loop runs on a thread of the pool.
        timed(
            || rayon::scope(|_| count()),
            |total| assert_eq!(total, 1_000_000),
        )
    })
}

/// Sorts by halves down to single items.
fn sort_quickly<T: Ord + Copy + Send>(data: &mut [T]) {
    if data.len() <= 1 {
        return;
    }
    let last = data.len() - 1;
    data.swap(last / 2, last);
    let pivot = data[last];
    let mut middle = 0;
    for n in 0..last {
        if data[n] < pivot {
            data.swap(n, middle);
            middle += 1;
        }
    }
    data.swap(middle, last);
    let (low, high) = data.split_at_mut(middle);
    fork(|| sort_quickly(low), || sort_quickly(&mut high[1..]));
}

/// How many numbers are sorted at a time. With more of them, more of the time goes to moving them, which costs every scheduler the same.
const FEW: usize = 1_000;

fn quicksort() -> Box<dyn FnMut() -> Duration> {
    sort_each(|part, _| sort_quickly(part))
}

fn mergesort() -> Box<dyn FnMut() -> Duration> {
    sort_each(merge_sorted)
}

/// Sorts a million numbers on a thread of the pool, [`FEW`] at a time, one portion after the other.
fn sort_each(sort: fn(&mut [u32], &mut [u32])) -> Box<dyn FnMut() -> Duration> {
    let input = numbers(1_000_000);
    Box::new(move || {
        let mut data = input.clone();
        let mut space = [0; FEW];
        let mut all = || data.chunks_mut(FEW).for_each(|part| sort(part, &mut space));
        let took = timed(|| rayon::scope(|_| all()), |()| ());
        assert!(data.chunks(FEW).all(|part| part.is_sorted()));
        took
    })
}

/// Sorts by halves down to single items, and merges serially.
fn merge_sorted(data: &mut [u32], space: &mut [u32]) {
    if data.len() <= 1 {
        return;
    }
    let middle = data.len() / 2;
    {
        let (left, right) = data.split_at_mut(middle);
        let (left_space, right_space) = space.split_at_mut(middle);
        fork(
            || merge_sorted(left, left_space),
            || merge_sorted(right, right_space),
        );
    }
    space.copy_from_slice(data);
    let (left, right) = space.split_at(middle);
    let (mut l, mut r) = (0, 0);
    for place in data {
        let from_left = r == right.len() || (l < left.len() && left[l] <= right[r]);
        *place = if from_left { left[l] } else { right[r] };
        l += usize::from(from_left);
        r += usize::from(!from_left);
    }
}

#[derive(Clone, Copy)]
struct Body {
    place: [f64; 3],
    speed: [f64; 3],
}

/// 64 bodies in 2,000 steps. Each step is a parallel loop over few and cheap items.
fn nbody() -> Box<dyn FnMut() -> Duration> {
    let mut random = SmallRng::seed_from_u64(11);
    let start: Vec<Body> = (0..64)
        .map(|_| Body {
            place: std::array::from_fn(|_| random.random_range(-1.0..1.0)),
            speed: [0.0; 3],
        })
        .collect();
    let one_by_one = |bodies: &[Body]| bodies.iter().map(|body| moved(body, bodies)).collect();
    let serial = simulate(&start, one_by_one);
    Box::new(move || {
        let parallel = || {
            // The whole loop runs on a thread of the pool.
            rayon::scope(|_| {
                simulate(&start, |bodies| {
                    if cfg!(feature = "serial") {
                        return one_by_one(bodies);
                    }
                    bodies.par_iter().map(|body| moved(body, bodies)).collect()
                })
            })
        };
        timed(parallel, |result| {
            assert_eq!(result.to_bits(), serial.to_bits())
        })
    })
}

fn simulate(start: &[Body], step: impl Fn(&[Body]) -> Vec<Body>) -> f64 {
    let mut bodies = start.to_vec();
    for _ in 0..2_000 {
        bodies = step(&bodies);
    }
    bodies.iter().map(|body| body.place[0]).sum()
}

fn moved(body: &Body, bodies: &[Body]) -> Body {
    const TIME: f64 = 1e-4;
    let mut pull = [0.0; 3];
    for other in bodies {
        let away: [f64; 3] = std::array::from_fn(|axis| other.place[axis] - body.place[axis]);
        let distance = away.iter().map(|part| part * part).sum::<f64>() + 0.01;
        let strength = 1.0 / (distance * distance.sqrt());
        for (sum, part) in pull.iter_mut().zip(away) {
            *sum += strength * part;
        }
    }
    let speed: [f64; 3] = std::array::from_fn(|axis| body.speed[axis] + TIME * pull[axis]);
    Body {
        place: std::array::from_fn(|axis| body.place[axis] + TIME * speed[axis]),
        speed,
    }
}
