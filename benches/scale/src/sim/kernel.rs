//! Membarriers: one at a time in the whole machine, each longer the more threads run.

use super::costs::Costs;
use crate::workload::Ns;

/// The running average grows from here on by at most the factor 2 in each step.
const LEAST_AVERAGE: Ns = 200;

/// The kernel's queue of membarriers, and what the pool knows about their duration.
#[derive(Clone, Copy, Debug)]
pub struct Kernel {
    /// When the last one that was issued ends.
    free_at: Ns,
    /// The one that has not begun, if it begins later than now. Others may share it.
    next: (Ns, Ns),
    /// The running average of the calls' durations.
    average: Ns,
}

/// A membarrier as its caller sees it.
pub struct Barrier {
    /// When the call returns.
    pub end: Ns,
    /// Whether the caller made it, and did not share another one's.
    pub is_own: bool,
}

impl Kernel {
    /// An idle machine. Nobody has measured a membarrier.
    pub fn new() -> Self {
        Kernel {
            free_at: 0,
            next: (0, 0),
            average: 0,
        }
    }

    /// Calls a membarrier that interrupts `others` running threads. If `shares`, callers that come while one is under way make only one
    /// more together.
    pub fn membarrier(&mut self, costs: &Costs, now: Ns, others: u64, shares: bool) -> Barrier {
        let (next_begin, next_end) = self.next;
        if shares && next_begin > now {
            return Barrier {
                end: next_end,
                is_own: false,
            };
        }
        let begin = self.free_at.max(now);
        let end = begin + costs.barrier_base + others * costs.barrier_per_thread;
        self.free_at = end;
        self.next = (begin, end);
        // A thread that shares barriers measures its own one only, without those before it.
        let took = if shares { end - begin } else { end - now };
        let took = took.min(8 * self.average.max(LEAST_AVERAGE));
        self.average = self.average - self.average / 8 + took / 8;
        Barrier { end, is_own: true }
    }

    /// The running average of what a call takes.
    pub fn average(&self) -> Ns {
        self.average
    }
}
