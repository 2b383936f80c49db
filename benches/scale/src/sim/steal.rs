//! What a thief takes: a public fork, else it asks the owner, else it forces.

use super::jobs::{JobId, ROOT};
use super::thread::{Purpose, Resume, Run, Scan, State, Step, Then};
use super::world::{BITS, World};
use crate::workload::Ns;

/// From which round on a thief forces where it does not wait by the clock.
pub const FORCE_ROUND: u32 = 5;

/// The pause after the first round of a search or wait; each further one is twice as long, up to a microsecond.
pub const FIRST_PAUSE: Ns = 31;

/// A thief that goes by the clock waits at least so long before it forces.
const LEAST_PATIENCE: Ns = 1_000;

/// How long a thief looks before other threads' events are looked at: longer looks see rings as they were this long ago.
const LOOK_BATCH: Ns = 100;

/// What came of a look at one ring.
pub enum Attempt {
    /// Nothing.
    Nothing,
    /// A fork, which the thief has begun.
    Began,
    /// There are private forks whose owner does not answer: the thief is to force.
    Force,
}

/// How a look at all rings ended.
pub enum Looked {
    /// It goes on later.
    Later(Ns),
    /// The thief has begun a fork of this ring.
    Began(Ns, usize),
    /// The thief is to force at this ring.
    Force(Ns, usize),
    /// There was nothing.
    Nothing(Ns),
}

impl World {
    /// Looks at one ring, and takes what descends from `below`. `asks`: whether the owner is asked even if nothing descends from there.
    pub fn attempt(
        &mut self,
        thread: usize,
        victim: usize,
        now: &mut Ns,
        look: (JobId, u32, bool),
    ) -> Attempt {
        let (below, round, asks) = look;
        *now += self.probe(thread, victim);
        let allowed = |run| below == ROOT || self.jobs.descends(run, below);
        let ring = &self.rings[victim];
        let oldest = ring.oldest().is_some_and(|fork| allowed(fork.run));
        if ring.public() > 0 && oldest {
            let parent = ring.oldest().map_or(ROOT, |fork| fork.run);
            self.begin_stolen(thread, victim, now, parent);
            return Attempt::Began;
        }
        let Some(since) = ring.requested_at() else {
            if asks || allowed(self.innermost(victim)) {
                self.rings[victim].request(*now);
                *now += self.setup.costs.clean_line;
            }
            return Attempt::Nothing;
        };
        let policy = &self.setup.policy;
        let is_due = match policy.patience_percent {
            None => round >= FORCE_ROUND,
            Some(_) => now.saturating_sub(since) >= self.patience() && round > 0,
        };
        let may = (!policy.patient_waits || self.threads[thread].runs.is_empty())
            && !(policy.one_forcer && self.forcing > 0);
        if is_due && may && oldest && ring.is_claimable() {
            Attempt::Force
        } else {
            Attempt::Nothing
        }
    }

    /// How long a request stands before a thief forces.
    pub fn patience(&self) -> Ns {
        let policy = &self.setup.policy;
        let least = if policy.by_clock { LEAST_PATIENCE } else { 0 };
        let percent = policy.patience_percent.unwrap_or(0);
        (percent * self.kernel.average() / 100).max(least)
    }

    /// Takes the oldest fork of `victim`, which is public, and begins it.
    fn begin_stolen(&mut self, thread: usize, victim: usize, now: &mut Ns, parent: JobId) {
        let waited = self.tally.transfers.waited;
        *now = self.change_ring(*now, thread, victim);
        self.tally.conflicts += u64::from(self.tally.transfers.waited > waited);
        self.tally.steals += 1;
        let is_remote = self.socket(thread) != self.socket(victim);
        self.tally.remote_steals += u64::from(is_remote);
        // The closure's line comes from its owner.
        *now += self.setup.costs.dirty_cas * if is_remote { 2 } else { 1 };
        let base = self.rings[thread].depth();
        let job = self.jobs.add(victim, thread, parent);
        let node = self.rings[victim].take(job);
        self.threads[thread].runs.push(Run { job, base });
        self.threads[thread].state = State::Run(node);
    }

    /// Goes on with a look at all rings.
    pub fn look_on(&mut self, thread: usize, begin: Ns, scan: &mut Scan) -> Looked {
        let mut now = begin;
        let asks = scan.below == ROOT;
        while now - begin < LOOK_BATCH {
            let Some(victim) = scan.order.next_victim() else {
                return Looked::Nothing(now);
            };
            let is_new_word = std::mem::replace(&mut scan.word, victim / BITS) != victim / BITS;
            let (is_active, cost) = self.is_active(thread, victim, is_new_word);
            now += cost;
            if victim == thread || !is_active {
                continue;
            }
            match self.attempt(thread, victim, &mut now, (scan.below, scan.round, asks)) {
                Attempt::Nothing if matches!(scan.purpose, Purpose::Free(_)) => {
                    if self.setup.policy.skips_parked {
                        // Both deques.
                        now += 2 * self.setup.costs.clean_line;
                    }
                    if self.begin_task(thread, victim, &mut now) {
                        return Looked::Began(now, victim);
                    }
                }
                Attempt::Nothing => {}
                Attempt::Began => return Looked::Began(now, victim),
                Attempt::Force => return Looked::Force(now, victim),
            }
        }
        Looked::Later(now)
    }

    /// Claims half of the victim's private forks, and enters a membarrier.
    pub fn force(&mut self, thread: usize, victim: usize, now: Ns, resume: Resume) -> Step {
        self.tally.forces += 1;
        self.tally.forces_by_waiters += u64::from(!self.threads[thread].runs.is_empty());
        self.forcing += 1;
        let epoch = self.rings[victim].claim();
        let now = self.change_ring(now, thread, victim) + self.setup.costs.dirty_cas;
        let then = Then::Force {
            victim,
            epoch,
            resume,
        };
        self.enter_barrier(thread, now, then)
    }

    /// The membarrier of a force has ended. Returns when the fork begins, or `None` if the owner has come in between.
    pub fn end_force(&mut self, thread: usize, victim: usize, now: Ns, epoch: u32) -> Option<Ns> {
        self.forcing -= 1;
        if !self.rings[victim].settle(epoch) {
            self.tally.failed_forces += 1;
            return None;
        }
        let parent = self.rings[victim].oldest().map_or(ROOT, |fork| fork.run);
        let mut now = now;
        self.begin_stolen(thread, victim, &mut now, parent);
        Some(now)
    }
}
