//! The seam between the crate and its threads: std's atomics, locks, thread-locals, threads and clock in a build for users, loom's in a
//! build for the model checker, shuttle's in a build whose schedules are chosen at random.
//!
//! Loom tries every order of events in small parts of the crate, and knows what weak orderings allow. Shuttle runs whole pools, in some orders
//! out of very many, and takes each access for a sequentially consistent one. Both are *models*: [`MODEL`].
//!
//! **Invariant.** Whatever a wait, a wake-up or a hand-over depends on goes through here; what the models check is therefore what
//! ships. Files that take atomics straight from std say why: theirs carry counts or hints, no order.

#[cfg(not(any(loom, shuttle)))]
pub(crate) use std::{
    sync::{
        Condvar, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicI64, AtomicPtr, AtomicU64, AtomicUsize, Ordering},
    },
    thread, thread_local,
};

#[cfg(not(any(loom, shuttle, heist_delays)))]
pub(crate) use std::sync::atomic::fence;

#[cfg(heist_delays)]
pub(crate) use delays::fence;

/// Built with `--cfg heist_delays`, threads stop for a while, at random, at the points where a protocol could go wrong: fences, locks, queues.
#[cfg(heist_delays)]
mod delays {
    use super::{Ordering, thread};
    use std::cell::Cell;
    use std::time::Duration;

    thread_local! {
        static RANDOM: Cell<u64> = const { Cell::new(0) };
    }

    pub(crate) fn fence(ordering: Ordering) {
        delay();
        std::sync::atomic::fence(ordering);
        delay();
    }

    /// Mostly nothing; some turns of a spin; now and then longer than a time slice of anybody else's work.
    pub(crate) fn delay() {
        // Destructors of thread-locals come here too.
        let mut x = RANDOM.try_with(Cell::get).unwrap_or(1);
        if x == 0 {
            x = RANDOM.with(|cell| std::ptr::from_ref(cell).addr() as u64) | 1;
        }
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        let _ = RANDOM.try_with(|cell| cell.set(x));
        match x % 1024 {
            0 => thread::sleep(Duration::from_micros(x >> 32 & 127)),
            1..64 => thread::yield_now(),
            64..256 => (0..x >> 32 & 511).for_each(|_| std::hint::spin_loop()),
            _ => {}
        }
    }
}

#[cfg(shuttle)]
pub(crate) use shuttle::{
    sync::{
        Condvar, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicI64, AtomicPtr, AtomicU64, AtomicUsize, Ordering, fence},
    },
    thread, thread_local,
};

#[cfg(all(loom, not(test)))]
compile_error!(
    "with `--cfg loom` heist builds its own tests only: `cargo test --release --lib models`"
);

#[cfg(loom)]
pub(crate) use loom::sync::{
    Condvar, Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicI64, AtomicPtr, AtomicU64, AtomicUsize, Ordering},
};

#[cfg(loom)]
pub(crate) use {model::fence, std::thread};

/// Loom changes threads before an access to a word, never before a fence: what others do between a store and the fence that follows
/// it goes untried. A model may ask for that, at the price of more executions.
#[cfg(loom)]
pub(crate) mod model {
    use super::{AtomicUsize, Ordering};
    use std::cell::Cell;

    loom::lazy_static! {
        static ref TURN: AtomicUsize = AtomicUsize::new(0);
    }

    std::thread_local! {
        static SWITCH: Cell<bool> = const { Cell::new(false) };
    }

    /// For models: whether threads change at fences, from now on. All threads of a model share it.
    #[cfg(test)]
    pub(crate) fn switch_at_fences(switch: bool) {
        SWITCH.set(switch);
    }

    pub(crate) fn fence(ordering: Ordering) {
        if SWITCH.get() {
            // Relaxed: it orders nothing that the fences do not.
            TURN.fetch_add(1, Ordering::Relaxed);
        }
        loom::sync::atomic::fence(ordering);
    }
}

pub(crate) use std::sync::{Arc, OnceLock};
#[cfg(not(shuttle))]
use std::time::Instant;

/// Locks, ignoring poison: every critical section of this crate leaves its data valid at each point where it
/// could unwind, so a panic elsewhere is no reason to refuse the lock.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    #[cfg(heist_delays)]
    delays::delay();
    mutex.lock().unwrap_or_else(|poison| poison.into_inner())
}

/// Threads are a model's: no time is waited out, only order is tried.
pub(crate) const MODEL: bool = cfg!(any(loom, shuttle));

/// One turn of a bounded spin.
#[cfg(not(any(loom, shuttle)))]
#[inline]
pub(crate) fn spin_hint() {
    std::hint::spin_loop();
}

/// In a schedule of shuttle's, another thread may come first here: before a step on what is not made of this file's types.
#[inline(always)]
pub(crate) fn turn() {
    #[cfg(shuttle)]
    thread::sleep(std::time::Duration::ZERO);
    #[cfg(heist_delays)]
    delays::delay();
}

/// Gives the core to another thread that is ready.
#[inline]
pub(crate) fn yield_thread() {
    #[cfg(not(loom))]
    thread::yield_now();
    #[cfg(loom)]
    loom::thread::yield_now();
}

/// What `Instant::now` says; in a schedule of shuttle's, what its own clock says.
#[cfg(not(shuttle))]
#[inline]
pub(crate) fn now() -> Instant {
    Instant::now()
}

#[cfg(shuttle)]
pub(crate) use clock::{now, wait_timeout};

/// Shuttle knows no time. Here each look at the clock takes a microsecond; and a wait with a limit goes on, if nobody ends it before, until
/// some turns later the clock is moved to the limit. So a limit may be reached at any moment, and a schedule can be repeated.
#[cfg(shuttle)]
pub(crate) mod clock {
    use super::{Mutex, MutexGuard, lock, thread};
    use shuttle::rand::{Rng, thread_rng};
    use std::cell::Cell;
    use std::sync::OnceLock;
    use std::time::{Duration, Instant};

    // All threads of a schedule are one for the system.
    std::thread_local! {
        static PASSED: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    }

    /// The most turns that a wait lasts.
    const TURNS: u32 = 16;

    fn start() -> Instant {
        static START: OnceLock<Instant> = OnceLock::new();
        *START.get_or_init(Instant::now)
    }

    /// Nanoseconds since some moment.
    pub(crate) fn nanos() -> u64 {
        PASSED.set(PASSED.get() + Duration::from_micros(1));
        PASSED.get().as_nanos() as u64
    }

    pub(crate) fn now() -> Instant {
        start() + Duration::from_nanos(nanos())
    }

    /// Waits until `woken` or, then it returns true, until the time is over.
    pub(crate) fn wait_timeout<'a, T>(
        mutex: &'a Mutex<T>,
        mut guard: MutexGuard<'a, T>,
        timeout: Duration,
        woken: impl Fn(&T) -> bool,
    ) -> (MutexGuard<'a, T>, bool) {
        let until = now() + timeout;
        for _ in 0..thread_rng().gen_range(1..TURNS) {
            drop(guard);
            thread::yield_now();
            guard = lock(mutex);
            if woken(&guard) {
                return (guard, false);
            }
        }
        PASSED.set(PASSED.get().max(until - start()));
        (guard, true)
    }
}
