//! Takes turns: every round runs every kernel in all three ways, in changing order.

use std::time::{Duration, Instant};

use heist::ThreadPool;

use super::kernels::Kernel;
use super::naive::NaivePool;

/// How long to go on.
pub struct Plan {
    /// So many rounds, after one that does not count.
    pub rounds: usize,
    /// But after this time no further one begins.
    pub at_most: Duration,
}

/// All results.
pub struct Report {
    /// Of each pool.
    pub threads: usize,
    /// How many rounds counted.
    pub rounds: usize,
    /// In the kernels' order.
    pub rows: Vec<Row>,
}

/// The results of one kernel.
pub struct Row {
    /// The kernel's name.
    pub name: String,
    /// Where the naive pool was spared.
    pub remark: Option<String>,
    /// Plain code.
    pub serial: Times,
    /// The naive pool.
    pub naive: Times,
    /// heist.
    pub heist: Times,
}

/// How long the runs took.
#[derive(Default)]
pub struct Times(Vec<Duration>);

impl Times {
    /// The fastest run.
    pub fn min(&self) -> Duration {
        self.0.iter().min().copied().unwrap_or_default()
    }

    /// The middle one; of an even number, the mean of the middle two.
    pub fn median(&self) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort();
        match sorted.len() {
            0 => Duration::ZERO,
            count => (sorted[(count - 1) / 2] + sorted[count / 2]) / 2,
        }
    }
}

/// Measures all kernels; `step` is called after each round of each kernel, between measurements.
pub fn measure(
    kernels: &[Kernel],
    naive: &NaivePool,
    heist: &ThreadPool,
    plan: &Plan,
    step: impl Fn(),
) -> Report {
    let mut rows: Vec<Row> = kernels.iter().map(Row::new).collect();
    for (kernel, row) in kernels.iter().zip(&mut rows) {
        row.round(kernel, naive, heist, 0);
        // Cold caches, threads that do not run yet.
        *row = Row::new(kernel);
        step();
    }
    let start = Instant::now();
    let mut rounds = 0;
    while rounds < plan.rounds && (rounds == 0 || start.elapsed() < plan.at_most) {
        for (kernel, row) in kernels.iter().zip(&mut rows) {
            row.round(kernel, naive, heist, rounds);
            step();
        }
        rounds += 1;
    }
    Report {
        threads: naive.threads(),
        rounds,
        rows,
    }
}

impl Row {
    fn new(kernel: &Kernel) -> Self {
        Row {
            name: kernel.name.clone(),
            remark: kernel.remark.clone(),
            serial: Times::default(),
            naive: Times::default(),
            heist: Times::default(),
        }
    }

    /// Runs the kernel in all three ways; another one begins each time.
    fn round(&mut self, kernel: &Kernel, naive: &NaivePool, heist: &ThreadPool, number: usize) {
        let mut answers = [0; 3];
        for turn in 0..3 {
            let who = (number + turn) % 3;
            answers[who] = match who {
                0 => self.serial.add(|| (kernel.serial)()),
                1 => self.naive.add(|| (kernel.naive)(naive)),
                _ => self.heist.add(|| (kernel.heist)(heist)),
            };
        }
        let [serial, naive, heist] = answers;
        assert_eq!(serial, naive, "{}: the naive pool is wrong", self.name);
        assert_eq!(serial, heist, "{}: heist is wrong", self.name);
    }
}

impl Times {
    fn add(&mut self, run: impl FnOnce() -> u64) -> u64 {
        let start = Instant::now();
        let answer = run();
        self.0.push(start.elapsed());
        answer
    }
}
