//! A fork ring as heist has it: a stack whose lower part is stolen, whose middle is public and whose upper part is private.

use super::jobs::{JobId, ROOT};
use super::lines::Line;
use crate::workload::{Node, Ns};
use std::collections::VecDeque;

/// The second closure of a join.
#[derive(Clone, Copy, Debug)]
pub struct Fork {
    /// What it runs.
    pub node: Node,
    /// The run in which it was forked.
    pub run: JobId,
    /// Its number once it is stolen.
    pub job: JobId,
}

/// What a pop finds.
pub enum Popped {
    /// The fork was private.
    Private(Node),
    /// The fork was public, or a thief had claimed it; it is the owner's again.
    TakenBack(Node),
    /// A thief has it.
    Stolen,
}

/// The ring of one thread.
#[derive(Clone, Debug)]
pub struct Ring {
    /// The forks, the oldest first. Stolen ones stay until they are joined.
    forks: Vec<Fork>,
    top: usize,
    split: usize,
    /// The owner pops from here upwards without looking at `split`.
    guard: usize,
    claimed: bool,
    epoch: u32,
    /// When somebody asked for work, if the owner has not answered.
    requested: Option<Ns>,
    /// How many requests the owner has answered.
    pub answers: u64,
    /// The tasks in the owner's deque, the oldest first.
    pub tasks: VecDeque<Node>,
    /// Counts the changes that a thief's look must fetch again.
    pub version: u32,
    /// The line of `top`, `split` and the claim.
    pub line: Line,
}

impl Ring {
    /// An empty ring, whose first push is to look for sleepers.
    pub fn new() -> Self {
        Ring {
            forks: Vec::new(),
            top: 0,
            split: 0,
            guard: 0,
            claimed: false,
            epoch: 0,
            requested: Some(0),
            answers: 0,
            tasks: VecDeque::new(),
            version: 0,
            line: Line::new(),
        }
    }

    /// The number of places in use.
    pub fn depth(&self) -> usize {
        self.forks.len()
    }

    /// Whether a thief could find nothing.
    pub fn is_empty(&self) -> bool {
        self.top == self.split && self.forks.len() <= self.split
    }

    /// The number of public forks.
    pub fn public(&self) -> usize {
        self.split - self.top
    }

    /// The fork that a thief would get, if there is one.
    pub fn oldest(&self) -> Option<&Fork> {
        self.forks.get(self.top)
    }

    /// The job of the stolen fork that the owner waits for.
    pub fn awaited(&self) -> JobId {
        self.forks.last().map_or(ROOT, |fork| fork.job)
    }

    // ---- the owner ----

    /// Pushes a fork. Returns whether a request is due.
    pub fn push(&mut self, node: Node, run: JobId) -> bool {
        self.forks.push(Fork {
            node,
            run,
            job: ROOT,
        });
        self.requested.is_some()
    }

    /// Answers a request: half of the private part becomes public if nothing is. Returns whether it did.
    pub fn answer(&mut self) -> bool {
        self.requested = None;
        self.answers += 1;
        self.version = self.version.wrapping_add(1);
        let shares = !self.is_empty() && self.public() == 0;
        if shares {
            self.set_split(self.split + (self.forks.len() - self.split).div_ceil(2));
        }
        shares
    }

    /// Takes the newest fork back.
    pub fn pop(&mut self) -> Popped {
        let index = self.forks.len() - 1;
        if self.top > index {
            return Popped::Stolen;
        }
        let raised = self.guard > index;
        if raised {
            let public = self.split.min(index) - self.top;
            self.set_split(self.top + public / 2);
        }
        let node = self.forks[index].node;
        self.forks.truncate(index);
        if raised {
            Popped::TakenBack(node)
        } else {
            Popped::Private(node)
        }
    }

    /// Joins the newest fork, which was stolen and is done.
    pub fn unbind(&mut self) {
        let index = self.forks.len() - 1;
        self.forks.truncate(index);
        self.top = index;
        self.set_split(index);
    }

    fn set_split(&mut self, split: usize) {
        self.split = split;
        self.guard = split;
        self.claimed = false;
        self.epoch = self.epoch.wrapping_add(1);
        self.version = self.version.wrapping_add(1);
    }

    // ---- thieves ----

    /// Asks the owner for work. Returns false if somebody has before.
    pub fn request(&mut self, now: Ns) -> bool {
        let fresh = self.requested.is_none();
        if fresh {
            self.requested = Some(now);
            self.version = self.version.wrapping_add(1);
        }
        fresh
    }

    /// When the request was made that has not been answered.
    pub fn requested_at(&self) -> Option<Ns> {
        self.requested
    }

    /// Takes the oldest fork, which is public, as `job`.
    pub fn take(&mut self, job: JobId) -> Node {
        let fork = &mut self.forks[self.top];
        fork.job = job;
        let node = fork.node;
        self.top += 1;
        self.version = self.version.wrapping_add(1);
        node
    }

    /// Whether there are private forks only, and nobody has claimed them.
    pub fn is_claimable(&self) -> bool {
        self.public() == 0 && !self.is_empty() && !self.claimed
    }

    /// Claims half of the private forks. Returns the epoch of the claim.
    pub fn claim(&mut self) -> u32 {
        self.claimed = true;
        let wanted = (self.forks.len() - self.split).div_ceil(2);
        self.guard = self.guard.max(self.split + wanted);
        self.version = self.version.wrapping_add(1);
        self.epoch
    }

    /// After the heavy barrier: makes what was claimed public. Returns false if the owner has come in between.
    pub fn settle(&mut self, epoch: u32) -> bool {
        if self.epoch != epoch || !self.claimed {
            return false;
        }
        self.claimed = false;
        let there = self.forks.len().saturating_sub(self.split);
        let pinned = self.guard.saturating_sub(self.split).min(there);
        self.split += pinned;
        self.version = self.version.wrapping_add(1);
        pinned > 0
    }
}
