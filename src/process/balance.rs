//! Work that is taken back from workers that are late or stuck.

use super::member::{Flight, Member, Phase};
use super::state::{LATE, STUCK, State};
use crate::pool::Priority;
use std::time::{Duration, Instant};

/// How long a worker that was stuck is avoided.
const AVOIDED: Duration = Duration::from_secs(1);

impl State {
    /// Gives what late workers have not begun to those that are free. A job of high priority that waits counts as a free worker.
    pub(super) fn rebalance(&mut self) {
        let now = Instant::now();
        let waits_high = !self.lanes[Priority::High as usize].is_empty();
        let waits_none =
            self.queued() == 0 && self.members.iter().any(|member| is_free(member, now));
        if !waits_high && !waits_none {
            return;
        }
        for index in 0..self.members.len() {
            let member = &self.members[index];
            let is_low = |flight: &Flight| flight.job.priority < Priority::High;
            let wanted = if waits_high {
                member.flights.iter().skip(1).any(is_low)
            } else {
                now.duration_since(member.since) >= LATE
            };
            let is_stuck = stuck_at(member).is_some_and(|time| time <= now);
            if wanted && member.has_unbegun() && (is_stuck || has_several(member)) {
                if is_stuck {
                    self.members[index].avoided_until = Some(now + AVOIDED);
                }
                self.recall(index);
            }
        }
    }

    /// When a look makes sense: somebody is free, and somebody has more than it runs, or has not begun what it has.
    pub(super) fn next_rebalance(&self, now: Instant) -> Option<Instant> {
        let idle = self.members.iter().filter(|member| is_idle(member));
        let from = idle
            .map(|member| member.avoided_until.unwrap_or(now))
            .min()?;
        let times = self.members.iter().filter_map(|member| {
            let has_more = has_several(member) && member.has_unbegun();
            if has_more {
                Some(now + LATE)
            } else {
                stuck_at(member).map(|time| time.max(now + LATE))
            }
        });
        times.min().map(|time| time.max(from))
    }
}

fn is_idle(member: &Member) -> bool {
    member.phase == Phase::Ready && member.flights.is_empty()
}

fn is_free(member: &Member, now: Instant) -> bool {
    is_idle(member) && !member.is_avoided(now)
}

/// Whether a worker has several items.
fn has_several(member: &Member) -> bool {
    let mut flights = member.flights.iter();
    let first = flights.next();
    first.is_some_and(|first| first.job.items() > 1 || flights.next().is_some())
}

/// When a worker that has begun nothing of what it has is [stuck](STUCK).
fn stuck_at(member: &Member) -> Option<Instant> {
    let waits = !member.flights.is_empty() && member.running().is_none();
    waits.then(|| member.since + STUCK)
}
