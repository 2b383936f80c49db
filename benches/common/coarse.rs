//! Few and long closures: can a second worker take work whose owner does not come back to the scheduler?
//!
//! The leaves watch the clock instead of computing, so a leaf takes the same time on a shared machine. The rows show who
//! runs when. With more threads than cores they would mean nothing.

use super::contract::{Join, JoinKernel, Serial};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// An arrangement of long closures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// Two long closures in one join.
    C0,
    /// Four long closures in nested joins.
    C1,
    /// A join of two long closures inside a join with a tiny closure, which is the older of the two offers.
    C2,
    /// A join of two long closures while the second worker is busy for 0.4 of a long closure.
    C3,
}

/// A coarse program.
#[derive(Clone, Copy, Debug)]
pub struct Coarse {
    /// The arrangement.
    pub case: Case,
    /// The length of a long closure.
    pub long: Duration,
}

impl Coarse {
    /// The time for which the second worker is busy in [`Case::C3`].
    fn busy(&self) -> Duration {
        self.long * 2 / 5
    }

    /// The least time that two workers need.
    pub fn ideal_on_two(&self) -> Duration {
        match self.case {
            Case::C0 | Case::C2 => self.long,
            Case::C1 => self.long * 2,
            Case::C3 => self.long + self.busy(),
        }
    }
}

impl JoinKernel for Coarse {
    /// The number of closures that have run.
    type Answer = u64;

    fn units(&self) -> u64 {
        1
    }

    fn serial(&self) -> u64 {
        self.run::<Serial>(&mut ())
    }

    fn run<J: Join>(&self, context: &mut J::Context<'_>) -> u64 {
        let long = self.long;
        match self.case {
            Case::C0 => two_long::<J>(context, long),
            Case::C1 => {
                let (first, second) = J::join(
                    context,
                    move |context| two_long::<J>(context, long),
                    move |context| two_long::<J>(context, long),
                );
                first + second
            }
            Case::C2 => {
                let (first, second) = J::join(
                    context,
                    move |context| two_long::<J>(context, long),
                    move |_| 1,
                );
                first + second
            }
            Case::C3 => {
                let busy = self.busy();
                let begun = AtomicBool::new(false);
                let begun = &begun;
                let (first, second) = J::join(
                    context,
                    move |context| {
                        wait_until(begun, busy);
                        two_long::<J>(context, long)
                    },
                    move |_| {
                        begun.store(true, Ordering::Relaxed);
                        spin(busy)
                    },
                );
                first + second
            }
        }
    }
}

fn two_long<J: Join>(context: &mut J::Context<'_>, long: Duration) -> u64 {
    let (a, b) = J::join(context, move |_| spin(long), move |_| spin(long));
    a + b
}

/// Keeps the thread busy for `duration` by the clock.
#[inline(never)]
pub fn spin(duration: Duration) -> u64 {
    let start = Instant::now();
    while start.elapsed() < duration {}
    1
}

/// Keeps the thread busy until the other closure has begun, or for `limit` at most: in a serial run no other closure begins.
fn wait_until(begun: &AtomicBool, limit: Duration) {
    let start = Instant::now();
    while !begun.load(Ordering::Relaxed) && start.elapsed() < limit {}
}
