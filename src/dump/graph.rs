//! Who waits for whom, and the circles among them.

use super::capture::Capture;
use super::model::{ThreadRef, WaitCycle, WaitEdge};
use crate::lineage::Place;
use crate::pool::Registry;
use crate::sleep::Waited;
use std::collections::{BTreeMap, BTreeSet};

/// All edges from threads that wait.
pub(super) fn edges(pools: &[Capture]) -> Vec<WaitEdge> {
    let mut runners: BTreeMap<u64, Vec<ThreadRef>> = BTreeMap::new();
    for (place, shown) in threads(pools) {
        for &task in &shown.tasks {
            runners.entry(task).or_default().push(place);
        }
    }
    let mut edges = Vec::new();
    for (from, shown) in threads(pools) {
        let Some(waited) = shown.seen.waited else {
            continue;
        };
        let to = match waited.as_task() {
            Some(task) => runners.get(&task).cloned().unwrap_or_default(),
            None => below(&pools[from.pool], from.pool, waited),
        };
        edges.extend(to.into_iter().map(|to| WaitEdge { from, to }));
    }
    edges
}

fn threads(pools: &[Capture]) -> impl Iterator<Item = (ThreadRef, &super::capture::Shown)> {
    pools.iter().enumerate().flat_map(|(pool, capture)| {
        let slots = capture.slots.iter().enumerate();
        slots.map(move |(thread, shown)| (ThreadRef { pool, thread }, shown))
    })
}

/// The threads of a pool that run what descends from the place for which a thread waits.
fn below(capture: &Capture, pool: usize, waited: Waited) -> Vec<ThreadRef> {
    let Some(place) = waited.as_place().and_then(Place::from_word) else {
        return Vec::new();
    };
    let registry = &capture.registry;
    let slots = capture.slots.iter().enumerate();
    let running = slots.filter(|(_, shown)| runs_below(registry, shown.slot, place));
    running
        .map(|(thread, _)| ThreadRef { pool, thread })
        .collect()
}

fn runs_below(registry: &Registry, slot: usize, place: Place) -> bool {
    let mut runs = registry.slot(slot).lineage.runs();
    runs.any(|origin| {
        let mut ancestors = registry.ancestors(origin);
        ancestors.any(|ancestor| ancestor.place() == Some(place))
    })
}

/// Returns one circle for each set of threads that can reach each other, among edges between threads of the system.
///
/// A thread has a place for each pool in which it acts, and waits at one of them.
pub(super) fn cycles(pools: &[Capture], edges: &[WaitEdge]) -> Vec<WaitCycle> {
    let node = |place: ThreadRef| {
        let os_id = pools[place.pool].dump.threads[place.thread].os_id;
        match os_id {
            0 => (1, place.pool as u64, place.thread as u64),
            id => (0, id, 0),
        }
    };
    let mut next: BTreeMap<_, Vec<&WaitEdge>> = BTreeMap::new();
    for edge in edges {
        next.entry(node(edge.from)).or_default().push(edge);
    }
    let mut cycles = Vec::new();
    let mut done = BTreeSet::new();
    for &start in next.keys() {
        let (mut path, mut on_path): (Vec<(_, usize)>, BTreeSet<_>) =
            (vec![(start, 0)], BTreeSet::from([start]));
        // The edges by which the path goes on.
        let mut taken: Vec<WaitEdge> = Vec::new();
        while let Some((at, tried)) = path.last_mut() {
            let edge = next
                .get(at)
                .and_then(|edges| edges.get(*tried))
                .filter(|_| !done.contains(at));
            let Some(edge) = edge else {
                done.insert(*at);
                on_path.remove(at);
                path.pop();
                taken.pop();
                continue;
            };
            *tried += 1;
            let to = node(edge.to);
            if on_path.contains(&to) {
                let begin = path.iter().position(|&(node, _)| node == to).unwrap_or(0);
                let mut edges = taken[begin..].to_vec();
                edges.push(**edge);
                cycles.push(WaitCycle { edges });
                // What leads into a circle is not looked at again.
                done.extend(path.iter().map(|&(node, _)| node));
                break;
            }
            if !done.contains(&to) {
                taken.push(**edge);
                on_path.insert(to);
                path.push((to, 0));
            }
        }
    }
    cycles
}
