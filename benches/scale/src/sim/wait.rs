//! How a thread waits for a stolen fork: it looks at the thief's ring, then at all rings, spins, and parks.

use super::jobs::JobId;
use super::steal::{Attempt, FIRST_PAUSE, FORCE_ROUND};
use super::thread::{GUEST, Purpose, Resume, State, Step, Then, Wait};
use super::wake::Seeker;
use super::world::World;
use crate::workload::Ns;

/// From which round on a wait looks at all rings.
const WIDE_ROUND: u32 = 4;

/// How many rounds a wait spends before it looks at the clock.
const UNTIMED_ROUNDS: u32 = FORCE_ROUND + 1;

/// How long a wait spins that lingers, at most.
const MOST_WAIT_TIME: Ns = 200_000;

/// How long a wait spins.
const WAIT_TIME: Ns = 20_000;

impl World {
    /// One round of a wait: whether the fork is done, and what its thief has.
    pub fn wait_round(&mut self, thread: usize, now: Ns, wait: Wait) -> Step {
        let awaited = self.rings[thread].awaited();
        let job = *self.jobs.get(awaited);
        let mut now = now;
        if job.done {
            self.jobs.remove(awaited);
            self.rings[thread].unbind();
            self.threads[thread].state = State::Return;
            now = self.change_ring(now + self.setup.costs.slow_pop, thread, thread);
            self.set_busy(now, thread, true);
            return Some(now);
        }
        let crowded = self.sleepers.overcommitted();
        if !crowded {
            let look = (awaited, wait.round, true);
            match self.attempt(thread, job.thief, &mut now, look) {
                Attempt::Began => return Some(now),
                Attempt::Force => return self.force(thread, job.thief, now, Resume::Wait(wait)),
                Attempt::Nothing => {}
            }
        }
        let policy = &self.setup.policy;
        let stays_near = policy.narrow_waits || policy.near_waits || crowded;
        let is_wide = wait.round >= WIDE_ROUND && !stays_near;
        self.threads[thread].state = if is_wide {
            self.scan(thread, wait.round, awaited, Purpose::Wait(wait))
        } else {
            State::Pause(wait)
        };
        Some(now)
    }

    /// The end of a round that has found nothing: a pause, or the thread parks.
    pub fn pause_wait(&mut self, thread: usize, now: Ns, wait: Wait) -> Step {
        let by_clock = self.setup.policy.by_clock;
        let pause = if by_clock {
            FIRST_PAUSE
        } else {
            self.setup.costs.spin_hint
        };
        let now = now + (pause << wait.round.min(5));
        let mut wait = Wait {
            round: wait.round + 1,
            ..wait
        };
        let is_untimed = !by_clock && wait.round <= UNTIMED_ROUNDS;
        let time = if self.setup.policy.lingers {
            (4 * self.kernel.average()).clamp(WAIT_TIME, MOST_WAIT_TIME)
        } else {
            WAIT_TIME
        };
        let spins = is_untimed || now < *wait.since.get_or_insert(now) + time;
        let thief = self.jobs.get(self.rings[thread].awaited()).thief;
        if spins && !self.threads[thief].helping {
            self.threads[thread].state = State::Wait(wait);
            return Some(now);
        }
        self.park_bound(thread, now)
    }

    /// Announces that the thread parks, counts it out, and looks once more.
    fn park_bound(&mut self, thread: usize, now: Ns) -> Step {
        self.tally.bound_parks += 1;
        let awaited = self.rings[thread].awaited();
        let job = self.jobs.get_mut(awaited);
        if job.done {
            self.threads[thread].state = State::Wait(Wait::default());
            return Some(now);
        }
        job.awaited = true;
        let now = self.change_word(now + self.setup.costs.dirty_cas, thread);
        let had_room = self.sleepers.has_room();
        self.count_asleep(thread);
        let freed = !had_room && self.sleepers.wants(&self.setup.policy);
        if self.setup.policy.narrow_waits && !freed {
            return self.sleep_bound(thread, now);
        }
        if !self.setup.policy.narrow_waits {
            self.threads[thread].helping = true;
            self.sleepers.helpers += 1;
        }
        if self.setup.policy.looks_first {
            let now = now + self.request_all(now).0;
            return self.look_before_parking(thread, now, false, freed);
        }
        if self.setup.policy.light_waits && !freed {
            return self.look_before_parking(thread, now, true, freed);
        }
        self.announce(thread, now, Then::ParkBound { freed })
    }

    /// Asks all rings. A heavy barrier follows.
    pub fn announce(&mut self, thread: usize, now: Ns, then: Then) -> Step {
        let now = now + self.request_all(now).0;
        self.announced_all(thread, now, then)
    }

    /// All rings are asked. A heavy barrier follows.
    pub fn announced_all(&mut self, thread: usize, now: Ns, then: Then) -> Step {
        self.tally.announcements += 1;
        self.threads[thread].state = State::Announced(then);
        Some(now)
    }

    /// Looks for what the waiting thread may run, if there is room for one more.
    pub fn look_before_parking(
        &mut self,
        thread: usize,
        now: Ns,
        fenced: bool,
        freed: bool,
    ) -> Step {
        let purpose = Purpose::Park { fenced, freed };
        if self.setup.policy.narrow_waits || !self.sleepers.has_room() {
            return self.end_parking_look(thread, now, fenced, freed);
        }
        let awaited = self.rings[thread].awaited();
        self.threads[thread].state = self.scan(thread, FORCE_ROUND, awaited, purpose);
        Some(now)
    }

    /// The look before parking has found nothing that it could take.
    pub fn end_parking_look(&mut self, thread: usize, now: Ns, fenced: bool, freed: bool) -> Step {
        let awaited = self.rings[thread].awaited();
        let narrow = self.setup.policy.narrow_waits;
        let stays = self.jobs.get(awaited).done
            || (!narrow && self.sleepers.has_room() && self.sees_below(awaited));
        if stays || self.threads[thread].claimed {
            return self.resume_wait(thread, now);
        }
        let mut now = now;
        if freed && (fenced || self.sees_work()) {
            now += self.look_cost();
            if self.sees_work() {
                let seeker = Seeker::Searcher;
                now = self.recruit(thread, now, seeker).unwrap_or(now);
            }
        }
        // Visible work has a thread now, and a narrow wait has nothing else to be told of.
        let is_settled =
            fenced || (narrow && self.sees_work()) || (self.setup.policy.light_waits && !freed);
        if is_settled {
            return self.sleep_bound(thread, now);
        }
        self.announce(thread, now, Then::ParkBound { freed })
    }

    fn sleep_bound(&mut self, thread: usize, now: Ns) -> Step {
        if self.threads[thread].claimed || self.jobs.get(self.rings[thread].awaited()).done {
            return self.resume_wait(thread, now);
        }
        self.running -= 1;
        self.threads[thread].state = State::Asleep;
        None
    }

    /// A thread that was parked in a wait, or about to, goes on: to help if it was claimed for that, else to wait.
    pub fn resume_wait(&mut self, thread: usize, now: Ns) -> Step {
        let awaited = self.rings[thread].awaited();
        if std::mem::take(&mut self.threads[thread].claimed) {
            // Whoever claimed it has counted it.
            self.threads[thread].state = self.scan(thread, FORCE_ROUND, awaited, Purpose::Help);
            return Some(now);
        }
        let now = self.end_parking(thread, now, 0);
        self.threads[thread].state = State::Wait(Wait::default());
        Some(now)
    }

    /// The thread is awake again, and no longer offers its help. It counts itself, unless somebody has claimed it, who has counted it as a
    /// searcher: then it hands the search on. `public`: how many forks are in sight.
    pub fn end_parking(&mut self, thread: usize, now: Ns, public: usize) -> Ns {
        let awaited = self.rings[thread].awaited();
        self.jobs.get_mut(awaited).awaited = false;
        if self.threads[thread].searching {
            self.threads[thread].claimed = false;
            return self.stop_searching(thread, now, public);
        }
        if std::mem::take(&mut self.threads[thread].helping) {
            self.sleepers.helpers -= 1;
        }
        self.count_awake(thread);
        self.change_word(now, thread)
    }

    fn count_asleep(&mut self, thread: usize) {
        if thread == GUEST {
            self.sleepers.guests -= 1;
        } else {
            self.sleepers.workers -= 1;
        }
    }

    fn sees_below(&self, below: JobId) -> bool {
        self.rings[..self.slots].iter().any(|ring| {
            let oldest = ring.oldest().filter(|_| !ring.is_empty());
            oldest.is_some_and(|fork| self.jobs.descends(fork.run, below))
        })
    }
}
