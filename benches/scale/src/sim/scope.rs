//! A scope whose tasks spawn two tasks each, down to the leaves: each thread has a deque of tasks, and all count them in one word.

use super::steal::FIRST_PAUSE;
use super::thread::{GUEST, State, Step, Wait};
use super::world::World;
use crate::workload::{Node, Ns, Parts};

/// What a spawn costs beside the count: the task's block and the deque.
const SPAWN: Ns = 10;

/// From which round on the owner looks at the deques of others.
const WIDE_ROUND: u32 = 4;

/// How long the owner spins before it parks.
const WAIT_TIME: Ns = 20_000;

/// What a thread does that has ended a task.
pub enum Next {
    /// The thread goes on with this step.
    Step(Step),
    /// The thread is a worker that has nothing left to run, from this time on.
    Free(Ns),
}

impl World {
    /// The thread counts a spawn or an end.
    fn count_task(&mut self, now: Ns, thread: usize) -> Ns {
        if thread == GUEST {
            return now;
        }
        if self.setup.policy.counts_apart {
            return now + self.setup.costs.own_cas;
        }
        self.change_scope(now, thread)
    }

    fn change_scope(&mut self, now: Ns, thread: usize) -> Ns {
        let costs = self.setup.costs;
        let remote = self.socket(thread) != self.socket(GUEST);
        let changed = self.scope.line.change(&costs, now, thread, remote);
        self.tally.transfers.scope += u64::from(changed.moved);
        self.tally.transfers.waited += changed.waited;
        changed.at
    }

    /// Runs a task: a leaf, or the spawns of two tasks.
    pub fn run_task(&mut self, thread: usize, now: Ns, node: Node) -> Step {
        self.threads[thread].state = State::TaskEnd;
        let (first, second) = match self.setup.workload.expand(node) {
            Parts::Leaf(time) => {
                self.tally.work += time;
                return Some(now + time);
            }
            Parts::Fork(first, second) => (first, second),
        };
        let mut now = now;
        for node in [second, first] {
            now = self.count_task(now + SPAWN, thread);
            self.scope.left += 1;
            let ring = &mut self.rings[thread];
            ring.tasks.push_back(node);
            ring.version = ring.version.wrapping_add(1);
            if ring.requested_at().is_some() {
                now = self.answer_request(thread, now);
            }
        }
        Some(now)
    }

    /// A task has ended. The thread takes its newest one next.
    pub fn end_task(&mut self, thread: usize, now: Ns) -> Next {
        let mut now = self.count_task(now, thread);
        self.scope.left -= 1;
        let next = self.rings[thread].tasks.pop_back();
        if next.is_none() && thread != GUEST && self.setup.policy.counts_apart {
            // The count of the thread is empty.
            now = self.change_scope(now, thread);
        }
        if self.scope.left == 0 && std::mem::take(&mut self.scope.is_parked) {
            now = self.wake(now, GUEST);
        }
        match next {
            Some(node) => {
                self.threads[thread].state = State::Run(node);
                Next::Step(Some(now + self.setup.costs.pop))
            }
            None => {
                self.set_busy(now, thread, false);
                if thread == GUEST {
                    self.threads[thread].state = State::ScopeWait(Wait::default());
                    return Next::Step(Some(now));
                }
                Next::Free(now)
            }
        }
    }

    /// Takes the oldest task of `victim`, and begins it. Returns whether there is one.
    pub fn begin_task(&mut self, thread: usize, victim: usize, now: &mut Ns) -> bool {
        let Some(node) = self.rings[victim].tasks.pop_front() else {
            return false;
        };
        self.rings[victim].version = self.rings[victim].version.wrapping_add(1);
        *now = self.change_ring(*now, thread, victim);
        *now += self.setup.costs.dirty_cas;
        if thread != GUEST && self.setup.policy.counts_apart {
            *now = self.change_scope(*now, thread);
        }
        self.tally.steals += 1;
        self.threads[thread].state = State::Run(node);
        true
    }

    /// One round of the owner's wait. `None`: the scope has ended.
    pub fn wait_for_scope(&mut self, thread: usize, now: Ns, wait: Wait) -> Option<Step> {
        if self.scope.left == 0 {
            self.tally.span = now - self.begun;
            return None;
        }
        let mut now = now + self.setup.costs.clean_line;
        if wait.round >= WIDE_ROUND && self.look_for_task(thread, &mut now) {
            return Some(Some(now));
        }
        now += FIRST_PAUSE << wait.round.min(5);
        let mut wait = Wait {
            round: wait.round + 1,
            ..wait
        };
        if now < *wait.since.get_or_insert(now) + WAIT_TIME {
            self.threads[thread].state = State::ScopeWait(wait);
            return Some(Some(now));
        }
        now = self.change_word(now, thread);
        now += self.request_all(now).0;
        self.tally.announcements += 1;
        now = self.membarrier(now, thread);
        if self.look_for_task(thread, &mut now) {
            return Some(Some(self.change_word(now, thread)));
        }
        self.tally.bound_parks += 1;
        self.sleepers.guests -= 1;
        self.running -= 1;
        self.scope.is_parked = true;
        self.threads[thread].state = State::Asleep;
        Some(None)
    }

    /// The owner takes the first task that it finds.
    fn look_for_task(&mut self, thread: usize, now: &mut Ns) -> bool {
        for victim in 0..self.slots {
            *now += self.setup.costs.clean_line;
            if victim != thread && self.begin_task(thread, victim, now) {
                return true;
            }
        }
        false
    }

    /// The owner was woken, since all tasks have ended.
    pub fn resume_scope(&mut self, now: Ns) -> Step {
        self.count_awake(GUEST);
        self.threads[GUEST].state = State::ScopeWait(Wait::default());
        Some(self.change_word(now, GUEST))
    }
}
