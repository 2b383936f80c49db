//! What one run of the simulated program came to.

use super::lines::Transfers;
use crate::workload::Ns;

/// Counts and times of one run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// From the begin of the program to its end.
    pub span: Ns,
    /// The time of all leaves together.
    pub work: Ns,
    /// Until half of the workers were busy at once, if they ever were.
    pub half_busy: Option<Ns>,
    /// Until nine in ten were.
    pub most_busy: Option<Ns>,
    /// Threads that were woken or started.
    pub wakeups: u64,
    /// Times that a thread parked free.
    pub parks: u64,
    /// Times that a thread parked in a wait.
    pub bound_parks: u64,
    /// Attempts to take a private fork.
    pub forces: u64,
    /// Those of a waiting thread.
    pub forces_by_waiters: u64,
    /// Those that got nothing.
    pub failed_forces: u64,
    /// Heavy barriers that do not belong to a force: what heist's statistics call barriers.
    pub announcements: u64,
    /// Threads that parked without a heavy barrier, because all requests stood from before an earlier one.
    pub spared: u64,
    /// Membarriers that the kernel carried out.
    pub membarriers: u64,
    /// Share requests that were answered.
    pub answers: u64,
    /// Looks at a ring by somebody else than its owner.
    pub probes: u64,
    /// Forks that were stolen.
    pub steals: u64,
    /// Steals from another socket.
    pub remote_steals: u64,
    /// Steals that met another thief.
    pub conflicts: u64,
    /// Lines that moved between cores.
    pub transfers: Transfers,
}

impl Tally {
    /// The work, divided by the time that `threads` threads had for it.
    pub fn efficiency(&self, threads: usize) -> f64 {
        self.work as f64 / (threads as f64 * self.span as f64)
    }

    /// Membarriers in each second of the run.
    pub fn barriers_per_second(&self) -> f64 {
        self.membarriers as f64 * 1e9 / self.span as f64
    }
}
