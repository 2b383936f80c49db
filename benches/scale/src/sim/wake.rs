//! Who gets a thread for what was published: heist's `notify`.

use super::jobs::JobId;
use super::sleepers::Claimed;
use super::thread::{GUEST, State};
use super::world::World;
use crate::workload::Ns;

/// For whom a thread is wanted.
#[derive(Clone, Copy, Debug)]
pub enum Seeker {
    /// The owner of a ring, which has made forks public in this run.
    Publisher(JobId),
    /// A searcher that has found something, or a thread that has looked before it parked.
    Searcher,
}

impl World {
    /// Wakes one thread if one is wanted. Returns when the caller is done, if it did.
    pub fn recruit(&mut self, thread: usize, now: Ns, seeker: Seeker) -> Option<Ns> {
        if !self.sleepers.wants(&self.setup.policy) {
            return None;
        }
        let mut now = self.lock_idle(now, thread, false);
        if self.sleepers.prefers_helpers() {
            let helper = match seeker {
                Seeker::Publisher(run) => self.helper_above(run),
                Seeker::Searcher => {
                    now += self.look_cost();
                    let helper = self.visible_helper();
                    if helper.is_none() {
                        // What a helper may run could be in a private part: all rings are asked, and looked at behind a barrier.
                        self.tally.announcements += 1;
                        now += self.request_all(now).0;
                        now = self.membarrier(now, thread);
                    }
                    helper
                }
            };
            if let Some(helper) = helper {
                return Some(self.wake_helper(now, helper));
            }
        }
        now = self.change_word(now, thread);
        match self.sleepers.claim()? {
            Claimed::Parked(other) => {
                self.threads[other].searching = true;
                Some(self.wake(now, other))
            }
            Claimed::New => Some(self.start_spare(now)),
        }
    }

    /// Wakes up to one thread, or two if there is work for both.
    pub fn recruit_for(&mut self, thread: usize, now: Ns, seeker: Seeker, public: usize) -> Ns {
        let most = if self.setup.policy.wakes_pairs { 2 } else { 1 };
        let mut now = now;
        for count in 0..most {
            if count > 0 && public <= count {
                break;
            }
            match self.recruit(thread, now, seeker) {
                Some(later) => now = later,
                None => break,
            }
        }
        now
    }

    /// A searcher has something to do. Another one is woken if one is wanted; two if `public` further forks are in sight.
    pub fn stop_searching(&mut self, thread: usize, now: Ns, public: usize) -> Ns {
        if !std::mem::take(&mut self.threads[thread].searching) {
            return now;
        }
        self.sleepers.searching -= 1;
        let now = self.change_word(now, thread);
        self.recruit_for(thread, now, Seeker::Searcher, public)
    }

    /// A free worker has ended its search by finding something. A second worker is woken if few threads search and there is more.
    pub fn spread(&mut self, thread: usize, now: Ns) -> Ns {
        let most = if self.setup.policy.spreads_twice {
            2
        } else {
            1
        };
        (0..most).fold(now, |now, _| self.spread_once(thread, now))
    }

    fn spread_once(&mut self, thread: usize, now: Ns) -> Ns {
        if !self.setup.policy.spreads || !self.sleepers.may_spread() {
            return now;
        }
        let (sees_more, cost) = self.sees_more(thread);
        let now = now + cost;
        if !sees_more {
            return now;
        }
        let now = self.lock_idle(now, thread, false);
        let now = self.change_word(now, thread);
        match self.sleepers.claim() {
            Some(Claimed::Parked(other)) => {
                self.threads[other].searching = true;
                self.wake(now, other)
            }
            Some(Claimed::New) => self.start_spare(now),
            None => now,
        }
    }

    /// Wakes a parked thread. One that has not slept yet finds that it was claimed.
    pub fn wake(&mut self, now: Ns, thread: usize) -> Ns {
        self.tally.wakeups += 1;
        if matches!(self.threads[thread].state, State::Asleep) {
            self.threads[thread].state = State::Woken;
            self.schedule(now + self.setup.costs.wake_latency, thread);
        } else {
            self.threads[thread].claimed = true;
        }
        now + self.setup.costs.wake_call
    }

    fn start_spare(&mut self, now: Ns) -> Ns {
        self.tally.wakeups += 1;
        let thread = self.slots;
        self.slots += 1;
        self.threads[thread].searching = true;
        self.threads[thread].state = State::Woken;
        self.set_active(now, thread, true);
        self.schedule(now + self.setup.costs.start_latency, thread);
        now + 2 * self.setup.costs.wake_call
    }

    fn wake_helper(&mut self, now: Ns, helper: usize) -> Ns {
        let thread = &mut self.threads[helper];
        thread.helping = false;
        thread.searching = true;
        thread.claimed = true;
        self.sleepers.helpers -= 1;
        self.sleepers.searching += 1;
        self.count_awake(helper);
        self.wake(now, helper)
    }

    /// A thread parked in a wait counts as awake again.
    pub fn count_awake(&mut self, thread: usize) {
        if thread == GUEST {
            self.sleepers.guests += 1;
        } else {
            self.sleepers.workers += 1;
        }
    }

    /// A parked thread that may run what is forked in this run.
    fn helper_above(&self, run: JobId) -> Option<usize> {
        self.jobs
            .ancestors(run)
            .map(|job| (job, self.jobs.get(job).owner))
            .find(|&(job, owner)| self.threads[owner].helping && self.rings[owner].awaited() == job)
            .map(|(_, owner)| owner)
    }

    /// A parked thread that may run the oldest fork of some ring.
    fn visible_helper(&self) -> Option<usize> {
        self.rings[..self.slots]
            .iter()
            .filter(|ring| !ring.is_empty())
            .find_map(|ring| self.helper_above(ring.oldest()?.run))
    }
}
