//! Rows of maps without a chunk size: ten million cheap items, and ten thousand of heavy-tailed cost.

use super::shared::time;
use crate::common::maps::{self, Order};
use crate::contest::{Bench, Row};
use crate::contestants::{Heist, MapPeer, Naive, Rayon};
use crate::results::Unit;
use std::rc::Rc;

/// Runs the rows.
pub fn run(bench: &mut Bench) {
    for threads in bench.threads_or(&[1, 2]) {
        bench.row(&format!("map-cheap/{threads}"), |bench| {
            cheap(bench.pick(10_000_000, 1_000_000), threads)
        });
    }
    // The items watch the clock, so more threads than cores would show nothing.
    for (name, order) in [
        ("map-heavy-random/2", Order::Random),
        ("map-heavy-clustered/2", Order::Clustered),
    ] {
        bench.row(name, |bench| heavy(bench.pick(10_000, 2_000), order, 2));
    }
}

fn cheap<'a>(count: usize, threads: usize) -> Row<'a> {
    let items = Rc::new(maps::cheap_items(count));
    let expected = Rc::new(maps::serial_cheap(&items));
    let about = format!("map of {count} f64 by a multiplication and an addition");
    let mut row = Row::new(about, Unit::Milliseconds);
    row.add("serial", 1, {
        let items = Rc::clone(&items);
        move || time(|| maps::serial_cheap(&items)).0
    });
    let mut add = CheapPeers {
        row: &mut row,
        items: &items,
        expected: &expected,
        threads,
    };
    add.peer::<Heist>();
    add.peer::<Rayon>();
    add.peer::<Naive>();
    row
}

/// What each peer of the cheap row is given.
struct CheapPeers<'r, 'a> {
    row: &'r mut Row<'a>,
    items: &'r Rc<Vec<f64>>,
    expected: &'r Rc<Vec<f64>>,
    threads: usize,
}

impl<'a> CheapPeers<'_, 'a> {
    fn peer<P: MapPeer + 'a>(&mut self) {
        let pool = P::build(self.threads);
        let items = Rc::clone(self.items);
        let expected = Rc::clone(self.expected);
        self.row.add(P::NAME, 1, move || {
            let (duration, results) = time(|| pool.map(&items, maps::cheap));
            assert!(results == *expected, "{} mapped wrongly", P::NAME);
            duration
        });
    }
}

fn heavy<'a>(count: usize, order: Order, threads: usize) -> Row<'a> {
    let costs = Rc::new(maps::heavy_tailed_costs(count, order));
    let about = format!(
        "map of {count} items of heavy-tailed cost, {}",
        match order {
            Order::Random => "in random order",
            Order::Clustered => "the costliest hundredth together",
        }
    );
    let mut row = Row::new(about, Unit::Milliseconds).ideal_is_serial_over(threads);
    row.add("serial", 1, {
        let costs = Rc::clone(&costs);
        move || time(|| maps::serial_spend(&costs)).0
    });
    add_heavy::<Heist>(&mut row, &costs, threads);
    add_heavy::<Rayon>(&mut row, &costs, threads);
    add_heavy::<Naive>(&mut row, &costs, threads);
    row
}

fn add_heavy<'a, P: MapPeer + 'a>(row: &mut Row<'a>, costs: &Rc<Vec<u32>>, threads: usize) {
    let pool = P::build(threads);
    let costs = Rc::clone(costs);
    row.add(P::NAME, 1, move || {
        let (duration, results) = time(|| pool.map(&costs, maps::spend));
        assert!(results == *costs, "{} mapped wrongly", P::NAME);
        duration
    });
}
