//! How long it takes until all threads of a parked pool have begun something.

use crate::options::ProbeOptions;
use crate::real;
use crate::samples::Samples;
use crate::table;
use std::sync::{Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// A place where closures wait until all have come. It gives up after a time.
struct Meeting {
    expected: usize,
    /// How many have come, and when the last one did.
    come: Mutex<(usize, Option<Instant>)>,
    all_there: Condvar,
    until: Instant,
}

impl Meeting {
    fn new(expected: usize, limit: Duration) -> Self {
        Meeting {
            expected,
            come: Mutex::new((0, None)),
            all_there: Condvar::new(),
            until: Instant::now() + limit,
        }
    }

    /// Blocks the thread until all have come.
    fn attend(&self) {
        let mut come = self.come.lock().expect("no closure panics");
        come.0 += 1;
        if come.0 == self.expected {
            come.1 = Some(Instant::now());
            self.all_there.notify_all();
            return;
        }
        let left = self.until.saturating_duration_since(Instant::now());
        let is_missing = |come: &mut (usize, Option<Instant>)| come.1.is_none();
        drop(self.all_there.wait_timeout_while(come, left, is_missing));
    }

    /// When the last one came. `None`: not in time.
    fn complete(self) -> Option<Instant> {
        self.come.into_inner().ok()?.1
    }
}

/// A pool, and how it starts as many blocking closures as it has threads.
trait Pool {
    const NAME: &'static str;
    fn build(threads: usize) -> Self;
    fn by_join(&self, meeting: &Meeting);
    fn by_scope(&self, meeting: &Meeting);
}

impl Pool for heist::ThreadPool {
    const NAME: &'static str = "heist";

    fn build(threads: usize) -> Self {
        real::pool(threads)
    }

    fn by_join(&self, meeting: &Meeting) {
        fn tree(count: usize, meeting: &Meeting) {
            if count == 1 {
                return meeting.attend();
            }
            let half = count / 2;
            heist::join(|| tree(half, meeting), || tree(count - half, meeting));
        }
        self.run(|| tree(meeting.expected, meeting));
    }

    fn by_scope(&self, meeting: &Meeting) {
        self.scope(|scope| {
            for _ in 0..meeting.expected {
                scope.spawn(|_| meeting.attend());
            }
        });
    }
}

impl Pool for rayon::ThreadPool {
    const NAME: &'static str = "rayon";

    fn build(threads: usize) -> Self {
        let builder = rayon::ThreadPoolBuilder::new().num_threads(threads);
        builder.build().expect("the threads can be started")
    }

    fn by_join(&self, meeting: &Meeting) {
        fn tree(count: usize, meeting: &Meeting) {
            if count == 1 {
                return meeting.attend();
            }
            let half = count / 2;
            rayon::join(|| tree(half, meeting), || tree(count - half, meeting));
        }
        self.install(|| tree(meeting.expected, meeting));
    }

    fn by_scope(&self, meeting: &Meeting) {
        self.scope(|scope| {
            for _ in 0..meeting.expected {
                scope.spawn(|_| meeting.attend());
            }
        });
    }
}

/// Measures the ramp-up of heist and rayon. Each row has a pool of its own.
pub fn run(options: &ProbeOptions) {
    println!("\nramp: from a parked pool until P closures that block have all begun, us");
    let mut rows = Vec::new();
    for threads in options.threads.clone().unwrap_or(vec![8, 32, 128, 512]) {
        for by_join in [true, false] {
            rows.push(row::<heist::ThreadPool>(threads, by_join, options));
            rows.push(row::<rayon::ThreadPool>(threads, by_join, options));
        }
    }
    table::print(&["P", "how", "pool", "min", "median"], &rows);
}

fn row<P: Pool>(threads: usize, by_join: bool, options: &ProbeOptions) -> Vec<String> {
    let limit = Duration::from_secs(options.limit);
    let until = Instant::now() + limit;
    let pool = P::build(threads);
    // New threads search for a while before they park.
    thread::sleep(Duration::from_millis(100));
    let mut samples = Samples::default();
    for _ in 0..options.reps {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        thread::sleep(Duration::from_millis(3 + threads as u64 / 16));
        let meeting = Meeting::new(threads, left);
        let begin = Instant::now();
        if by_join {
            pool.by_join(&meeting);
        } else {
            pool.by_scope(&meeting);
        }
        if let Some(complete) = meeting.complete() {
            samples.push((complete - begin).as_nanos() as f64 / 1e3);
        }
    }
    let how = if by_join { "join tree" } else { "scope" };
    let mut row = vec![threads.to_string(), how.to_owned(), P::NAME.to_owned()];
    row.extend(samples.cells());
    row
}
