//! The process pool of heist against Python's `ProcessPoolExecutor` and procspawn: `cargo run --release [ROUNDS]`.
//!
//! Each round measures all contestants in turn, and the table shows the best round of each, because other programs disturb a measurement in one direction only.

use heist::{Executor, ProcessPool};
use serde_bytes::ByteBuf;
use std::collections::VecDeque;
use std::process::Command;
use std::time::{Duration, Instant};

#[heist::task]
fn tiny(n: u64) -> u64 {
    n + 1
}

#[heist::task]
fn echo(bytes: ByteBuf) -> ByteBuf {
    bytes
}

const WORKERS: usize = 2;
const WINDOW: usize = 1000;

/// What one contestant does in one round. Times in seconds.
#[derive(Clone, Copy)]
struct Figures {
    /// Tasks a second, with `WINDOW` of them under way.
    rate: f64,
    round_trip: f64,
    /// Items a second of a stream, or a chunked map.
    stream: f64,
    /// 1 MiB there and back.
    mebibyte: f64,
    /// From the call that makes the pool to the first result.
    first: f64,
}

impl Figures {
    fn best(self, other: Figures) -> Figures {
        Figures {
            rate: self.rate.max(other.rate),
            round_trip: self.round_trip.min(other.round_trip),
            stream: self.stream.max(other.stream),
            mebibyte: self.mebibyte.min(other.mebibyte),
            first: self.first.min(other.first),
        }
    }
}

/// The median of the times of `count` calls.
fn median(count: usize, mut f: impl FnMut()) -> f64 {
    let mut times: Vec<Duration> = (0..count)
        .map(|_| {
            let begin = Instant::now();
            f();
            begin.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[count / 2].as_secs_f64()
}

fn heist() -> Figures {
    let begin = Instant::now();
    let builder = ProcessPool::builder().num_workers(WORKERS);
    let pool = builder.build().expect("a pool");
    assert_eq!(pool.submit(tiny::TASK, 1).join().unwrap(), 2);
    let first = begin.elapsed().as_secs_f64();
    let tasks = 50_000;
    let begin = Instant::now();
    let mut window = VecDeque::with_capacity(WINDOW);
    for n in 0..tasks {
        if window.len() == WINDOW {
            let (n, handle): (u64, heist::JoinHandle<u64>) = window.pop_front().expect("a handle");
            assert_eq!(handle.join().unwrap(), n + 1);
        }
        window.push_back((n, pool.submit(tiny::TASK, n)));
    }
    for (n, handle) in window {
        assert_eq!(handle.join().unwrap(), n + 1);
    }
    let rate = tasks as f64 / begin.elapsed().as_secs_f64();
    let round_trip = median(1000, || {
        assert_eq!(pool.submit(tiny::TASK, 1).join().unwrap(), 2)
    });
    let items = 1_000_000;
    let begin = Instant::now();
    let sum: u64 = pool.imap(tiny::TASK, 0..items).map(Result::unwrap).sum();
    let stream = items as f64 / begin.elapsed().as_secs_f64();
    assert_eq!(sum, items * (items + 1) / 2);
    let content = ByteBuf::from(vec![7; 1 << 20]);
    let mebibyte = median(50, || {
        assert_eq!(
            pool.submit(echo::TASK, content.clone())
                .join()
                .unwrap()
                .len(),
            1 << 20
        );
    });
    Figures {
        rate,
        round_trip,
        stream,
        mebibyte,
        first,
    }
}

fn procspawn() -> Figures {
    let begin = Instant::now();
    let pool = procspawn::Pool::new(WORKERS).expect("a pool");
    let spawn = |n: u64| procspawn::spawn!(in pool, (n) || n + 1);
    assert_eq!(spawn(1).join().unwrap(), 2);
    let first = begin.elapsed().as_secs_f64();
    // Each queued task takes up three descriptors, and its pool panics when there are none left.
    let window_size = 200;
    let tasks = 10_000;
    let begin = Instant::now();
    let mut window = VecDeque::with_capacity(window_size);
    for n in 0..tasks {
        if window.len() == window_size {
            let (n, handle): (u64, procspawn::JoinHandle<u64>) =
                window.pop_front().expect("a handle");
            assert_eq!(handle.join().unwrap(), n + 1);
        }
        window.push_back((n, spawn(n)));
    }
    for (n, handle) in window {
        assert_eq!(handle.join().unwrap(), n + 1);
    }
    let rate = tasks as f64 / begin.elapsed().as_secs_f64();
    let round_trip = median(1000, || assert_eq!(spawn(1).join().unwrap(), 2));
    let content = ByteBuf::from(vec![7; 1 << 20]);
    let mebibyte = median(50, || {
        let content = content.clone();
        let back = procspawn::spawn!(in pool, (content) || content);
        assert_eq!(back.join().unwrap().len(), 1 << 20);
    });
    pool.shutdown();
    Figures {
        rate,
        round_trip,
        stream: f64::NAN,
        mebibyte,
        first,
    }
}

/// Prints the figures, in the order of the fields. The stream is `map` with the chunk size that is best on the development machine.
const PYTHON: &str = r#"
import time, collections
from concurrent.futures import ProcessPoolExecutor
def tiny(n): return n + 1
def echo(b): return b
def median(count, f):
    times = []
    for _ in range(count):
        t = time.perf_counter(); f(); times.append(time.perf_counter() - t)
    return sorted(times)[count // 2]
if __name__ == "__main__":
    t = time.perf_counter()
    pool = ProcessPoolExecutor(WORKERS)
    assert pool.submit(tiny, 1).result() == 2
    first = time.perf_counter() - t
    tasks = 10000
    t = time.perf_counter()
    window = collections.deque()
    for n in range(tasks):
        if len(window) == WINDOW:
            window.popleft().result()
        window.append(pool.submit(tiny, n))
    for f in window: f.result()
    rate = tasks / (time.perf_counter() - t)
    round_trip = median(1000, lambda: pool.submit(tiny, 1).result())
    t = time.perf_counter()
    assert sum(pool.map(tiny, range(200000), chunksize=1000)) == 200000 * 200001 // 2
    stream = 200000 / (time.perf_counter() - t)
    content = b"7" * (1 << 20)
    mebibyte = median(50, lambda: pool.submit(echo, content).result())
    print(rate, round_trip, stream, mebibyte, first)
"#;

fn python() -> Option<Figures> {
    let program = PYTHON
        .replace("WORKERS", &WORKERS.to_string())
        .replace("WINDOW", &WINDOW.to_string());
    let output = Command::new("python3")
        .args(["-c", &program])
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let figures: Vec<f64> = text
        .split_whitespace()
        .filter_map(|figure| figure.parse().ok())
        .collect();
    match figures[..] {
        [rate, round_trip, stream, mebibyte, first] => Some(Figures {
            rate,
            round_trip,
            stream,
            mebibyte,
            first,
        }),
        _ => None,
    }
}

fn show(name: &str, figures: Option<Figures>) {
    let Some(figures) = figures else {
        return println!("{name:<22} is not there");
    };
    println!(
        "{name:<22} {:>10.0} {:>12.1} {:>12.0} {:>10.3} {:>9.2}",
        figures.rate,
        figures.round_trip * 1e6,
        figures.stream,
        figures.mebibyte * 1e3,
        figures.first * 1e3,
    );
}

fn main() {
    heist::init();
    procspawn::init();
    let rounds: usize = std::env::args()
        .nth(1)
        .map_or(3, |text| text.parse().expect("a number of rounds"));
    let mut best: [Option<Figures>; 3] = [None; 3];
    for _ in 0..rounds {
        let round = [Some(heist()), Some(procspawn()), python()];
        for (best, figures) in best.iter_mut().zip(round) {
            *best = match (*best, figures) {
                (Some(best), Some(figures)) => Some(best.best(figures)),
                (best, figures) => best.or(figures),
            };
        }
    }
    println!("{WORKERS} workers, the best of {rounds} rounds");
    println!(
        "{:<22} {:>10} {:>12} {:>12} {:>10} {:>9}",
        "", "tasks/s", "round trip us", "stream/s", "1 MiB ms", "first ms"
    );
    for (name, figures) in ["heist", "procspawn", "ProcessPoolExecutor"]
        .into_iter()
        .zip(best)
    {
        show(name, figures);
    }
}
