//! Measures in turns: every round runs every kernel in all three ways, in changing order.

use std::time::{Duration, Instant};

use heist::ThreadPool;

use super::kernels::Kernel;
use super::naive::NaivePool;

/// How long to measure.
pub struct Plan {
    /// The number of rounds, after one that does not count.
    pub rounds: usize,
    /// The time after which no further round begins.
    pub at_most: Duration,
}

/// All results.
pub struct Report {
    /// The number of threads of each pool.
    pub threads: usize,
    /// The number of rounds that count.
    pub rounds: usize,
    /// The results in the order of the kernels.
    pub rows: Vec<Row>,
}

/// The results of one kernel.
pub struct Row {
    /// The kernel's name.
    pub name: String,
    /// A note where the naive pool did less.
    pub remark: Option<String>,
    /// The times of plain code.
    pub serial: Times,
    /// The times of the naive pool.
    pub naive: Times,
    /// The times of heist.
    pub heist: Times,
}

/// The times of the runs.
#[derive(Default)]
pub struct Times(Vec<Duration>);

impl Times {
    /// The fastest run.
    pub fn min(&self) -> Duration {
        self.0.iter().min().copied().unwrap_or_default()
    }

    /// The middle run, or the mean of the two in the middle.
    pub fn median(&self) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort();
        match sorted.len() {
            0 => Duration::ZERO,
            count => (sorted[(count - 1) / 2] + sorted[count / 2]) / 2,
        }
    }
}

/// Measures all kernels. Calls `step` after each round of each kernel, between measurements.
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
        // The first round has cold caches, and threads that do not run yet.
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

    /// Runs the kernel in all three ways, beginning with another one each time.
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
