//! The seam between the crate and its threads: the atomics, locks, thread-locals, threads and clock of std in a build for users, of loom in a
//! build for the model checker, and of shuttle in a build whose schedules are chosen at random.
//!
//! Loom tries every order of events in small parts of the crate, and knows what weak orderings permit. Shuttle runs whole pools, in a few of
//! very many orders, and treats each access as sequentially consistent. Both are *models*: see [`MODEL`].
//!
//! With `heist_lines` beside shuttle, accesses are counted by cache line: see `lines`.
//!
//! **Invariant.** Everything on which a wait, a wake-up or a hand-over depends goes through this module, so that the models check what ships.
//! Files that take atomics from [`hint`], or from std, state why: theirs carry counts or hints and order nothing.

#[cfg(not(any(heist_loom, heist_shuttle)))]
pub(crate) use std::{
    sync::{
        Condvar, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicI64, AtomicPtr, AtomicU64, AtomicUsize, Ordering},
    },
    thread, thread_local,
};

#[cfg(not(any(heist_loom, heist_shuttle, heist_delays)))]
pub(crate) use std::sync::atomic::fence;

#[cfg(heist_delays)]
pub(crate) use delays::fence;

/// In a build with `--cfg heist_delays`, threads stop for a while, at random, where a protocol could go wrong: at fences, locks and queues.
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

    /// Does nothing in most calls, spins in others, and sometimes sleeps for longer than a time slice.
    pub(crate) fn delay() {
        // `try_with`, because destructors of thread-locals call this too.
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

#[cfg(heist_shuttle)]
pub(crate) use shuttle::{
    sync::{
        Condvar, MutexGuard,
        atomic::{Ordering, fence},
    },
    thread, thread_local,
};

#[cfg(all(heist_shuttle, not(heist_lines)))]
pub(crate) use shuttle::sync::{
    Mutex,
    atomic::{AtomicBool, AtomicI64, AtomicPtr, AtomicU64, AtomicUsize},
};

#[cfg(heist_lines)]
pub mod lines;

/// What a build with `heist_lines` charges for the operations of a deque that is not made of the types of this module. Nothing in other builds.
#[cfg(not(any(heist_loom, heist_lines)))]
#[derive(Clone)]
pub(crate) struct Deque;

#[cfg(not(any(heist_loom, heist_lines)))]
impl Deque {
    #[inline(always)]
    pub(crate) fn new() -> Self {
        Deque
    }
    #[inline(always)]
    pub(crate) fn push(&self) {}
    #[inline(always)]
    pub(crate) fn pop(&self, _: impl FnOnce() -> usize, _: bool) {}
    #[inline(always)]
    pub(crate) fn look(&self) {}
    #[inline(always)]
    pub(crate) fn steal(&self) {}
}

#[cfg(heist_lines)]
pub(crate) use lines::{
    AtomicBool, AtomicI64, AtomicPtr, AtomicU64, AtomicUsize, Deque, Mutex, hint,
};

/// Atomics of std in models too, for counts and hints, which order nothing.
#[cfg(not(heist_lines))]
pub(crate) mod hint {
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize};
}

/// A number of the current thread. Threads that ask for it one after the other have different numbers. It is 0 while the thread's locals are destroyed.
#[cfg(not(any(heist_loom, heist_shuttle)))]
pub(crate) fn thread_number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(1);
    thread_local! {
        static NUMBER: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
    }
    let number = |number: &std::cell::Cell<usize>| {
        if number.get() == 0 {
            number.set(NEXT.fetch_add(1, Ordering::Relaxed));
        }
        number.get()
    };
    NUMBER.try_with(number).unwrap_or(0)
}

#[cfg(heist_shuttle)]
pub(crate) fn thread_number() -> usize {
    shuttle::current::me().into()
}

#[cfg(heist_loom)]
pub(crate) use model::thread_number;

#[cfg(all(heist_loom, not(test)))]
compile_error!(
    "with `--cfg heist_loom` heist builds its own tests only: `cargo test --release -p heist --lib models`"
);

#[cfg(heist_loom)]
pub(crate) use loom::sync::{
    Condvar, Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicI64, AtomicPtr, AtomicU64, AtomicUsize, Ordering},
};

#[cfg(heist_loom)]
pub(crate) use {model::fence, std::thread};

/// Fences at which threads change. Loom changes threads before an access to a word and never before a fence, so that it does not try what others do
/// between a store and the fence that follows. A model may ask for that, at the price of more executions.
#[cfg(heist_loom)]
pub(crate) mod model {
    use super::{AtomicUsize, Ordering};
    use std::cell::Cell;

    loom::lazy_static! {
        static ref TURN: AtomicUsize = AtomicUsize::new(0);
    }

    // From std, so that all threads of a model share them.
    std::thread_local! {
        static SWITCH: Cell<bool> = const { Cell::new(false) };
        static PARTS: Cell<usize> = const { Cell::new(1) };
    }

    loom::thread_local! {
        static NUMBER: Cell<usize> = Cell::new(0);
    }

    /// Sets the number of parts of what threads outside write, for the pools that are made from now on.
    #[cfg(test)]
    pub(crate) fn set_parts(parts: usize) {
        PARTS.set(parts);
    }

    pub(crate) fn parts() -> usize {
        PARTS.get()
    }

    /// Sets what [`thread_number`] returns on this thread.
    #[cfg(test)]
    pub(crate) fn set_thread_number(number: usize) {
        NUMBER.with(|own| own.set(number));
    }

    pub(crate) fn thread_number() -> usize {
        NUMBER.with(Cell::get)
    }

    /// Sets whether threads change at fences from now on. All threads of a model share the setting.
    #[cfg(test)]
    pub(crate) fn switch_at_fences(switch: bool) {
        SWITCH.set(switch);
    }

    pub(crate) fn fence(ordering: Ordering) {
        if SWITCH.get() {
            // Relaxed: it orders nothing beyond what the fences order.
            TURN.fetch_add(1, Ordering::Relaxed);
        }
        loom::sync::atomic::fence(ordering);
    }
}

use std::io;
pub(crate) use std::sync::{Arc, OnceLock};
#[cfg(not(heist_shuttle))]
use std::time::Instant;

/// Locks a mutex and ignores poison: every critical section of this crate leaves its data valid at each point where it could unwind.
#[cfg_attr(heist_lines, track_caller)]
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    #[cfg(heist_delays)]
    delays::delay();
    mutex.lock().unwrap_or_else(|poison| poison.into_inner())
}

/// Locks the mutex if nobody holds it.
pub(crate) fn try_lock<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(guard) => Some(guard),
        Err(std::sync::TryLockError::Poisoned(poison)) => Some(poison.into_inner()),
        Err(std::sync::TryLockError::WouldBlock) => None,
    }
}

/// Whether the build is for loom or shuttle. A model tries orders of events, and waits out no time.
pub(crate) const MODEL: bool = cfg!(any(heist_loom, heist_shuttle));

/// Whether arrays are short, so that a model often comes to their ends.
pub(crate) const SHORT: bool = MODEL && !cfg!(heist_lines);

/// Spins for one turn of a bounded spin.
#[cfg(not(any(heist_loom, heist_shuttle)))]
#[inline]
pub(crate) fn spin_hint() {
    std::hint::spin_loop();
}

/// Lets shuttle run another thread first. Called before a step on something that is not made of the types of this module.
#[inline(always)]
pub(crate) fn turn() {
    #[cfg(heist_shuttle)]
    thread::sleep(std::time::Duration::ZERO);
    #[cfg(heist_delays)]
    delays::delay();
}

/// Yields the core to another thread that is ready to run.
#[inline]
pub(crate) fn yield_thread() {
    #[cfg(not(heist_loom))]
    thread::yield_now();
    #[cfg(heist_loom)]
    loom::thread::yield_now();
}

/// The handle of a thread that [`spawn_thread`] has started.
#[cfg(not(heist_loom))]
pub(crate) type ThreadHandle = thread::JoinHandle<()>;
#[cfg(heist_loom)]
pub(crate) type ThreadHandle = loom::thread::JoinHandle<()>;

/// Starts a thread. In a model, where the system always has a thread, an empty name makes the start fail.
pub(crate) fn spawn_thread(
    name: String,
    stack_size: Option<usize>,
    run: impl FnOnce() + Send + 'static,
) -> io::Result<ThreadHandle> {
    if MODEL && name.is_empty() {
        return Err(io::Error::other("the model starts no thread of this name"));
    }
    #[cfg(not(heist_loom))]
    {
        let builder = thread::Builder::new().name(name);
        match stack_size {
            Some(bytes) => builder.stack_size(bytes).spawn(run),
            None => builder.spawn(run),
        }
    }
    #[cfg(heist_loom)]
    {
        let _ = stack_size;
        Ok(loom::thread::spawn(run))
    }
}

/// The current time. Under shuttle a clock of the schedule's own tells it.
#[cfg(not(heist_shuttle))]
#[inline]
pub(crate) fn now() -> Instant {
    Instant::now()
}

#[cfg(heist_shuttle)]
pub(crate) use clock::{now, wait_timeout};

/// The clock of a schedule, since shuttle knows no time. Each look at the clock takes a microsecond. A wait with a limit that no thread ends goes on
/// for a random number of turns, and then the clock moves to the limit. So a limit may be reached at any moment, and a schedule can be
/// repeated.
#[cfg(heist_shuttle)]
pub(crate) mod clock {
    use super::{Mutex, MutexGuard, lock, thread};
    use shuttle::rand::{Rng, thread_rng};
    use std::cell::Cell;
    use std::sync::OnceLock;
    use std::time::{Duration, Instant};

    // From std: all threads of a schedule are one thread of the system.
    std::thread_local! {
        static PASSED: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    }

    /// A wait lasts fewer turns than this.
    const TURNS: u32 = 16;

    fn start() -> Instant {
        static START: OnceLock<Instant> = OnceLock::new();
        *START.get_or_init(Instant::now)
    }

    /// The time since some moment in nanoseconds.
    pub(crate) fn nanos() -> u64 {
        PASSED.set(PASSED.get() + Duration::from_micros(1));
        PASSED.get().as_nanos() as u64
    }

    pub(crate) fn now() -> Instant {
        start() + Duration::from_nanos(nanos())
    }

    /// Waits until `woken`, or until the time limit expires. Returns `true` in the second case.
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
