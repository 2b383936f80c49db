//! Rows of many sleeping futures: what one costs to begin, to cancel and to end beside many others, and how late one ends.
//!
//! No pool takes part: the sleeps are polled by the measuring thread, and wake a counter.

use crate::common::mix;
use crate::contest::{Bench, Row};
use crate::contestants::{AsyncIoSleeps, HeistSleeps, SleepPeer, TokioSleeps};
use crate::results::Unit;
use crate::rows::shared::time;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// When the sleeps end that do not end during a repetition.
const FAR: Duration = Duration::from_secs(3_600);

/// The range over which deadlines in no order are spread.
const SPREAD: Duration = Duration::from_secs(600);

/// The range over which deadlines are spread that come while a repetition waits for them.
const SHORT_SPREAD: Duration = Duration::from_millis(1);

/// Runs the rows.
pub fn run(bench: &mut Bench) {
    for order in [Order::Random, Order::Ascending] {
        let suffix = match order {
            Order::Random => "",
            Order::Ascending => "-ascending",
        };
        for (name, step) in [
            ("begin", Step::Begin),
            ("cancel", Step::Cancel),
            ("fire", Step::Fire),
        ] {
            bench.row(&format!("async-sleep-{name}{suffix}"), |bench| {
                many(bench, step, order)
            });
        }
    }
    bench.row("async-sleep-late", late);
}

/// What is timed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The first poll of each sleep.
    Begin,
    /// The drop of each sleep before its time.
    Cancel,
    /// The time from the last deadline until the last sleep has called its waker.
    Fire,
}

/// The order of the deadlines, compared with that in which the sleeps begin.
#[derive(Clone, Copy)]
enum Order {
    Random,
    /// As where all sleeps are equally long.
    Ascending,
}

impl Order {
    /// The deadlines of `count` sleeps, between `first` and `first + spread`.
    fn deadlines(self, count: u64, first: Instant, spread: Duration) -> Vec<Instant> {
        let nanos = spread.as_nanos() as u64;
        let offset = |n| match self {
            Order::Random => mix(n) % nanos,
            Order::Ascending => nanos / count * n,
        };
        (0..count)
            .map(|n| first + Duration::from_nanos(offset(n)))
            .collect()
    }
}

/// Counts the sleeps that end, and wakes a thread after the last.
struct Count {
    left: AtomicU64,
    waiter: Thread,
}

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // ORDERING: Relaxed: unparking the thread is what makes the count visible.
        if self.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.waiter.unpark();
        }
    }
}

/// Sleeps that have been made and perhaps polled, with their waker.
struct Sleeps<S> {
    sleeps: Vec<Pin<Box<S>>>,
    count: Arc<Count>,
}

impl<S: Future> Sleeps<S> {
    fn new(deadlines: &[Instant], peer: &impl SleepPeer<Sleep = S>) -> Self {
        Self {
            sleeps: deadlines
                .iter()
                .map(|&deadline| Box::pin(peer.sleep_until(deadline)))
                .collect(),
            count: Arc::new(Count {
                left: AtomicU64::new(deadlines.len() as u64),
                waiter: thread::current(),
            }),
        }
    }

    /// Polls each sleep once. Returns false if the time of one has come.
    fn begin(&mut self) -> bool {
        let waker = Waker::from(Arc::clone(&self.count));
        let mut context = Context::from_waker(&waker);
        let mut sleeps = self.sleeps.iter_mut();
        sleeps.all(|sleep| sleep.as_mut().poll(&mut context).is_pending())
    }

    fn left(&self) -> u64 {
        self.count.left.load(Ordering::Relaxed)
    }

    fn wait(&self) {
        while self.left() > 0 {
            thread::park();
        }
    }
}

/// Many sleeps at a time.
fn many<'a>(bench: &Bench, step: Step, order: Order) -> Row<'a> {
    fn add<P: SleepPeer + 'static>(row: &mut Row, case: Case) {
        let peer = P::start();
        row.add(P::NAME, case.count, move || case.time(&peer));
    }

    // The sleeps that are to fire need a time in which all of them begin.
    let count = match step {
        Step::Fire => bench.pick(250_000, 20_000),
        _ => bench.pick(1_000_000, 50_000),
    };
    let case = Case { step, order, count };
    let deadlines = match order {
        Order::Random => "in no order",
        Order::Ascending => "in ascending order",
    };
    let what = match step {
        Step::Begin => "begin: the first poll",
        Step::Cancel => "are dropped before their time",
        Step::Fire => "come to their end within 1 ms: from the last deadline to the last wake-up",
    };
    let about = format!("{count} sleeps, deadlines {deadlines}, {what}");
    let mut row = Row::new(about, Unit::NanosecondsPer("sleep"));
    add::<HeistSleeps>(&mut row, case);
    add::<TokioSleeps>(&mut row, case);
    add::<AsyncIoSleeps>(&mut row, case);
    row
}

#[derive(Clone, Copy)]
struct Case {
    step: Step,
    order: Order,
    count: u64,
}

impl Case {
    fn time(self, peer: &impl SleepPeer) -> Duration {
        if self.step == Step::Fire {
            return self.time_fire(peer);
        }
        let deadlines = self
            .order
            .deadlines(self.count, Instant::now() + FAR, SPREAD);
        let mut sleeps = Sleeps::new(&deadlines, peer);
        let (begin, begun) = time(|| sleeps.begin());
        let (cancel, ()) = time(|| sleeps.sleeps.clear());
        assert!(begun, "a sleep ended early");
        assert_eq!(sleeps.left(), self.count, "a sleep ended early");
        match self.step {
            Step::Cancel => cancel,
            _ => begin,
        }
    }

    fn time_fire(self, peer: &impl SleepPeer) -> Duration {
        // Enough for all sleeps to begin, except on a busy machine.
        let mut lead = Duration::from_micros(2) * self.count as u32;
        loop {
            let first = Instant::now() + lead;
            let deadlines = self.order.deadlines(self.count, first, SHORT_SPREAD);
            let mut sleeps = Sleeps::new(&deadlines, peer);
            let begun = Instant::now() + lead / 2 < first && sleeps.begin();
            if begun && Instant::now() < first {
                assert_eq!(sleeps.left(), self.count, "a sleep ended early");
                sleeps.wait();
                return (first + SHORT_SPREAD).elapsed();
            }
            lead *= 2;
        }
    }
}

/// How late single sleeps end.
fn late<'a>(bench: &Bench) -> Row<'a> {
    fn add<P: SleepPeer + 'static>(row: &mut Row, sleeps: u64) {
        let peer = P::start();
        row.add_events(P::NAME, move || {
            (0..sleeps)
                .map(|n| {
                    let micros = 1_000 + mix(n) % 2_000;
                    let deadline = Instant::now() + Duration::from_micros(micros);
                    peer.block_on(async { peer.sleep_until(deadline).await });
                    let late = Instant::now().checked_duration_since(deadline);
                    late.unwrap_or_else(|| panic!("{} was early", P::NAME))
                })
                .collect()
        });
    }

    let sleeps = bench.pick(100, 20);
    let about = "how long after its deadline a single sleep of 1 to 3 ms ends";
    let mut row = Row::new(about, Unit::MicrosecondsPer("sleep"));
    add::<HeistSleeps>(&mut row, sleeps);
    add::<TokioSleeps>(&mut row, sleeps);
    add::<AsyncIoSleeps>(&mut row, sleeps);
    row
}
