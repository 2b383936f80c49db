//! What a free worker does: it searches, then parks.

use super::jobs::ROOT;
use super::steal::{FIRST_PAUSE, FORCE_ROUND};
use super::thread::{Announced, Purpose, Search, State, Step, Then};
use super::world::World;
use crate::workload::Ns;

/// How long a worker that found nothing keeps looking before it parks. A copy of `SEARCH_TIME` in `src/pool/backoff.rs` of heist: change both.
const SEARCH_TIME: Ns = 50_000;

/// How long a worker that found nothing searches while another one does. A copy of `BRIEF_TIME` there.
const BRIEF_TIME: Ns = 1_000;

/// What lies between two looks: the own queues, the inbox, the counts.
const OWN_QUEUES: Ns = 40;

impl World {
    /// A worker is free: a first look, not counted as a search.
    pub fn next_work(&mut self, thread: usize, now: Ns) -> Step {
        if self.sleepers.overcommitted() {
            let now = self.begin_search(thread, now);
            return self.park_free(thread, now);
        }
        let search = Search {
            others: 0,
            since: now,
        };
        self.threads[thread].state = self.scan(thread, 0, ROOT, Purpose::Free(search));
        Some(now + OWN_QUEUES)
    }

    /// The rings had nothing: the deques, then a pause and the next round, or the thread parks.
    pub fn end_round(&mut self, thread: usize, now: Ns, search: Search, round: u32) -> Step {
        let now = now + OWN_QUEUES + self.deques_cost();
        if self.sleepers.overcommitted() {
            let now = self.begin_search(thread, now);
            return self.park_free(thread, now);
        }
        if round > 0 && self.setup.policy.by_clock {
            let now = now + (FIRST_PAUSE << (round - 1).min(5));
            let time = match search.others {
                0 => SEARCH_TIME.max(2 * self.patience()),
                _ => BRIEF_TIME,
            };
            if now >= search.since + time {
                return self.park_free(thread, now);
            }
            return self.look_again(thread, now, search, round + 1);
        }
        if round == 0 {
            let now = self.begin_search(thread, now);
            let others = self.sleepers.searching - 1;
            let most = (self.sleepers.awake() / 2).max(1);
            if self.setup.policy.caps_searchers && others >= most {
                return self.park_free(thread, now);
            }
            return self.look_again(thread, now, Search { others, since: now }, 1);
        }
        if search.others > 0 && round > FORCE_ROUND {
            return self.park_free(thread, now);
        }
        let now = now + (self.setup.costs.spin_hint << round.min(5));
        let round = round + 1;
        if round > FORCE_ROUND && now > search.since + SEARCH_TIME {
            return self.park_free(thread, now);
        }
        self.look_again(thread, now, search, round)
    }

    fn look_again(&mut self, thread: usize, now: Ns, search: Search, round: u32) -> Step {
        self.threads[thread].state = self.scan(thread, round, ROOT, Purpose::Free(search));
        Some(now)
    }

    fn begin_search(&mut self, thread: usize, now: Ns) -> Ns {
        if std::mem::replace(&mut self.threads[thread].searching, true) {
            return now;
        }
        self.sleepers.searching += 1;
        self.change_word(now, thread)
    }

    /// A look at the two deques of each slot, which are empty in a fork-join program.
    fn deques_cost(&self) -> Ns {
        let (costs, slots) = (&self.setup.costs, self.slots as Ns);
        if self.setup.policy.skips_parked {
            // Charged for each slot that a search does not skip.
            return 0;
        }
        if self.setup.policy.checks_deques {
            return 2 * slots * costs.clean_line;
        }
        let pins = 2 * slots;
        // Each 128th pin looks at every participating thread, and of the others each pays its share here.
        pins * costs.pin + pins * slots * costs.advance_per_thread / 128
    }

    /// Goes on the idle list. The last searcher looks once more if there is room for it.
    pub fn park_free(&mut self, thread: usize, now: Ns) -> Step {
        let now = self.lock_idle(now, thread, false);
        let mut now = self.change_word(now, thread);
        self.sleepers.park(thread);
        self.threads[thread].searching = false;
        if self.sleepers.searching > 0 || !self.sleepers.has_room() {
            return self.sleep_free(thread, now);
        }
        let (cost, is_new) = self.request_all(now);
        now += cost;
        let seen = self.announced();
        let policy = &self.setup.policy;
        if policy.looks_first && self.sees_work() {
            let now = now + self.look_cost();
            return self.unpark(thread, now);
        }
        if policy.remembers && !is_new && self.ordered == Some(seen) {
            self.tally.spared += 1;
            return self.look_last(thread, now);
        }
        self.announced_all(thread, now, Then::ParkFree(seen))
    }

    /// The heavy barrier of a parking worker has ended.
    pub fn end_free_barrier(&mut self, thread: usize, now: Ns, seen: Announced) -> Step {
        self.ordered = Some(seen);
        self.look_last(thread, now)
    }

    fn look_last(&mut self, thread: usize, now: Ns) -> Step {
        let now = now + self.look_cost();
        if std::mem::take(&mut self.threads[thread].claimed) {
            return self.wake_free(thread, now);
        }
        if self.sees_work() && self.sleepers.wants(&self.setup.policy) {
            return self.unpark(thread, now);
        }
        self.sleep_free(thread, now)
    }

    fn sleep_free(&mut self, thread: usize, now: Ns) -> Step {
        // Nobody waits for the rest of what the thread does before it sleeps.
        self.set_active(now, thread, false);
        self.tally.parks += 1;
        self.running -= 1;
        self.threads[thread].state = State::Asleep;
        None
    }

    /// Leaves the idle list by itself.
    fn unpark(&mut self, thread: usize, now: Ns) -> Step {
        let now = self.lock_idle(now, thread, true);
        self.sleepers.unpark(thread);
        self.threads[thread].searching = true;
        self.next_work(thread, now)
    }

    /// A claimed worker, which counts as searching, begins to look.
    pub fn wake_free(&mut self, thread: usize, now: Ns) -> Step {
        // It takes the lock to find that it is on no list any more.
        let now = self.set_active(now, thread, true);
        let now = self.lock_idle(now, thread, true);
        self.next_work(thread, now)
    }
}
