//! The pool's queues of detached tasks, one for each priority.

use super::queue::Injector;
use crate::counters::Count;
use crate::job::Task;

/// Which of the waiting tasks come first. It says nothing about tasks that run.
///
/// A worker takes high tasks first, then its own and the other normal ones, then low ones. Of its first 128 tasks, and so on, one is low
/// and one comes from the queue of normal ones, if there are any: nothing waits for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// Last.
    Low,
    /// Between the two.
    #[default]
    Normal,
    /// First.
    High,
}

/// First in, first out, each.
pub(crate) struct Lanes {
    high: Injector,
    normal: Injector,
    low: Injector,
    /// Tasks that were ended elsewhere since the last sweep, whose blocks may lie here. About.
    dead: Count,
}

/// From how many dead blocks on the lanes are swept, if they make up half of what is there.
const SWEEP_LEAST: u64 = 64;

/// Every so many tasks a worker looks at the normal lane first, and in between at the low one, so that neither its own full
/// deque nor a stream of high tasks starves them.
const TURNS: u32 = 128;

impl Lanes {
    pub(super) fn new() -> Self {
        Lanes {
            high: Injector::new(),
            normal: Injector::new(),
            low: Injector::new(),
            dead: Count::default(),
        }
    }

    /// So many more blocks in here may be dead. True: it is worth a [`sweep`](Self::sweep).
    pub(super) fn bury(&self, blocks: u64) -> bool {
        self.dead.add_shared(blocks);
        let dead = self.dead.get();
        let due = dead >= SWEEP_LEAST && 2 * dead >= self.len() as u64;
        if due {
            self.dead.set(0);
        }
        due
    }

    /// Takes out what needs nothing any more; the rest stays in its order. In between it is in no queue.
    pub(super) fn sweep(&self, is_dead: impl Fn(&Task) -> bool) {
        for lane in [&self.high, &self.normal, &self.low] {
            for _ in 0..lane.len() {
                let Some(task) = lane.steal() else { break };
                if !is_dead(&task) {
                    lane.push(task);
                }
            }
        }
    }

    pub(super) fn push(&self, task: Task, priority: Priority) {
        match priority {
            Priority::High => self.high.push(task),
            Priority::Normal => self.normal.push(task),
            Priority::Low => self.low.push(task),
        }
    }

    /// What comes before a worker's own tasks, at its `turn`th look.
    pub(super) fn steal_first(&self, turn: u32) -> Option<Task> {
        let fair = match turn % TURNS {
            0 => self.normal.steal(),
            64 => self.low.steal(),
            _ => None,
        };
        fair.or_else(|| self.high.steal())
    }

    /// What comes before other workers' detached tasks.
    pub(super) fn steal_next(&self) -> Option<Task> {
        self.high.steal().or_else(|| self.normal.steal())
    }

    /// What comes last.
    pub(super) fn steal_last(&self) -> Option<Task> {
        self.low.steal()
    }

    pub(super) fn steal(&self) -> Option<Task> {
        self.steal_next().or_else(|| self.steal_last())
    }

    pub(crate) fn len(&self) -> usize {
        self.high.len() + self.normal.len() + self.low.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.normal.is_empty() && self.high.is_empty() && self.low.is_empty()
    }
}
