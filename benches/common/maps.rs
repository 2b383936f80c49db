//! Inputs for maps: many cheap items, and items of heavy-tailed cost.

use super::coarse::spin;
use super::contract::{Join, JoinKernel};
use super::{mix, unit_interval};
use std::time::Duration;

/// `count` numbers for [`cheap`].
pub fn cheap_items(count: usize) -> Vec<f64> {
    (0..count).map(|i| i as f64 * 0.5).collect()
}

/// A multiplication and an addition. The map is bound by memory and by the cost of the scheduler.
#[inline]
pub fn cheap(item: &f64) -> f64 {
    item * 1.5 + 0.25
}

/// The cheap map as a plain program.
pub fn serial_cheap(items: &[f64]) -> Vec<f64> {
    items.iter().map(cheap).collect()
}

/// The places of the costly items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// At random places.
    Random,
    /// The most expensive 1 % are adjacent, at 70 % of the input.
    Clustered,
}

/// The costs of `count` items in nanoseconds: a Pareto distribution of shape 1.1, from 1 us to 2 ms.
pub fn heavy_tailed_costs(count: usize, order: Order) -> Vec<u32> {
    let mut costs: Vec<u32> = (0..count as u64)
        .map(|i| (1_000.0 * unit_interval(mix(i)).powf(-1.0 / 1.1)).min(2_000_000.0) as u32)
        .collect();
    if order == Order::Clustered {
        let costliest = count / 100;
        let mut ranked = costs.clone();
        ranked.sort_unstable_by(|a, b| b.cmp(a));
        let limit = ranked.get(costliest).copied().unwrap_or(0);
        let (heavy, light): (Vec<u32>, Vec<u32>) =
            costs.iter().copied().partition(|cost| *cost > limit);
        let split = light.len() * 7 / 10;
        costs = [&light[..split], &heavy, &light[split..]].concat();
    }
    costs
}

/// Keeps the thread busy for as long as the item costs.
pub fn spend(cost: &u32) -> u32 {
    spin(Duration::from_nanos(u64::from(*cost)));
    *cost
}

/// The heavy-tailed map as a plain program.
pub fn serial_spend(costs: &[u32]) -> Vec<u32> {
    costs.iter().map(spend).collect()
}

/// The cheap map by joins down to single items, for schedulers that have a join and no map.
pub struct CheapMapByJoin {
    /// The items.
    pub items: Vec<f64>,
}

impl JoinKernel for CheapMapByJoin {
    type Answer = Vec<f64>;

    fn units(&self) -> u64 {
        self.items.len() as u64
    }

    fn serial(&self) -> Vec<f64> {
        serial_cheap(&self.items)
    }

    fn run<J: Join>(&self, context: &mut J::Context<'_>) -> Vec<f64> {
        let mut results = vec![0.0; self.items.len()];
        fill::<J>(context, &self.items, &mut results);
        results
    }
}

fn fill<J: Join>(context: &mut J::Context<'_>, items: &[f64], results: &mut [f64]) {
    if let ([item], [result]) = (items, &mut *results) {
        *result = cheap(item);
    } else if !items.is_empty() {
        let middle = items.len() / 2;
        let (first_items, last_items) = items.split_at(middle);
        let (first_results, last_results) = results.split_at_mut(middle);
        J::join(
            context,
            move |context| fill::<J>(context, first_items, first_results),
            move |context| fill::<J>(context, last_items, last_results),
        );
    }
}
