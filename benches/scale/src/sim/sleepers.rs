//! The sleep word and the idle list: who is awake, who searches, who can be had. And the count for which a scope's owner sleeps.

use super::lines::Line;
use super::policy::Policy;

/// A thread that was claimed.
pub enum Claimed {
    /// It is parked, or about to.
    Parked(usize),
    /// A new spare.
    New,
}

/// The counts of heist's sleep word, and the list behind the lock.
#[derive(Clone, Debug)]
pub struct Sleepers {
    /// How many threads the pool wants awake.
    pub target: usize,
    /// Pool threads that are awake.
    pub workers: usize,
    /// Threads from outside that are awake.
    pub guests: usize,
    /// Workers that look for work.
    pub searching: usize,
    /// Threads parked in waits that can be woken for what descends from what they wait for.
    pub helpers: usize,
    idle: Vec<usize>,
    idle_spares: Vec<usize>,
    unstarted_spares: usize,
}

impl Sleepers {
    /// A pool whose workers, the threads from 1 to `target`, are parked, beside one guest.
    pub fn new(target: usize, spares: usize) -> Self {
        Sleepers {
            target,
            workers: 0,
            guests: 1,
            searching: 0,
            helpers: 0,
            idle: (1..=target).rev().collect(),
            idle_spares: Vec::new(),
            unstarted_spares: spares,
        }
    }

    /// The number of threads awake in the pool.
    pub fn awake(&self) -> usize {
        self.workers + self.guests
    }

    /// Whether one more thread may be awake.
    pub fn has_room(&self) -> bool {
        self.awake() < self.target
    }

    /// Whether more threads are awake than the pool wants.
    pub fn overcommitted(&self) -> bool {
        self.awake() > self.target
    }

    /// Whether no free thread but a spare can be had, and a helper could be.
    pub fn prefers_helpers(&self) -> bool {
        self.idle.is_empty() && self.helpers > 0
    }

    /// Whether a publisher should get a thread.
    pub fn wants(&self, policy: &Policy) -> bool {
        let available = self.idle.len() + self.idle_spares.len() + self.unstarted_spares;
        self.searching < policy.wanted_searchers(self.awake())
            && available + self.helpers > 0
            && self.has_room()
    }

    /// Whether a thread that has found something, and sees more, should get one more worker.
    pub fn may_spread(&self) -> bool {
        2 * self.searching < self.awake() && !self.idle.is_empty() && self.has_room()
    }

    /// How many threads are on the idle list.
    pub fn parked(&self) -> usize {
        self.idle.len() + self.idle_spares.len()
    }

    /// Claims a free thread, which counts as awake and searching from now on.
    pub fn claim(&mut self) -> Option<Claimed> {
        let parked = self.idle.pop().or_else(|| self.idle_spares.pop());
        let claimed = match parked {
            Some(thread) => Claimed::Parked(thread),
            None => {
                self.unstarted_spares = self.unstarted_spares.checked_sub(1)?;
                Claimed::New
            }
        };
        self.workers += 1;
        self.searching += 1;
        Some(claimed)
    }

    /// A searching thread goes on the idle list.
    pub fn park(&mut self, thread: usize) {
        self.list(thread).push(thread);
        self.workers -= 1;
        self.searching -= 1;
    }

    /// A thread leaves the idle list by itself, and searches.
    pub fn unpark(&mut self, thread: usize) {
        self.list(thread).retain(|&other| other != thread);
        self.workers += 1;
        self.searching += 1;
    }

    fn list(&mut self, thread: usize) -> &mut Vec<usize> {
        if thread <= self.target {
            &mut self.idle
        } else {
            &mut self.idle_spares
        }
    }
}

/// The scope's count.
#[derive(Debug)]
pub struct Scope {
    /// The tasks that have not ended, and the body.
    pub left: u64,
    /// The line of the word in which all threads but the owner count.
    pub line: Line,
    /// Whether the owner sleeps.
    pub is_parked: bool,
}

impl Scope {
    /// No scope.
    pub fn new() -> Self {
        Scope {
            left: 0,
            line: Line::new(),
            is_parked: false,
        }
    }

    /// The owner begins the body.
    pub fn begin(&mut self) {
        self.left = 1;
    }
}
