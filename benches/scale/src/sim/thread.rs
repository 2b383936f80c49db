//! What a simulated thread does, and what it will do next.

use super::jobs::JobId;
use crate::random::Random;
use crate::workload::{Node, Ns};

/// The thread that runs the program.
pub const GUEST: usize = 0;

/// What a thread has seen that has asked all rings: the number of slots, and how many requests the owners have answered.
pub type Announced = (usize, u64);

/// The order in which a thief visits the rings.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    first: usize,
    stride: usize,
    count: usize,
    visited: usize,
}

impl Order {
    /// An order of `count` rings from a random one on. If it `jumps`, in steps that are coprime to their number.
    pub fn new(random: &mut Random, count: usize, jumps: bool) -> Self {
        let first = random.below(count);
        let mut stride = 1;
        if jumps {
            stride = 1 + random.below(count);
            while gcd(stride, count) != 1 {
                stride = 1 + stride % count;
            }
        }
        Order {
            first,
            stride,
            count,
            visited: 0,
        }
    }

    /// The next ring, until all have been visited.
    pub fn next_victim(&mut self) -> Option<usize> {
        if self.visited == self.count {
            return None;
        }
        let victim = (self.first + self.visited * self.stride) % self.count;
        self.visited += 1;
        Some(victim)
    }
}

/// One look at the rings of all others.
#[derive(Clone, Copy, Debug)]
pub struct Scan {
    /// The order of the rings.
    pub order: Order,
    /// How many looks came before.
    pub round: u32,
    /// Only what descends from this job may be taken. [`ROOT`]: anything.
    pub below: JobId,
    /// Why the thread looks.
    pub purpose: Purpose,
    /// The word of the set of active slots at which it has looked last.
    pub word: usize,
}

/// Why a thread looks at all rings.
#[derive(Clone, Copy, Debug)]
pub enum Purpose {
    /// A free worker searches.
    Free(Search),
    /// A thread that waits for a stolen fork looks beyond its thief.
    Wait(Wait),
    /// It is about to park. `fenced`: behind a heavy barrier. `freed`: its parking made room in the pool.
    Park { fenced: bool, freed: bool },
    /// It was woken to help.
    Help,
}

/// The search of a free worker.
#[derive(Clone, Copy, Debug)]
pub struct Search {
    /// How many others searched when it began to.
    pub others: usize,
    /// When it began.
    pub since: Ns,
}

/// A wait for a stolen fork.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wait {
    /// How many rounds have found nothing.
    pub round: u32,
    /// When the thread first looked at the clock.
    pub since: Option<Ns>,
}

/// What follows a heavy barrier.
#[derive(Clone, Copy, Debug)]
pub enum Then {
    /// Take the claimed fork of `victim`, or go on as before.
    Force {
        victim: usize,
        epoch: u32,
        resume: Resume,
    },
    /// The last look of a free worker, which has asked all rings and seen this.
    ParkFree(Announced),
    /// The last look of a waiting thread.
    ParkBound { freed: bool },
}

/// What a thread does that forces.
#[derive(Clone, Copy, Debug)]
pub enum Resume {
    /// It looks at all rings.
    Scan(Scan),
    /// It waits, and was looking at its thief's ring.
    Wait(Wait),
}

/// What a thread does when its next event comes.
#[derive(Clone, Copy, Debug)]
pub enum State {
    /// Nothing: it is parked and has no event.
    Asleep,
    /// It has been woken.
    Woken,
    /// It begins a run of the program.
    Begin,
    /// It has ended a run of the program, and begins the next one.
    Ended,
    /// It runs a subtree.
    Run(Node),
    /// A closure has returned.
    Return,
    /// A task of the scope has ended.
    TaskEnd,
    /// The scope's owner waits for its tasks.
    ScopeWait(Wait),
    /// It waits for the newest fork of its ring, and looks at the thief's.
    Wait(Wait),
    /// It looks at all rings.
    Scan(Scan),
    /// It has looked at all rings as a free worker, and has nothing.
    Idle(Search, u32),
    /// It has looked at what it may take as a waiting thread, and has nothing.
    Pause(Wait),
    /// It has asked all rings, and enters a membarrier.
    Announced(Then),
    /// It is in a membarrier.
    Barrier(Then),
}

/// The execution of the program or of a stolen fork.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// The fork. [`ROOT`]: the program.
    pub job: JobId,
    /// The number of forks in the thread's ring when it began.
    pub base: usize,
}

/// When the next event of a thread comes. `None`: it sleeps.
pub type Step = Option<Ns>;

/// A simulated thread.
#[derive(Debug)]
pub struct Thread {
    /// What it does next.
    pub state: State,
    /// What it executes, the innermost last.
    pub runs: Vec<Run>,
    /// It counts as searching.
    pub searching: bool,
    /// Somebody has claimed it before it slept.
    pub claimed: bool,
    /// It is parked in a wait and can be woken to help.
    pub helping: bool,
    /// What interrupts have cost it since its last event.
    pub delay: Ns,
    /// It does useful work.
    pub is_busy: bool,
    /// Its own random numbers.
    pub random: Random,
}

impl Thread {
    /// A parked thread.
    pub fn asleep(seed: u64) -> Self {
        Thread {
            state: State::Asleep,
            runs: Vec::new(),
            searching: false,
            claimed: false,
            helping: false,
            delay: 0,
            is_busy: false,
            random: Random::new(seed),
        }
    }
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}
