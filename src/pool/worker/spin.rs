//! How long a wait spins before it parks.

use super::{FORCE_ROUND, pause};
use crate::pool::context;
use crate::sync::{MODEL, now};
use std::cell::Cell;
use std::time::{Duration, Instant};

/// How often a wait looks again before it asks for the time, which costs as much as a small task. A thief that helps has
/// forced by then.
const UNTIMED_ROUNDS: u32 = FORCE_ROUND + 1;

/// How long a wait spins.
const WAIT_TIME: Duration = Duration::from_micros(20);

/// How many waits at most are spent without spinning after one that spun in vain.
const MOST_DOUBT: u8 = 15;

// Std's in models too: a hint, and a model does not spin.
std::thread_local! {
    /// For how many waits more the thread does not spin, and for how many it was not going to.
    static DOUBT: Cell<(u8, u8)> = const { Cell::new((0, 0)) };
}

/// One wait's.
pub(super) struct Spin {
    why: Why,
    since: Option<Instant>,
    pub(super) round: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Why {
    /// Something to run may turn up in each round.
    Helps,
    /// What is awaited may come.
    Hopes,
    /// Parks at once.
    Not,
}

impl Spin {
    /// A wait that does not help parks at once if the thread has just woken the one which is to do what it waits for, or has lately spun in
    /// vain: that thread may be ready on this very core.
    pub(super) fn new(helps: bool) -> Self {
        let why = if MODEL {
            Why::Not
        } else if helps {
            Why::Helps
        } else if !context::has_woken() && has_hope() {
            Why::Hopes
        } else {
            Why::Not
        };
        let (since, round) = (None, 0);
        Spin { why, since, round }
    }

    /// After something else than a pause.
    pub(super) fn restart(&mut self) {
        (self.since, self.round) = (None, 0);
    }

    /// Pauses. False: it is time to park.
    pub(super) fn goes_on(&mut self) -> bool {
        pause(self.round);
        self.round += 1;
        if self.why == Why::Not {
            return false;
        }
        if self.round <= UNTIMED_ROUNDS || self.since.get_or_insert_with(now).elapsed() < WAIT_TIME
        {
            return true;
        }
        if self.why == Why::Hopes {
            self.why = Why::Not;
            DOUBT.with(|doubt| {
                let more = (2 * doubt.get().1 + 1).min(MOST_DOUBT);
                doubt.set((more, more));
            });
        }
        false
    }

    /// What was awaited has come.
    pub(super) fn end(self) {
        if self.why == Why::Hopes && self.round > 0 {
            DOUBT.with(|doubt| doubt.set((0, 0)));
        }
    }
}

fn has_hope() -> bool {
    DOUBT.with(|doubt| {
        let (left, all) = doubt.get();
        doubt.set((left.saturating_sub(1), all));
        left == 0
    })
}
