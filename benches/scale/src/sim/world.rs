//! The simulated machine: threads, rings, lines, time. The other files say what threads do with it.

use super::costs::Costs;
use super::jobs::{JobId, Jobs, ROOT};
use super::kernel::Kernel;
use super::lines::{Changed, Line};
use super::policy::Policy;
use super::ring::Ring;
use super::sleepers::{Scope, Sleepers};
use super::tally::Tally;
use super::thread::{Announced, GUEST, Order, Purpose, Scan, State, Step, Then, Thread};
use crate::workload::{Ns, Workload};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// What is to be simulated.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The number of workers. One more thread, a guest, runs the program, as it does in `ThreadPool::install`.
    pub threads: usize,
    /// How many spares may be started.
    pub spares: usize,
    /// The program.
    pub workload: Workload,
    /// How often it runs.
    pub bursts: usize,
    /// The serial time before each run but the first.
    pub gap: Ns,
    /// What operations cost.
    pub costs: Costs,
    /// Each node of the tree is a task of one scope, in place of a fork.
    pub in_scope: bool,
    /// What the scheduler does.
    pub policy: Policy,
    /// All random numbers follow from it.
    pub seed: u64,
}

/// The number of slots in a word of the set of active ones.
pub const BITS: usize = 64;

/// The simulated machine. See the module.
pub struct World {
    /// What is simulated.
    pub setup: Setup,
    /// The threads: the guest, the workers, the spares.
    pub threads: Vec<Thread>,
    /// Their rings.
    pub rings: Vec<Ring>,
    /// Stolen forks.
    pub jobs: Jobs,
    /// The sleep word and the idle list.
    pub sleepers: Sleepers,
    /// The queue of membarriers.
    pub kernel: Kernel,
    /// Threads that are forcing.
    pub forcing: usize,
    /// Threads that are not parked.
    pub running: usize,
    /// How many rings there are to look at: a spare's counts once it was started.
    pub slots: usize,
    /// The counts of the current run.
    pub tally: Tally,
    /// When the current run began.
    pub begun: Ns,
    busy: usize,
    word: Line,
    lock: Line,
    /// The version of each ring when each thread last looked.
    seen: Vec<u32>,
    /// Whether searches look at each slot.
    active: Vec<bool>,
    /// The words of that set, and how often each has changed.
    active_words: Vec<(Line, u32)>,
    /// How often each word had changed when each thread last looked.
    seen_words: Vec<u32>,
    /// What the last parker with a heavy barrier has seen: the number of slots, and of answers.
    pub ordered: Option<Announced>,
    /// The scope, if the program is one.
    pub scope: Scope,
    queue: BinaryHeap<Reverse<(Ns, u64, usize)>>,
    events: u64,
}

impl World {
    /// All workers are parked; the guest is about to run the program.
    pub fn new(setup: Setup) -> Self {
        let places = 1 + setup.threads + setup.spares;
        let words = places.div_ceil(BITS);
        let thread = |index: usize| Thread::asleep(setup.seed * 7919 + index as u64);
        let mut world = World {
            threads: (0..places).map(thread).collect(),
            rings: vec![Ring::new(); places],
            jobs: Jobs::default(),
            sleepers: Sleepers::new(setup.threads, setup.spares),
            kernel: Kernel::new(),
            forcing: 0,
            running: 1,
            slots: 1 + setup.threads,
            tally: Tally::default(),
            begun: 0,
            busy: 0,
            word: Line::new(),
            lock: Line::new(),
            seen: vec![u32::MAX; places * places],
            active: vec![!setup.policy.skips_parked; places],
            active_words: vec![(Line::new(), 0); words],
            seen_words: vec![u32::MAX; places * words],
            ordered: None,
            scope: Scope::new(),
            queue: BinaryHeap::new(),
            events: 0,
            setup,
        };
        world.active[GUEST] = true;
        world
    }

    // ---- time ----

    /// The thread's next event comes at `at`.
    pub fn schedule(&mut self, at: Ns, thread: usize) {
        self.events += 1;
        self.queue.push(Reverse((at, self.events, thread)));
    }

    /// The next event: when, and whose.
    pub fn next_event(&mut self) -> Option<(Ns, usize)> {
        self.queue
            .pop()
            .map(|Reverse((at, _, thread))| (at, thread))
    }

    /// Whether another event comes before `at`.
    pub fn is_overtaken(&self, at: Ns) -> bool {
        matches!(self.queue.peek(), Some(Reverse((next, ..))) if *next < at)
    }

    /// The thread begins or ends to do useful work.
    pub fn set_busy(&mut self, now: Ns, thread: usize, is_busy: bool) {
        if std::mem::replace(&mut self.threads[thread].is_busy, is_busy) == is_busy {
            return;
        }
        if !is_busy {
            self.busy -= 1;
            return;
        }
        self.busy += 1;
        let since = now.saturating_sub(self.begun);
        if 2 * self.busy >= self.setup.threads {
            self.tally.half_busy.get_or_insert(since);
        }
        if 10 * self.busy >= 9 * self.setup.threads {
            self.tally.most_busy.get_or_insert(since);
        }
    }

    // ---- lines ----

    /// The socket of a thread's core. Machines of 64 cores and more have two.
    pub fn socket(&self, thread: usize) -> usize {
        let (threads, sockets) = (
            self.setup.threads,
            if self.setup.threads >= 64 { 2 } else { 1 },
        );
        let core = thread.saturating_sub(1) % threads;
        core * sockets / threads
    }

    /// A look at a ring: cheap unless it has changed since the thread's last look.
    pub fn probe(&mut self, thread: usize, victim: usize) -> Ns {
        self.tally.probes += 1;
        let version = self.rings[victim].version;
        let seen = &mut self.seen[thread * self.rings.len() + victim];
        if std::mem::replace(seen, version) == version {
            return self.setup.costs.clean_line;
        }
        self.tally.transfers.probes += 1;
        if self.socket(thread) == self.socket(victim) {
            self.setup.costs.dirty_line
        } else {
            self.setup.costs.remote_line
        }
    }

    /// A read-modify-write of the sleep word.
    pub fn change_word(&mut self, now: Ns, thread: usize) -> Ns {
        let changed = self.word.change(&self.setup.costs, now, thread, false);
        self.tally.transfers.word += u64::from(changed.moved);
        self.note_wait(&changed)
    }

    /// A look at the word that says whether a slot is active. Returns whether it is, and what the look costs.
    pub fn is_active(&mut self, thread: usize, slot: usize, is_new_word: bool) -> (bool, Ns) {
        if !self.setup.policy.skips_parked {
            return (true, 0);
        }
        let mut cost = 0;
        if is_new_word {
            let version = self.active_words[slot / BITS].1;
            let seen = &mut self.seen_words[thread * self.active_words.len() + slot / BITS];
            let is_clean = std::mem::replace(seen, version) == version;
            self.tally.transfers.active += u64::from(!is_clean);
            cost = if is_clean {
                self.setup.costs.clean_line
            } else {
                self.setup.costs.dirty_line
            };
        }
        (self.active[slot], cost)
    }

    /// Lets searches look at a thread's slot or skip it.
    pub fn set_active(&mut self, now: Ns, thread: usize, is_active: bool) -> Ns {
        if !self.setup.policy.skips_parked {
            return now;
        }
        self.active[thread] = is_active;
        let (line, version) = &mut self.active_words[thread / BITS];
        *version = version.wrapping_add(1);
        let changed = line.change(&self.setup.costs, now, thread, false);
        self.tally.transfers.active += u64::from(changed.moved);
        self.note_wait(&changed)
    }

    /// A change of the idle list, in which the thread looks for itself first if it `searches`.
    pub fn lock_idle(&mut self, now: Ns, thread: usize, searches: bool) -> Ns {
        let search = self.sleepers.parked() as Ns / 3;
        let time = self.setup.costs.lock + if searches { search } else { 0 };
        let changed = self.lock.hold(now, thread, time);
        self.tally.transfers.lock += u64::from(changed.moved);
        self.note_wait(&changed)
    }

    /// A read-modify-write of a ring's `top` and `split`.
    pub fn change_ring(&mut self, now: Ns, thread: usize, ring: usize) -> Ns {
        let remote = self.socket(thread) != self.socket(ring);
        let line = &mut self.rings[ring].line;
        let changed = line.change(&self.setup.costs, now, thread, remote);
        self.tally.transfers.rings += u64::from(changed.moved);
        self.note_wait(&changed)
    }

    fn note_wait(&mut self, changed: &Changed) -> Ns {
        self.tally.transfers.waited += changed.waited;
        changed.at
    }

    /// The thread enters a membarrier. Returns when that ends.
    pub fn enter_barrier(&mut self, thread: usize, now: Ns, then: Then) -> Step {
        self.threads[thread].state = State::Barrier(then);
        Some(self.membarrier(now, thread))
    }

    /// A membarrier. Each running thread is interrupted.
    pub fn membarrier(&mut self, now: Ns, thread: usize) -> Ns {
        let (costs, shares) = (&self.setup.costs, self.setup.policy.shares_barriers);
        let others = self.running.saturating_sub(1) as u64;
        let barrier = self.kernel.membarrier(costs, now, others, shares);
        if barrier.is_own {
            self.tally.membarriers += 1;
            let interrupt = costs.interrupt;
            for (index, other) in self.threads[..self.slots].iter_mut().enumerate() {
                if index != thread && !matches!(other.state, State::Asleep) {
                    other.delay += interrupt;
                }
            }
        }
        barrier.end
    }

    // ---- looks ----

    /// A new look at all rings.
    pub fn scan(&mut self, thread: usize, round: u32, below: JobId, purpose: Purpose) -> State {
        let random = &mut self.threads[thread].random;
        State::Scan(Scan {
            order: Order::new(random, self.slots, self.setup.policy.jumps),
            round,
            below,
            purpose,
            word: usize::MAX,
        })
    }

    /// The innermost run of a thread.
    pub fn innermost(&self, thread: usize) -> JobId {
        self.threads[thread].runs.last().map_or(ROOT, |run| run.job)
    }

    /// Whether any ring has something to steal.
    pub fn sees_work(&self) -> bool {
        self.rings[..self.slots]
            .iter()
            .any(|ring| !ring.is_empty() || !ring.tasks.is_empty())
    }

    /// What it costs to look until one ring has something to steal, among rings that owners keep writing.
    pub fn sees_more(&mut self, thread: usize) -> (bool, Ns) {
        let first = self.threads[thread].random.below(self.slots);
        let slots = (first..self.slots).chain(0..first);
        let mut cost = 0;
        for slot in slots.filter(|&slot| slot != thread && self.active[slot]) {
            cost += self.setup.costs.dirty_line;
            if !self.rings[slot].is_empty() || !self.rings[slot].tasks.is_empty() {
                return (true, cost);
            }
        }
        (false, cost)
    }

    /// A look at all rings without taking anything: only the owners that run have written theirs.
    pub fn look_cost(&self) -> Ns {
        let costs = &self.setup.costs;
        let running = self.running.min(self.slots) as Ns;
        self.slots as Ns * 3 * costs.clean_line + running * (costs.dirty_line - costs.clean_line)
    }

    /// Asks each ring's owner to look up. Returns what that costs, and whether a ring had no request yet.
    pub fn request_all(&mut self, now: Ns) -> (Ns, bool) {
        let costs = self.setup.costs;
        let rings = self.rings[..self.slots].iter_mut();
        rings.fold((0, false), |(cost, any), ring| match ring.request(now) {
            true => (cost + costs.dirty_line, true),
            false => (cost + costs.clean_line, any),
        })
    }

    /// What a thread sees that has asked all rings.
    pub fn announced(&self) -> Announced {
        let answers = self.rings[..self.slots].iter().map(|ring| ring.answers);
        (self.slots, answers.sum())
    }
}
