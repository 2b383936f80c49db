//! How long a program would take on a number of processors: a simulation of work stealing on its graph.
//!
//! A processor continues with the first strand that becomes ready when it ends one, and queues the others. It takes its own newest strand next, then the oldest
//! of all, which costs the time of a steal. A strand that becomes ready while a processor has nothing to do is taken at once.

use super::dag::Dag;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// The most pieces into which a node is divided whose inner parallelism is known, and the most of all.
const PIECES: u64 = 64;
const ALL_PIECES: usize = 1 << 20;

/// The graph as the simulation reads it.
#[derive(Debug)]
pub(super) struct Graph {
    times: Vec<u64>,
    /// How many nodes each one waits for.
    waits: Vec<u32>,
    /// Where the followers of each node begin.
    begins: Vec<u32>,
    followers: Vec<u32>,
    steal: u64,
}

impl Graph {
    /// A node that is worth more than a few steals and has parallelism of its own is divided into pieces.
    pub(super) fn new(dag: &Dag, steal: u64) -> Self {
        let most = (ALL_PIECES / dag.nodes.len().max(1)).max(2) as u64;
        let pieces = |work: u64, span: u64| {
            if work <= 8 * steal || span >= work {
                return 1;
            }
            work.div_ceil(span.max(1)).min(PIECES).min(most)
        };
        let mut times = Vec::new();
        let mut waits = Vec::new();
        let mut edges: Vec<(u32, u32)> = Vec::new();
        // The last node of the graph for each one of the dag.
        let mut lasts = Vec::with_capacity(dag.nodes.len());
        for (at, node) in dag.nodes.iter().enumerate() {
            let first = times.len() as u32;
            let before = dag.waits(at);
            edges.extend(before.iter().map(|&other| (lasts[other as usize], first)));
            waits.push(before.len() as u32);
            let count = pieces(node.work, node.span);
            if count == 1 {
                times.push(node.work);
            } else {
                times.push(0);
                let last = first + count as u32 + 1;
                for piece in first + 1..last {
                    let rest = u64::from(u64::from(piece - first) <= node.work % count);
                    times.push(node.work / count + rest);
                    waits.push(1);
                    edges.extend([(first, piece), (piece, last)]);
                }
                times.push(0);
                waits.push(count as u32);
            }
            lasts.push(times.len() as u32 - 1);
        }
        let mut begins = vec![0_u32; times.len() + 1];
        for &(from, _) in &edges {
            begins[from as usize + 1] += 1;
        }
        for at in 0..times.len() {
            begins[at + 1] += begins[at];
        }
        let mut next = begins.clone();
        let mut followers = vec![0; edges.len()];
        for (from, to) in edges {
            followers[next[from as usize] as usize] = to;
            next[from as usize] += 1;
        }
        Graph {
            times,
            waits,
            begins,
            followers,
            steal,
        }
    }

    /// The time of the program on so many processors.
    pub(super) fn run(&self, processors: usize) -> u64 {
        if processors <= 1 {
            return self.times.iter().sum();
        }
        Run::new(self, processors).end()
    }
}

/// A simulated run.
struct Run<'a> {
    graph: &'a Graph,
    waits: Vec<u32>,
    /// What each processor has queued, newest last.
    queues: Vec<Vec<u32>>,
    /// What was queued, oldest first. Some of it is taken already.
    oldest: VecDeque<u32>,
    is_taken: Vec<bool>,
    idle: Vec<u32>,
    /// When which processor ends which node.
    events: BinaryHeap<Reverse<(u64, u32, u32)>>,
    now: u64,
}

impl<'a> Run<'a> {
    fn new(graph: &'a Graph, processors: usize) -> Self {
        let nodes = graph.times.len();
        let processors = processors.min(nodes.max(1));
        Run {
            graph,
            waits: graph.waits.clone(),
            queues: vec![Vec::new(); processors],
            oldest: VecDeque::new(),
            is_taken: vec![false; nodes],
            idle: (0..processors as u32).rev().collect(),
            events: BinaryHeap::new(),
            now: 0,
        }
    }

    fn end(mut self) -> u64 {
        let roots: Vec<u32> = (0..self.waits.len())
            .filter(|&node| self.waits[node] == 0)
            .map(|node| node as u32)
            .collect();
        let mut free_of_charge = true;
        for node in roots {
            match self.idle.pop() {
                Some(processor) => {
                    let cost = if free_of_charge { 0 } else { self.graph.steal };
                    self.start(processor, node, cost);
                }
                None => self.queue(0, node),
            }
            free_of_charge = false;
        }
        while let Some(Reverse((time, processor, node))) = self.events.pop() {
            self.now = time;
            self.ended(processor, node);
        }
        self.now
    }

    fn start(&mut self, processor: u32, node: u32, cost: u64) {
        self.is_taken[node as usize] = true;
        let end = self.now + cost + self.graph.times[node as usize];
        self.events.push(Reverse((end, processor, node)));
    }

    fn queue(&mut self, processor: u32, node: u32) {
        self.queues[processor as usize].push(node);
        self.oldest.push_back(node);
    }

    fn ended(&mut self, processor: u32, node: u32) {
        let graph = self.graph;
        let (begin, end) = (graph.begins[node as usize], graph.begins[node as usize + 1]);
        let mut goes_on = false;
        for &follower in &graph.followers[begin as usize..end as usize] {
            self.waits[follower as usize] -= 1;
            if self.waits[follower as usize] > 0 {
                continue;
            }
            if !std::mem::replace(&mut goes_on, true) {
                self.start(processor, follower, 0);
            } else if let Some(idle) = self.idle.pop() {
                self.start(idle, follower, graph.steal);
            } else {
                self.queue(processor, follower);
            }
        }
        if goes_on {
            return;
        }
        while let Some(own) = self.queues[processor as usize].pop() {
            if !self.is_taken[own as usize] {
                return self.start(processor, own, 0);
            }
        }
        while let Some(other) = self.oldest.pop_front() {
            if !self.is_taken[other as usize] {
                return self.start(processor, other, graph.steal);
            }
        }
        self.idle.push(processor);
    }
}
