//! Cache lines that several cores write: who has it, and when the next one can.

use super::costs::Costs;
use crate::workload::Ns;

/// A thread that is none.
pub const NOBODY: usize = usize::MAX;

/// How many times each kind of line moved to another core.
#[derive(Clone, Copy, Debug, Default)]
pub struct Transfers {
    /// Looks at rings that had changed.
    pub probes: u64,
    /// Read-modify-writes of a ring, and of the job that was taken from it.
    pub rings: u64,
    /// Read-modify-writes of the sleep word.
    pub word: u64,
    /// The idle list's lock.
    pub lock: u64,
    /// The words that say which slots are active.
    pub active: u64,
    /// The count of a scope.
    pub scope: u64,
    /// Nanoseconds that threads spent waiting for a line which others were changing.
    pub waited: Ns,
}

/// A line that is changed by read-modify-writes, one after the other.
///
/// It keeps how much there was to do at the latest time that anybody named, not when it is free: a thread that acts may name a time that is
/// somewhat ahead of the others', and they can have the line until then.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    at: Ns,
    backlog: Ns,
    owner: usize,
}

/// A finished read-modify-write.
pub struct Changed {
    /// When it is done.
    pub at: Ns,
    /// Whether the line came from another core.
    pub moved: bool,
    /// How long others held the line.
    pub waited: Ns,
}

impl Line {
    /// A line that nobody has touched.
    pub fn new() -> Self {
        Line {
            at: 0,
            backlog: 0,
            owner: NOBODY,
        }
    }

    /// Changes the line, from time `now` on. Another socket's line costs twice as much as one of the same socket.
    pub fn change(&mut self, costs: &Costs, now: Ns, thread: usize, remote: bool) -> Changed {
        let moved = self.owner != thread;
        let cost = match (moved, remote) {
            (false, _) => costs.own_cas,
            (true, false) => costs.dirty_cas,
            (true, true) => 2 * costs.dirty_cas,
        };
        self.hold(now, thread, cost)
    }

    /// Takes the line for `duration`.
    pub fn hold(&mut self, now: Ns, thread: usize, duration: Ns) -> Changed {
        self.backlog = self.backlog.saturating_sub(now.saturating_sub(self.at));
        self.at = self.at.max(now);
        let waited = self.backlog;
        self.backlog += duration;
        let moved = self.owner != thread;
        self.owner = thread;
        Changed {
            at: now + self.backlog,
            moved,
            waited,
        }
    }
}
