//! How long threads search, pause and spin before they park. Every such duration is defined here, with its reason, except two: how often a worker
//! that was called yields is defined in `park` (`CALLED_TURNS`), and how long a wait for the first of several tasks leaves them to others in
//! `executor/pending` (`PATIENCE`).

use crate::barrier;
#[cfg(not(any(heist_loom, heist_shuttle)))]
use crate::sync::spin_hint;
use crate::sync::{MODEL, yield_thread};
use crate::sys::{TICKS_PER_MICROSECOND, ticks};
use std::cell::Cell;
// From std: a hint.
use crate::sync::{Ordering, hint::AtomicU64};

/// How long a worker that found nothing continues to search before it parks. A wake-up takes 7-17 us of the waker's time
/// and 17-90 us until the woken thread runs (measured 2026-11, 2 cores), so a shorter gap is better waited out. The simulation in
/// `benches/scale/src/sim/search.rs` has a copy of this number.
const SEARCH_TIME: u64 = 50 * TICKS_PER_MICROSECOND;

/// How long a worker that found nothing searches while another one does.
const BRIEF_TIME: u64 = TICKS_PER_MICROSECOND;

/// The first round in which a wait looks at other threads than its thief, about 0.4 us after the wait began. In a fine-grained program what
/// it waits for has usually come by then, and each look at others costs as much as a small task.
pub(super) const WIDE_ROUND: u32 = if MODEL { 0 } else { 4 };

/// How long a wait spins, at least.
const WAIT_TIME: u64 = 20 * TICKS_PER_MICROSECOND;

/// How long a wait that helps spins. It parks behind a heavy fence, which interrupts every core. So it spins for longer where such a fence takes long, in a
/// large pool, and at most for 200 us, since a fence seems to take long on a busy machine too. Simulated, 128 workers, trees of 10 ms: 730 parked waits
/// with 20 us, 8 with four times the cost of a fence.
fn help_time() -> u64 {
    (4 * barrier::cost()).clamp(WAIT_TIME, 10 * WAIT_TIME)
}

/// How long a share request remains unanswered before a thief uses force, in ticks. An owner that runs short closures answers in that
/// time. Force costs a heavy fence, which interrupts every core, so it pays to wait for one and a half times as long as a fence takes.
pub(super) fn patience() -> u64 {
    match MODEL {
        true => 0,
        false => (3 * barrier::cost() / 2).max(TICKS_PER_MICROSECOND),
    }
}

/// The search of one worker that has found nothing.
pub(super) struct Search {
    since: u64,
    time: u64,
    round: u32,
}

impl Search {
    /// A search is brief while `others` search. A lone searcher continues until it may use force; if it is preempted
    /// and parks before, the final re-check sees the fork, and the request has kept its age.
    pub(super) fn new(others: usize) -> Self {
        let time = match others {
            0 => SEARCH_TIME.max(2 * patience()),
            _ => BRIEF_TIME,
        };
        Search {
            since: ticks(),
            time,
            round: 0,
        }
    }

    /// Pauses. Returns `false` when it is time to park.
    pub(super) fn goes_on(&mut self) -> bool {
        if self.round == 0 {
            yield_after_sleep();
        }
        pause(self.round);
        self.round += 1;
        !MODEL && ticks().wrapping_sub(self.since) < self.time
    }
}

/// A rate limit for heavy fences: `BURST` at once, and one more in each `PERIOD`.
#[derive(Debug, Default)]
pub(super) struct Budget {
    /// The time at which the budget is complete again, in [`ticks`].
    complete: AtomicU64,
}

/// The number of heavy fences that a complete budget allows at once.
const BURST: u64 = 8;

/// The time in which a budget gains one heavy fence: 500 us, for 2,000 a second.
const PERIOD: u64 = 500 * TICKS_PER_MICROSECOND;

impl Budget {
    /// Takes one heavy fence out of the budget. Returns `false` if there is none left.
    pub(super) fn take(&self) -> bool {
        let now = if MODEL { 0 } else { ticks() };
        // ORDERING: Relaxed: the budget orders nothing.
        self.complete
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |complete| {
                // A time that is further ahead than a whole budget shows that the clock has gone back.
                let complete = if complete > now + BURST * PERIOD {
                    now
                } else {
                    complete.max(now)
                };
                (complete - now < BURST * PERIOD).then_some(complete + PERIOD)
            })
            .is_ok()
    }

    /// For models: leaves nothing in the budget.
    #[cfg(all(test, heist_loom))]
    pub(super) fn exhaust(&self) {
        self.complete.store(BURST * PERIOD, Ordering::Relaxed);
    }
}

/// The maximum number of waits that skip spinning after one that spun in vain.
const MAX_PENALTY: u8 = 15;

// From std in models too: these are hints, and a model does not spin.
std::thread_local! {
    /// The adaptive spin penalty: for how many more waits the thread does not spin, and for how many the penalty was set.
    static PENALTY: Cell<Penalty> = const { Cell::new(Penalty::NONE) };
    /// For how many searches the thread does not yield.
    static YIELD_PENALTY: Cell<Penalty> = const { Cell::new(Penalty::NONE) };
    /// Whether this thread has woken or started another one since its last wait.
    static WOKE: Cell<bool> = const { Cell::new(false) };
    /// Whether this thread has slept on the idle list since its last search in vain.
    static SLEPT: Cell<bool> = const { Cell::new(false) };
}

/// Notes that the current thread has woken or started another one.
pub(super) fn note_wake() {
    WOKE.set(true);
}

/// Notes that the current thread has slept on the idle list.
pub(super) fn note_sleep() {
    SLEPT.set(true);
}

/// The spinning of one wait.
pub(super) struct Spin {
    why: Why,
    /// When the first round ended, in ticks.
    since: u64,
    pub(super) round: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Why {
    /// The wait helps, and something to run can turn up in each round.
    Helps,
    /// The wait does not help, but what is awaited may come soon, as it did in the last waits.
    Awaits,
    /// The wait parks at once.
    Not,
}

impl Spin {
    /// A wait that does not help parks at once if the thread has just woken another one, or has lately spun in vain: the thread that is to
    /// bring about what is awaited may be ready to run on this very core.
    pub(super) fn new(helps: bool) -> Self {
        let why = if MODEL {
            Why::Not
        } else if helps {
            Why::Helps
        } else if !WOKE.take() && PENALTY.with(Penalty::is_over) {
            Why::Awaits
        } else {
            Why::Not
        };
        Spin {
            why,
            since: 0,
            round: 0,
        }
    }

    /// Begins anew after the wait has done something other than pause.
    pub(super) fn restart(&mut self) {
        self.round = 0;
    }

    /// Pauses. Returns `false` when it is time to park.
    pub(super) fn goes_on(&mut self) -> bool {
        pause(self.round);
        if self.round == 0 {
            self.since = ticks();
        }
        self.round += 1;
        if self.why == Why::Not {
            return false;
        }
        let time = match self.why {
            Why::Helps => help_time(),
            Why::Awaits | Why::Not => WAIT_TIME,
        };
        if ticks().wrapping_sub(self.since) < time {
            return true;
        }
        if self.why == Why::Awaits {
            self.why = Why::Not;
            PENALTY.set(PENALTY.get().raised(MAX_PENALTY));
        }
        false
    }

    /// Ends the spinning of a wait whose event has come.
    pub(super) fn end(self) {
        if self.why == Why::Awaits && self.round > 0 {
            PENALTY.set(Penalty::NONE);
        }
    }
}

/// For how many times a thread leaves out something that was of no use the last time.
#[derive(Clone, Copy)]
struct Penalty {
    left: u8,
    all: u8,
}

impl Penalty {
    const NONE: Penalty = Penalty { left: 0, all: 0 };

    /// A penalty of twice as many times, at most `most`.
    fn raised(self, most: u8) -> Self {
        let all = self.all.saturating_mul(2).saturating_add(1).min(most);
        Penalty { left: all, all }
    }

    /// Whether the penalty in the cell is over. If not, it is counted down.
    fn is_over(cell: &Cell<Penalty>) -> bool {
        let Penalty { left, all } = cell.get();
        let left_after = left.saturating_sub(1);
        cell.set(Penalty {
            left: left_after,
            all,
        });
        left == 0
    }
}

/// Yields once if the thread has slept on the idle list since it last searched in vain. A thread that was woken for little often runs on the
/// core of its waker, which waits for what it has done. While other programs keep the core for a whole time slice each time, most yields are left out.
fn yield_after_sleep() {
    if SLEPT.take() && !MODEL && YIELD_PENALTY.with(Penalty::is_over) {
        let before = ticks();
        yield_thread();
        let penalty = if ticks().wrapping_sub(before) < LONG_YIELD {
            Penalty::NONE
        } else {
            YIELD_PENALTY.get().raised(u8::MAX)
        };
        YIELD_PENALTY.set(penalty);
    }
}

/// A yield that takes longer than this has given the core to another program.
const LONG_YIELD: u64 = 500 * TICKS_PER_MICROSECOND;

/// Pauses for 31 ns in the first round and twice as long in each further one, up to a microsecond. It does not yield: if other threads are
/// ready to run, a yield gives them the core for a whole time slice, some milliseconds, in which all others count this thread as awake. A
/// thread that waits longer sleeps instead, and the system runs it soon after it is woken.
#[cfg(not(any(heist_loom, heist_shuttle)))]
fn pause(round: u32) {
    let (start, time) = (ticks(), (TICKS_PER_MICROSECOND >> 5) << round.min(5));
    while ticks().wrapping_sub(start) < time {
        spin_hint();
    }
}

/// Takes an interrupt that is due, since the caller may be in a loop without a fence. A model has no time to pass: it tries every order of
/// events anyway, except those in which a thread that yields continues before another one.
#[cfg(any(heist_loom, heist_shuttle))]
fn pause(_: u32) {
    crate::barrier::light();
}
