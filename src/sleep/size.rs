//! The number of threads of a pool: changes of its size, and its end.

use super::Sleep;
use super::counts::{ONE_AVAILABLE, ONE_SEARCHING, ONE_WORKER};
use super::list::{Idle, take};
use crate::sync::{Ordering, lock};

impl Sleep {
    /// Takes a spare that has been parked for a long time off the list, so that it leaves and can be started again when needed. Returns `false` if
    /// another thread has claimed it.
    pub(crate) fn dismiss_spare(&self, slot: usize) -> bool {
        let mut idle = lock(&self.idle);
        if !take(&mut idle.spares, slot) {
            return false;
        }
        self.note_listed(slot, false);
        idle.spares_left += 1;
        idle.spares_started -= 1;
        true
    }

    /// Changes the number of workers. Returns the previous number and the slots to wake. Their threads are counted as awake and searching, and
    /// the surplus ones end.
    pub(crate) fn set_target(&self, target: usize) -> (usize, Vec<usize>) {
        let mut idle = lock(&self.idle);
        let idle = &mut *idle;
        let before = self.target();
        if idle.caller_threads {
            return (before, Vec::new());
        }
        self.target.store(target, Ordering::Relaxed);
        if idle.present.len() < target {
            idle.present.resize(target, false);
        }
        if idle.retired {
            return (before, Vec::new());
        }
        // Workers that still have a thread keep it. The others can be started.
        let started = idle.unstarted.len() as u64;
        idle.unstarted.retain(|&index| index < target);
        let kept = idle.unstarted.len() as u64;
        let fresh = (before..target).rev().filter(|&index| !idle.present[index]);
        idle.unstarted.splice(0..0, fresh);
        let fresh = idle.unstarted.len() as u64 - kept;
        self.add(fresh * ONE_AVAILABLE, (started - kept) * ONE_AVAILABLE);
        let mut woken = Vec::new();
        if target < before {
            // The list does not tell which workers are surplus. The others park again.
            woken = std::mem::take(&mut idle.workers);
            self.count_woken(&woken);
        }
        (before, woken)
    }

    /// Lets no thread start from now on. All have ended, except those that are being started at this moment.
    pub(crate) fn retire(&self) {
        let mut idle = lock(&self.idle);
        let had = idle.retire() as u64;
        self.add(0, had * ONE_AVAILABLE);
    }

    /// Closes the pool: as soon as all its threads are idle, they leave, and none starts any more. Returns the slots to wake, whose threads are
    /// counted as awake and searching.
    ///
    /// No thread leaves before all are idle. Its exit hook can make work, for which another thread would start, and leave again, without end.
    pub(crate) fn close(&self) -> Vec<usize> {
        let mut idle = lock(&self.idle);
        idle.closed = true;
        self.wake_parked(&mut idle)
    }

    /// Called when a thread of the pool has left or could not be started. In a pool that closes, returns the slots of the threads that wait for
    /// that, to be woken as after [`close`](Self::close).
    pub(crate) fn departed(&self) -> Vec<usize> {
        let mut idle = lock(&self.idle);
        if idle.closed {
            self.wake_parked(&mut idle)
        } else {
            Vec::new()
        }
    }

    fn wake_parked(&self, idle: &mut Idle) -> Vec<usize> {
        let mut slots = std::mem::take(&mut idle.workers);
        slots.append(&mut idle.spares);
        self.count_woken(&slots);
        slots
    }

    /// Counts the threads of these slots, which are off the idle list, as awake and searching.
    fn count_woken(&self, slots: &[usize]) {
        let count = slots.len() as u64;
        self.add(count * (ONE_WORKER + ONE_SEARCHING), count * ONE_AVAILABLE);
        for slot in slots {
            self.note_listed(*slot, false);
        }
    }
}
