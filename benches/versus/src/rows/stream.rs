//! Rows that take results as they come, and a stream through a window.

use super::shared::time;
use crate::common::mix;
use crate::contest::{Bench, Row};
use crate::contestants::{Heist, OrderedChannels, Peer, SubmitPeer};
use crate::results::Unit;
use std::cell::Cell;
use std::hint::black_box;
use std::time::Duration;

/// The pools' size, by default.
const THREADS: usize = 2;

/// Runs the rows.
pub fn run(bench: &mut Bench) {
    for threads in bench.threads_or(&[THREADS]) {
        bench.row(&format!("as-completed/{threads}"), |_| {
            as_completed(threads)
        });
        bench.row(&format!("as-completed-late/{threads}"), |_| {
            as_completed_late(threads)
        });
        bench.row(&format!("imap/{threads}"), |bench| imap(bench, threads));
    }
}

type Handles = Vec<heist::JoinHandle<u64>>;

/// A way to collect the results of handles.
type Collect = fn(Handles) -> u64;

const COLLECTORS: [(&str, Collect); 2] = [("joins", sum_in_order), (Heist::NAME, sum_as_completed)];

fn sum_in_order(handles: Handles) -> u64 {
    let results = handles.into_iter().map(|handle| handle.join());
    results.map(|result| result.expect("no task panics")).sum()
}

fn sum_as_completed(handles: Handles) -> u64 {
    let results = heist::as_completed(handles);
    results
        .map(|(index, result)| {
            let result = result.expect("no task panics");
            assert_eq!(index as u64, result);
            result
        })
        .sum()
}

fn submit_all(pool: &Heist, count: u64) -> Handles {
    (0..count)
        .map(|n| pool.submit(move || black_box(n)))
        .collect()
}

/// `as_completed` against joins in order, from the first submission to the last result.
fn as_completed(threads: usize) -> Row<'static> {
    let count = 100_000;
    let about = format!("{count} tiny tasks submitted, then their results as they come");
    collect_row(&about, threads, count, move |pool, collect| {
        time(|| collect(submit_all(pool, count)))
    })
}

/// Collecting alone, from tasks that have ended.
fn as_completed_late(threads: usize) -> Row<'static> {
    let count = 100_000;
    let about = format!("the results of {count} tasks that have ended");
    collect_row(&about, threads, count, move |pool, collect| {
        let handles = submit_all(pool, count);
        pool.pool().wait_idle();
        time(|| collect(handles))
    })
}

fn collect_row(
    about: &str,
    threads: usize,
    count: u64,
    run: impl Fn(&Heist, Collect) -> (Duration, u64) + Copy + 'static,
) -> Row<'static> {
    let mut row = Row::new(about, Unit::NanosecondsPer("task"));
    for (name, collect) in COLLECTORS {
        let pool = Heist::build(threads);
        row.add(name, count, move || {
            let (duration, sum) = run(&pool, collect);
            assert_eq!(sum, count * (count - 1) / 2, "{name} lost a task");
            duration
        });
    }
    row
}

/// A lazy map in order through the default window, against bounded channels with the same number of items under way.
fn imap<'a>(bench: &Bench, threads: usize) -> Row<'a> {
    let count = bench.pick(1_000_000, 100_000);
    let window = 4 * threads;
    let sum = |results: &mut dyn Iterator<Item = u64>| results.fold(0, u64::wrapping_add);
    let expected = sum(&mut (0..count).map(mix));

    let about = format!("{count} small items mapped in order, at most {window} alive");
    let mut row = Row::new(about, Unit::NanosecondsPer("item"));
    row.add("serial", count, move || {
        let (duration, answer) = time(|| sum(&mut (0..count).map(mix)));
        assert_eq!(answer, expected);
        duration
    });
    let pool = Heist::build(threads);
    row.add(Heist::NAME, count, move || {
        let alive = Alive::new(window);
        let (duration, answer) = time(|| {
            let results = pool.pool().imap(alive.count_in(0..count), mix);
            sum(&mut alive.count_out(results.map(|result| result.expect("no item panics"))))
        });
        assert_eq!(answer, expected);
        duration
    });
    let mut channels = OrderedChannels::new(threads, window, mix);
    row.add("channels", count, move || {
        let alive = Alive::new(window);
        let (duration, answer) = time(|| {
            let results = channels.map(alive.count_in(0..count));
            sum(&mut alive.count_out(results))
        });
        assert_eq!(answer, expected);
        duration
    });
    row
}

/// The number of items that were pulled from the input and not returned. The consumer's thread does both.
struct Alive {
    now: Cell<usize>,
    limit: usize,
}

impl Alive {
    fn new(limit: usize) -> Self {
        Self {
            now: Cell::new(0),
            limit,
        }
    }

    fn count_in<T>(&self, input: impl Iterator<Item = T>) -> impl Iterator<Item = T> {
        input.inspect(|_| {
            self.now.set(self.now.get() + 1);
            assert!(self.now.get() <= self.limit, "beyond the window");
        })
    }

    fn count_out<T>(&self, results: impl Iterator<Item = T>) -> impl Iterator<Item = T> {
        results.inspect(|_| self.now.set(self.now.get() - 1))
    }
}
