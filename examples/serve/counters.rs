//! What the service counts.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use heist::PoolStats;
use serde_json::{Value, json};

/// A count that only grows.
#[derive(Default)]
pub struct Count(AtomicU64);

impl Count {
    pub fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counters of the service.
///
/// Every request ends as one of `answered`, `refused`, `late`, `abandoned` and `failed`.
#[derive(Default)]
pub struct Counters {
    /// Connections that were accepted.
    pub connections: Count,
    /// Connections that have ended.
    closed: Count,
    /// Connections that were closed because the client was idle or slow.
    pub expired: Count,
    /// Requests, without those for `/stats`.
    pub requests: Count,
    /// Requests whose answer, perhaps a refusal, was handed over whole.
    pub answered: Count,
    /// Requests beyond the limit.
    pub refused: Count,
    /// Requests whose deadline has passed.
    pub late: Count,
    /// Requests whose client has gone before the end of the answer.
    pub abandoned: Count,
    /// Requests that an error has ended after the answer had begun.
    pub failed: Count,
}

impl Counters {
    /// Counts a connection, until the result is dropped.
    pub fn open_connection(self: &Arc<Self>) -> Open {
        self.connections.add();
        Open(self.clone())
    }

    /// Returns the counters of the service and those of its pool.
    pub fn to_json(&self, pool: &PoolStats) -> Value {
        let [answered, refused, late, abandoned, failed] = self.ends();
        let requests = self.requests.get();
        let under_way = requests.saturating_sub(answered + refused + late + abandoned + failed);
        // Read first, so that the difference is never negative.
        let closed = self.closed.get();
        json!({
            "connections": self.connections.get(),
            "open": self.connections.get().saturating_sub(closed),
            "expired": self.expired.get(),
            "requests": requests,
            "under_way": under_way,
            "answered": answered,
            "refused": refused,
            "late": late,
            "abandoned": abandoned,
            "failed": failed,
            "pool": {
                "threads": pool.threads,
                "active": pool.active,
                "idle": pool.idle,
                "queued": pool.queued,
                "suspended": pool.suspended,
                "spares": pool.spares,
                "submitted": pool.submitted,
                "completed": pool.completed,
                "failed": pool.failed,
                "cancelled": pool.cancelled,
                "steals": pool.steals,
                "busy_seconds": pool.busy.as_secs_f64(),
            },
        })
    }

    fn ends(&self) -> [u64; 5] {
        [
            self.answered.get(),
            self.refused.get(),
            self.late.get(),
            self.abandoned.get(),
            self.failed.get(),
        ]
    }
}

/// One line for people.
impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [answered, refused, late, abandoned, failed] = self.ends();
        write!(
            f,
            "{} requests on {} connections: {answered} answered, {refused} refused, {late} late, \
             {abandoned} abandoned, {failed} failed",
            self.requests.get(),
            self.connections.get(),
        )
    }
}

/// An open connection.
pub struct Open(Arc<Counters>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.closed.add();
    }
}
