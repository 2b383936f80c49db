//! A thread that runs the program: it forks, takes forks back, and ends runs.

use super::jobs::ROOT;
use super::ring::Popped;
use super::tally::Tally;
use super::thread::{Run, State, Step, Wait};
use super::wake::Seeker;
use super::world::World;
use crate::workload::{Node, Ns, Parts};

/// What follows when a closure has returned.
pub enum Returned {
    /// The thread's next event is this.
    Next(Step),
    /// A worker has ended its outermost run, and is free.
    Free(Ns),
    /// The program has ended.
    Ended(Ns),
}

impl World {
    /// The guest begins the program.
    pub fn begin_program(&mut self, thread: usize, now: Ns, burst: usize) -> Step {
        self.begun = now;
        self.tally = Tally::default();
        self.set_busy(now, thread, true);
        self.threads[thread].runs.push(Run { job: ROOT, base: 0 });
        let root = self
            .setup
            .workload
            .root(self.setup.seed + 77 * burst as u64);
        if self.setup.in_scope {
            self.threads[thread].runs.clear();
            self.scope.begin();
        }
        self.threads[thread].state = State::Run(root);
        Some(now)
    }

    /// Forks down to a leaf, or until a request is due.
    pub fn run_subtree(&mut self, thread: usize, now: Ns, node: Node) -> Step {
        self.set_busy(now, thread, true);
        if self.setup.in_scope {
            return self.run_task(thread, now, node);
        }
        let (mut now, mut node) = (now, node);
        let run = self.innermost(thread);
        loop {
            match self.setup.workload.expand(node) {
                Parts::Leaf(time) => {
                    self.tally.work += time;
                    self.threads[thread].state = State::Return;
                    return Some(now + time);
                }
                Parts::Fork(first, second) => {
                    now += self.setup.costs.push;
                    node = first;
                    if self.rings[thread].push(second, run) {
                        self.threads[thread].state = State::Run(node);
                        return Some(self.answer_request(thread, now));
                    }
                }
            }
        }
    }

    /// Makes half of the private forks public, and wakes somebody for them if nobody searches.
    pub fn answer_request(&mut self, thread: usize, now: Ns) -> Ns {
        self.tally.answers += 1;
        let mut now = now + self.setup.costs.answer;
        if self.rings[thread].answer() {
            now = self.change_ring(now, thread, thread);
        }
        let public = self.rings[thread].public();
        let run = self.innermost(thread);
        self.recruit_for(thread, now, Seeker::Publisher(run), public)
    }

    /// A closure has returned: the run ends, or its newest fork is taken back or waited for.
    pub fn return_from(&mut self, thread: usize, now: Ns) -> Returned {
        let run = self.threads[thread].runs.last().copied();
        let run = run.expect("a thread that returns has a run");
        if self.rings[thread].depth() == run.base {
            return self.end_run(thread, now, run);
        }
        let costs = self.setup.costs;
        let now = now + costs.pop;
        match self.rings[thread].pop() {
            Popped::Private(node) => {
                self.threads[thread].state = State::Run(node);
                Returned::Next(Some(now))
            }
            Popped::TakenBack(node) => {
                self.threads[thread].state = State::Run(node);
                Returned::Next(Some(self.change_ring(now + costs.slow_pop, thread, thread)))
            }
            Popped::Stolen => {
                self.set_busy(now, thread, false);
                self.threads[thread].state = State::Wait(Wait::default());
                Returned::Next(Some(now + costs.slow_pop))
            }
        }
    }

    fn end_run(&mut self, thread: usize, now: Ns, run: Run) -> Returned {
        self.threads[thread].runs.pop();
        self.set_busy(now, thread, false);
        if run.job == ROOT {
            self.tally.span = now - self.begun;
            return Returned::Ended(now);
        }
        let mut now = now + self.setup.costs.dirty_cas;
        self.tally.transfers.rings += 1;
        let job = self.jobs.get_mut(run.job);
        job.done = true;
        let (awaited, owner) = (job.awaited, job.owner);
        if awaited {
            now = self.wake_waiter(now, owner);
        }
        if self.threads[thread].runs.is_empty() {
            return Returned::Free(now);
        }
        // It ran this while it waited for a fork of its own.
        self.threads[thread].state = State::Wait(Wait::default());
        Returned::Next(Some(now))
    }

    /// Wakes the owner of a finished fork. One that has not slept yet, or is being woken, sees that the fork is done.
    fn wake_waiter(&mut self, now: Ns, owner: usize) -> Ns {
        if matches!(self.threads[owner].state, State::Asleep) {
            return self.wake(now, owner);
        }
        self.tally.wakeups += 1;
        now + self.setup.costs.wake_call
    }
}
