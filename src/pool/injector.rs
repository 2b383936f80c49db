//! The injector: the pool's queues of detached tasks, one for each priority, and those of its streams.

use super::config::Priority;
use super::queue::Injector;
use super::shards::{STAY, Shards};
use super::streams::Streams;
use crate::counters::Count;
use crate::job::Task;
use crate::sleep::Sleep;

/// The queues of each priority, one for woken futures, and the streams, which have normal priority.
pub(crate) struct PriorityQueues {
    high: Injector,
    normal: Shards<Injector>,
    low: Injector,
    /// The woken futures of normal priority that are in no queue of one of the pool's threads. They have their turn beside the normal tasks.
    woken: Injector,
    pub(super) streams: Streams,
    tombstones: Tombstones,
}

/// The approximate number of tombstones that queues have received since they were swept.
#[derive(Default)]
pub(super) struct Tombstones(Count);

/// Queues are swept when they hold at least this many tombstones and half of their entries are tombstones.
const QUEUES_SWEEP_LEAST: u64 = 64;

impl Tombstones {
    /// Counts `blocks` more among `entries`. Returns whether to sweep.
    pub(super) fn add(&self, blocks: u64, entries: usize) -> bool {
        self.0.add_shared(blocks);
        let tombstones = self.0.get();
        let due = tombstones >= QUEUES_SWEEP_LEAST && 2 * tombstones >= entries as u64;
        if due {
            self.0.set(0);
        }
        due
    }
}

/// Takes the entries out of a queue, and gives `keep` those that are no tombstones. While an entry is examined, it is in no queue.
pub(super) fn sweep(queue: &Injector, is_tombstone: impl Fn(&Task) -> bool, keep: impl Fn(Task)) {
    for _ in 0..queue.len() {
        let Some(task) = queue.steal() else { break };
        if !is_tombstone(&task) {
            keep(task);
        }
    }
}

/// Once in this many searches a worker starts with one of the other queues or with the streams, which take turns, so that neither its own full
/// deque nor a flood of high-priority tasks starves them.
const FAIR_INTERVAL: u32 = 32;

/// Whether the scope tasks that are in no deque have their turn in this search.
#[inline]
pub(super) fn is_turn_of_scopes(turn: u32) -> bool {
    turn % FAIR_INTERVAL == FAIR_INTERVAL / 2
}

/// The number of those that take turns.
const TURNS: u32 = 4;

impl PriorityQueues {
    /// Makes the queues of a pool of so many threads.
    pub(super) fn new(threads: usize) -> Self {
        PriorityQueues {
            high: Injector::new(),
            normal: Shards::new(threads, Injector::new),
            low: Injector::new(),
            woken: Injector::new(),
            streams: Streams::default(),
            tombstones: Tombstones::default(),
        }
    }

    fn all(&self) -> impl Iterator<Item = &Injector> {
        let single = [&self.high, &self.low, &self.woken];
        self.normal.iter().chain(single)
    }

    /// Counts `blocks` more tombstones. Returns whether a [`sweep`](Self::sweep) is worthwhile.
    pub(super) fn add_tombstones(&self, blocks: u64) -> bool {
        self.tombstones.add(blocks, self.len())
    }

    /// Removes the tombstones and keeps the order of the other tasks. While a task is examined, it is in no queue.
    pub(super) fn sweep(&self, is_tombstone: impl Fn(&Task) -> bool) {
        for queue in self.all() {
            sweep(queue, &is_tombstone, |task| queue.push(task));
        }
    }

    pub(super) fn push(&self, task: Task, priority: Priority) {
        let queue = match priority {
            Priority::High => &self.high,
            Priority::Normal => self.normal.own(),
            Priority::Low => &self.low,
        };
        queue.push(task);
    }

    pub(super) fn push_woken(&self, future: Task) {
        self.woken.push(future);
    }

    pub(super) fn steal_woken(&self) -> Option<Task> {
        self.woken.steal()
    }

    /// Takes what comes before a worker's own tasks in its search number `turn`: a task of high priority, or one of another queue
    /// if that has its turn.
    #[inline]
    pub(super) fn steal_first(&self, turn: u32, sleep: &Sleep) -> Option<Task> {
        let may_have_some = turn.is_multiple_of(FAIR_INTERVAL) || !self.high.is_empty();
        may_have_some
            .then(|| self.find_first(turn, sleep))
            .flatten()
    }

    /// Whether [`steal_first`](Self::steal_first) might find something in this search.
    #[inline]
    pub(super) fn may_offer_first(&self, turn: u32, sleep: &Sleep) -> bool {
        !self.high.is_empty() || (turn.is_multiple_of(FAIR_INTERVAL) && !self.offers_none(sleep))
    }

    #[cold]
    fn find_first(&self, turn: u32, sleep: &Sleep) -> Option<Task> {
        let is_fair = turn.is_multiple_of(FAIR_INTERVAL);
        let fair = || match turn / FAIR_INTERVAL % TURNS {
            0 => self.normal.steal(turn / (FAIR_INTERVAL * TURNS)),
            1 => self.steal_woken(),
            2 => self.steal_last(),
            _ => self.streams.take(turn / (FAIR_INTERVAL * TURNS), sleep),
        };
        let first = is_fair.then(fair).flatten();
        first.or_else(|| self.high.steal())
    }

    /// Takes what comes before the detached tasks of other workers, in search number `turn`.
    pub(super) fn steal_next(&self, turn: u32, sleep: &Sleep) -> Option<Task> {
        let high = self.high.steal();
        let (normal, woken) = (|| self.normal.steal(turn / STAY), || self.steal_woken());
        let item = || self.streams.take(turn / 3, sleep);
        match turn % 3 {
            0 => high.or_else(normal).or_else(woken).or_else(item),
            1 => high.or_else(woken).or_else(item).or_else(normal),
            _ => high.or_else(item).or_else(normal).or_else(woken),
        }
    }

    /// Takes what comes after everything else.
    pub(super) fn steal_last(&self) -> Option<Task> {
        self.low.steal()
    }

    /// Takes anything.
    pub(super) fn steal(&self) -> Option<Task> {
        self.high
            .steal()
            .or_else(|| self.normal.steal(0))
            .or_else(|| self.steal_woken())
            .or_else(|| self.streams.take_any())
            .or_else(|| self.steal_last())
    }

    /// Whether there are woken futures, or tasks of high priority.
    pub(super) fn has_urgent(&self) -> bool {
        !self.woken.is_empty() || !self.high.is_empty()
    }

    /// The number of tasks and tombstones.
    pub(crate) fn len(&self) -> usize {
        self.all().map(Injector::len).sum::<usize>() + self.streams.len()
    }

    /// The lengths of the queues of low, normal and high priority and of the queue of woken futures, and that of the streams unless another thread
    /// holds a lock. Takes no lock that another thread holds.
    pub(crate) fn lens(&self) -> ([usize; 4], Option<usize>) {
        let normal = self.normal.iter().map(Injector::len).sum();
        let lens = [self.low.len(), normal, self.high.len(), self.woken.len()];
        (lens, self.streams.try_len())
    }

    /// Whether there is nothing that a worker would take.
    pub(crate) fn offers_none(&self, sleep: &Sleep) -> bool {
        self.all().all(Injector::is_empty) && self.streams.offers_none(sleep)
    }
}
