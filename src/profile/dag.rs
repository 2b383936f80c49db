//! The graph of a program: strands, and which of them wait for which.

use super::log::{Entry, Log};
use super::site::SiteRef;
use std::collections::HashMap;

/// A graph of nodes. Each node comes after those that it waits for.
#[derive(Clone, Debug, Default)]
pub(super) struct Dag {
    pub(super) nodes: Vec<Node>,
    /// What the nodes wait for, one node after the other.
    waits: Vec<u32>,
    pub(super) sites: Vec<SiteRef>,
}

/// A strand, or several whose order is not known. Times are in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    pub(super) work: u64,
    pub(super) span: u64,
    /// The index of its site. [`NO_SITE`] if it has no work.
    pub(super) site: u32,
    /// Where its part of `waits` ends.
    end: u32,
}

/// The site of a node that only joins others.
pub(super) const NO_SITE: u32 = u32::MAX;

/// A bracket that is open.
struct Frame {
    begin: Option<u32>,
    ends: Vec<u32>,
}

struct Builder {
    dag: Dag,
    numbers: HashMap<u64, Vec<u32>>,
    /// The last site that was looked up.
    recent: Option<(SiteRef, u32)>,
    frames: Vec<Frame>,
    /// The last node of the present sequence.
    last: Option<u32>,
    /// After which node each task begins.
    tasks: HashMap<u32, Option<u32>>,
}

impl Dag {
    pub(super) fn new(log: &Log) -> Self {
        let mut builder = Builder {
            dag: Dag::default(),
            numbers: HashMap::new(),
            recent: None,
            frames: Vec::new(),
            last: None,
            tasks: HashMap::new(),
        };
        for &entry in &log.entries {
            builder.add(entry);
        }
        builder.dag
    }

    /// The indices of the nodes for which a node waits.
    pub(super) fn waits(&self, node: usize) -> &[u32] {
        let begin = match node {
            0 => 0,
            _ => self.nodes[node - 1].end,
        };
        &self.waits[begin as usize..self.nodes[node].end as usize]
    }

    /// For each node the length of the longest chain that ends with it, if each join costs `burden` more, and the node before it in that chain.
    fn chains(&self, burden: u64) -> Vec<(u64, Option<u32>)> {
        let mut chains: Vec<(u64, Option<u32>)> = Vec::with_capacity(self.nodes.len());
        for (at, node) in self.nodes.iter().enumerate() {
            let waits = self.waits(at);
            let before = waits.iter().copied();
            let before = before.max_by_key(|&other| chains[other as usize].0);
            let begin = before.map_or(0, |other| chains[other as usize].0);
            let burden = if waits.len() > 1 { burden } else { 0 };
            chains.push((begin + node.span + burden, before));
        }
        chains
    }

    /// The length of the longest chain, if each join costs `burden` more.
    pub(super) fn span(&self, burden: u64) -> u64 {
        let chains = self.chains(burden);
        chains.iter().map(|chain| chain.0).max().unwrap_or(0)
    }

    pub(super) fn work(&self) -> u64 {
        self.nodes.iter().map(|node| node.work).sum()
    }

    /// The time of each site on the longest chain.
    pub(super) fn critical(&self) -> Vec<u64> {
        let mut times = vec![0; self.sites.len()];
        let chains = self.chains(0);
        let longest = (0..chains.len()).max_by_key(|&at| (chains[at].0, std::cmp::Reverse(at)));
        let mut next = longest.map(|at| at as u32);
        while let Some(at) = next {
            let node = self.nodes[at as usize];
            if node.site != NO_SITE {
                times[node.site as usize] += node.span;
            }
            next = chains[at as usize].1;
        }
        times
    }

    /// The work of each site.
    pub(super) fn works(&self) -> Vec<u64> {
        let mut works = vec![0; self.sites.len()];
        for node in self.nodes.iter().filter(|node| node.site != NO_SITE) {
            works[node.site as usize] += node.work;
        }
        works
    }

    /// The graph if the sites for which `is_changed` is true were `factor` times as fast.
    pub(super) fn scaled(&self, is_changed: &[bool], factor: f64) -> Dag {
        let mut dag = self.clone();
        let scale = |time: u64| (time as f64 / factor).round() as u64;
        for node in &mut dag.nodes {
            if node.site != NO_SITE && is_changed[node.site as usize] {
                (node.work, node.span) = (scale(node.work), scale(node.span));
            }
        }
        dag
    }
}

impl Builder {
    fn add(&mut self, entry: Entry) {
        match entry {
            Entry::Strand { time, site } => self.strand(time, time, site),
            Entry::Leaf { work, span, site } => self.strand(work, span, site),
            Entry::Open | Entry::ScopeOpen => {
                let begin = self.last;
                let ends = Vec::new();
                self.frames.push(Frame { begin, ends });
            }
            Entry::Next => {
                self.end_branch();
                self.last = self.frames.last().and_then(|frame| frame.begin);
            }
            Entry::TaskEnd => self.end_branch(),
            Entry::Close => {
                self.end_branch();
                self.close();
            }
            Entry::ScopeClose => self.close(),
            Entry::Spawn(task) => {
                self.tasks.insert(task, self.last);
            }
            Entry::Task(task) => {
                let scope = self.frames.last().and_then(|frame| frame.begin);
                self.last = self.tasks.get(&task).copied().unwrap_or(scope);
            }
        }
    }

    fn strand(&mut self, work: u64, span: u64, site: SiteRef) {
        let site = self.number(site);
        match self.last {
            Some(last) => self.node(work, span, site, &[last]),
            None => self.node(work, span, site, &[]),
        }
    }

    fn node(&mut self, work: u64, span: u64, site: u32, waits: &[u32]) {
        self.dag.waits.extend(waits);
        let end = self.dag.waits.len() as u32;
        self.last = Some(self.dag.nodes.len() as u32);
        self.dag.nodes.push(Node {
            work,
            span,
            site,
            end,
        });
    }

    fn end_branch(&mut self) {
        if let (Some(last), Some(frame)) = (self.last, self.frames.last_mut()) {
            frame.ends.push(last);
        }
    }

    fn close(&mut self) {
        let Some(mut frame) = self.frames.pop() else {
            return;
        };
        frame.ends.sort_unstable();
        frame.ends.dedup();
        match frame.ends[..] {
            [] => self.last = frame.begin,
            [one] => self.last = Some(one),
            _ => self.node(0, 0, NO_SITE, &frame.ends),
        }
    }

    fn number(&mut self, site: SiteRef) -> u32 {
        if let Some((known, number)) = self.recent
            && known == site
        {
            return number;
        }
        let number = self.find(site);
        self.recent = Some((site, number));
        number
    }

    fn find(&mut self, site: SiteRef) -> u32 {
        let alike = self.numbers.entry(site.hash()).or_default();
        let known = alike
            .iter()
            .find(|&&number| self.dag.sites[number as usize] == site);
        if let Some(&number) = known {
            return number;
        }
        let number = self.dag.sites.len() as u32;
        alike.push(number);
        self.dag.sites.push(site);
        number
    }
}
