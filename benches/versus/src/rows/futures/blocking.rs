//! Rows of calls that block their thread beside a computation, and of a limit on how many futures are under way.

use crate::common::contract::JoinKernel;
use crate::common::fib::Fib;
use crate::contest::{Bench, Row};
use crate::contestants::{AsyncPeer, Heist, JoinPeer, Peer, Rayon, Tokio};
use crate::results::Unit;
use crate::rows::shared::{THREADS, time};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

/// How long a call blocks, and how long a future of the limited pool sleeps.
const NAP: Duration = Duration::from_millis(50);

/// The number of calls that block at the same time.
const CALLS: usize = 100;

/// The pools of rayon and tokio that stand beside each other.
const BESIDE: &str = "tokio+rayon";

/// Runs the rows.
pub fn run(bench: &mut Bench) {
    for (name, calls) in [
        ("async-blocking", Calls::First),
        ("async-blocking-late", Calls::Late),
    ] {
        bench.row(&format!("{name}/{THREADS}"), |bench| {
            calls_beside_fib(bench, calls)
        });
    }
    bench.row(&format!("async-blocking-fib/{THREADS}"), fib_beside_calls);
    bench.row(&format!("async-limit/{THREADS}"), limit);
}

/// Makes the calls, calls the function, and waits for the calls.
type Block = Box<dyn Fn(&dyn Fn())>;

/// A pool on which many calls block, and a pool on which a kernel runs. They are one pool, or two.
struct Both<P> {
    joins: P,
    block: Block,
}

impl Both<Heist> {
    /// One pool of heist.
    fn heist() -> Self {
        let pool = heist::ThreadPool::builder()
            .num_threads(THREADS)
            .spare_threads(CALLS)
            .build()
            .expect("a pool for the bench could not be built");
        let joins = Heist::from(pool.clone());
        let block = move |made: &dyn Fn()| {
            let nap = || heist::blocking(|| thread::sleep(NAP));
            let calls: Vec<_> = (0..CALLS).map(|_| pool.submit(nap)).collect();
            made();
            for call in calls {
                call.join().expect("a call panicked");
            }
        };
        Both {
            joins,
            block: Box::new(block),
        }
    }
}

impl Both<Rayon> {
    /// A runtime of tokio for the calls, and a pool of rayon for the kernel.
    fn tokio_and_rayon() -> Self {
        let tokio = Tokio::build(THREADS);
        let block = move |made: &dyn Fn()| {
            tokio.block_on(async {
                let nap = || thread::sleep(NAP);
                let calls: Vec<_> = (0..CALLS)
                    .map(|_| tokio.runtime().spawn_blocking(nap))
                    .collect();
                made();
                for call in calls {
                    call.await.expect("a call panicked");
                }
            });
        };
        Both {
            joins: Rayon::build(THREADS),
            block: Box::new(block),
        }
    }
}

/// When the calls are made, compared with the fib.
#[derive(Clone, Copy)]
enum Calls {
    /// They are queued when the fib begins.
    First,
    /// They find all threads occupied.
    Late,
}

/// The time of all calls while another thread runs fibs on the pool.
fn calls_beside_fib<'a>(bench: &Bench, calls: Calls) -> Row<'a> {
    fn add<P: JoinPeer + Sync + 'static>(
        row: &mut Row,
        name: &'static str,
        both: Both<P>,
        (calls, kernel): (Calls, Fib),
    ) {
        let expected = kernel.serial();
        let Both { joins, block } = both;
        row.add(name, 1, move || {
            let over = AtomicBool::new(false);
            let (begin, begun) = mpsc::channel();
            let begin_fib = || begin.send(()).expect("the thread waits");
            thread::scope(|scope| {
                let (joins, over) = (&joins, &over);
                scope.spawn(move || {
                    begun.recv().expect("the fib is wanted");
                    while !over.load(Ordering::Relaxed) {
                        assert_eq!(joins.time(&kernel).1, expected);
                    }
                });
                let duration = match calls {
                    Calls::First => time(|| block(&begin_fib)).0,
                    Calls::Late => {
                        begin_fib();
                        thread::sleep(NAP);
                        time(|| block(&|| ())).0
                    }
                };
                over.store(true, Ordering::Relaxed);
                duration
            })
        });
    }

    let kernel = Fib {
        n: bench.pick(37, 33),
    };
    let when = match calls {
        Calls::First => "before fibs begin",
        Calls::Late => "in the middle of fibs",
    };
    let about = format!(
        "{CALLS} calls that block for {} ms, made {when}, fib({}) again and again",
        NAP.as_millis(),
        kernel.n
    );
    let mut row = Row::new(about, Unit::Milliseconds).ideal(NAP);
    let case = (calls, kernel);
    add(&mut row, Heist::NAME, Both::heist(), case);
    add(&mut row, BESIDE, Both::tokio_and_rayon(), case);
    row
}

/// The time of a fib alone, and while another thread makes the calls again and again.
fn fib_beside_calls<'a>(bench: &Bench) -> Row<'a> {
    fn add<P: JoinPeer + Sync + 'static>(
        row: &mut Row,
        (alone, beside): (&'static str, &'static str),
        both: fn() -> Both<P>,
        kernel: Fib,
    ) {
        let expected = kernel.serial();
        let both = Rc::new(both());
        let fib = move |both: &Both<P>| {
            let (duration, answer) = both.joins.time(&kernel);
            assert_eq!(answer, expected);
            duration
        };
        let same = Rc::clone(&both);
        row.add(beside, 1, move || {
            let over = AtomicBool::new(false);
            let joins = &same.joins;
            thread::scope(|scope| {
                let fib = scope.spawn(|| {
                    // The calls have time to begin.
                    thread::sleep(NAP / 2);
                    let (duration, answer) = joins.time(&kernel);
                    assert_eq!(answer, expected);
                    over.store(true, Ordering::Relaxed);
                    duration
                });
                while !over.load(Ordering::Relaxed) {
                    (same.block)(&|| ());
                }
                fib.join().expect("a fib panicked")
            })
        });
        row.add(alone, 1, move || fib(&both));
    }

    let kernel = Fib {
        n: bench.pick(37, 33),
    };
    let about = format!(
        "fib({}), alone and beside {CALLS} calls at a time that block for {} ms",
        kernel.n,
        NAP.as_millis()
    );
    let mut row = Row::new(about, Unit::Milliseconds);
    add(&mut row, ("heist-alone", Heist::NAME), Both::heist, kernel);
    let names = ("rayon-alone", BESIDE);
    add(&mut row, names, Both::tokio_and_rayon, kernel);
    row
}

/// Counts how many futures are under way.
#[derive(Default)]
struct Peak {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Peak {
    fn begin(&self) {
        let now = self.now.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(now, Ordering::Relaxed);
    }

    fn end(&self) {
        self.now.fetch_sub(1, Ordering::Relaxed);
    }

    /// Asserts that the limit was reached and not exceeded, and forgets the most.
    fn check(&self, limit: usize) {
        assert_eq!(self.most.swap(0, Ordering::Relaxed), limit);
    }
}

/// Futures that sleep, a few at a time.
fn limit<'a>(_: &Bench) -> Row<'a> {
    const LIMIT: usize = 4;
    const TASKS: usize = 10;

    let about = format!(
        "{TASKS} futures that sleep for {} ms, {LIMIT} at a time",
        NAP.as_millis()
    );
    let rounds = TASKS.div_ceil(LIMIT) as u32;
    let mut row = Row::new(about, Unit::Milliseconds).ideal(NAP * rounds);

    let heist = Heist::build(THREADS);
    let pool = heist::AsyncPool::new(heist.pool(), LIMIT);
    let peak = Arc::new(Peak::default());
    row.add(Heist::NAME, 1, move || {
        let (duration, ()) = time(|| {
            for _ in 0..TASKS {
                let peak = Arc::clone(&peak);
                let task = pool.submit(async move {
                    peak.begin();
                    heist::sleep(NAP).await;
                    peak.end();
                });
                task.detach();
            }
            heist::block_on(pool.wait_idle());
        });
        peak.check(LIMIT);
        duration
    });

    let tokio = Tokio::with_drivers(THREADS);
    let peak = Arc::new(Peak::default());
    row.add(Tokio::NAME, 1, move || {
        let permits = Arc::new(tokio::sync::Semaphore::new(LIMIT));
        let (duration, ()) = time(|| {
            let task = || {
                let (peak, permits) = (Arc::clone(&peak), Arc::clone(&permits));
                tokio.submit_async(async move {
                    let _permit = permits.acquire().await.expect("it is not closed");
                    peak.begin();
                    tokio::time::sleep(NAP).await;
                    peak.end();
                })
            };
            let tasks: Vec<_> = (0..TASKS).map(|_| task()).collect();
            tokio.block_on(async {
                for task in tasks {
                    Tokio::result(task).await;
                }
            });
        });
        peak.check(LIMIT);
        duration
    });
    row
}
