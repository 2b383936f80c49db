//! What the crate asks of the system beyond std: membarrier, a count of forks, a cheap clock. Where one is missing there is
//! an answer that the rest of the crate can live with: so under Miri, which knows neither of the first two.

// Not of the loom seam: a fork is no event of a model.
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

#[cfg(all(target_os = "linux", not(miri)))]
pub(crate) use linux::*;

#[cfg(any(miri, not(target_os = "linux")))]
pub(crate) use portable::*;

#[cfg(all(target_os = "linux", not(miri)))]
mod linux {
    use crate::sync::OnceLock;
    // Not of the loom seam: a fork is no event of a model.
    use std::sync::atomic::{AtomicU64, Ordering};

    static FORKS: AtomicU64 = AtomicU64::new(0);

    extern "C" fn in_child() {
        // ORDERING: Relaxed, the child has one thread.
        FORKS.fetch_add(1, Ordering::Relaxed);
    }

    /// How many `fork()` calls lie between this process and the one that first called here.
    pub(crate) fn fork_generation() -> u64 {
        static REGISTERED: OnceLock<()> = OnceLock::new();
        REGISTERED.get_or_init(|| {
            // SAFETY: the handler is async-signal-safe: it adds to an atomic.
            let _ = unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
        });
        FORKS.load(Ordering::Relaxed)
    }

    /// The count of [`fork_generation`] without the registration: one load.
    #[inline]
    pub(crate) fn forks() -> u64 {
        FORKS.load(Ordering::Relaxed)
    }

    /// A full fence in every running thread of this process. False: the kernel refused.
    pub(crate) fn membarrier() -> bool {
        command(libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED)
    }

    /// Must have returned true before [`membarrier`] is called.
    pub(crate) fn register_membarrier() -> bool {
        command(libc::MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) && membarrier()
    }

    fn command(command: libc::c_int) -> bool {
        // SAFETY: membarrier takes three integers and touches no memory of ours.
        unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) == 0 }
    }
}

#[cfg(any(miri, not(target_os = "linux")))]
mod portable {
    /// Forks are not noticed here.
    pub(crate) fn fork_generation() -> u64 {
        0
    }

    #[inline]
    pub(crate) fn forks() -> u64 {
        0
    }

    /// Never called: the flavour is inline where this file is compiled.
    pub(crate) fn membarrier() -> bool {
        false
    }

    pub(crate) fn register_membarrier() -> bool {
        false
    }
}

/// A lock around something that all pools of a process share. A child made by `fork()` begins with a fresh one: the parent's may have been
/// locked at that moment, by a thread that the child does not have. The parent's is leaked there.
pub(crate) struct PerProcess<T: 'static>(AtomicPtr<Generation<T>>);

struct Generation<T> {
    forks: u64,
    value: T,
}

impl<T: Default + Sync> PerProcess<T> {
    pub(crate) const fn new() -> Self {
        PerProcess(AtomicPtr::new(ptr::null_mut()))
    }

    /// This process's.
    pub(crate) fn get(&self) -> &'static T {
        loop {
            // ORDERING: Acquire pairs with the Release below: the value is there.
            let seen = self.0.load(Ordering::Acquire);
            // SAFETY: null, or leaked below.
            let generation: Option<&'static Generation<T>> = unsafe { seen.as_ref() };
            if let Some(generation) = generation
                && generation.forks == forks()
            {
                return &generation.value;
            }
            let fresh = Box::into_raw(Box::new(Generation {
                forks: forks(),
                value: T::default(),
            }));
            let set = self
                .0
                .compare_exchange(seen, fresh, Ordering::Release, Ordering::Relaxed);
            if set.is_err() {
                // SAFETY: made above, and nobody else has seen it.
                drop(unsafe { Box::from_raw(fresh) });
            }
        }
    }
}

/// A clock for rough durations on one thread. On x86-64 the time stamp counter, a third of the cost of `Instant`.
#[cfg(all(target_arch = "x86_64", not(any(miri, shuttle))))]
#[inline]
pub(crate) fn ticks() -> u64 {
    // SAFETY: every x86-64 processor has the counter.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// A middle value: counters run at 1 to 5 GHz.
#[cfg(all(target_arch = "x86_64", not(any(miri, shuttle))))]
pub(crate) const TICKS_PER_MICROSECOND: u64 = 2_500;

/// A clock for rough durations on one thread, in nanoseconds.
#[cfg(all(not(shuttle), not(all(target_arch = "x86_64", not(miri)))))]
pub(crate) fn ticks() -> u64 {
    use std::time::Instant;
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

#[cfg(shuttle)]
pub(crate) use crate::sync::clock::nanos as ticks;

/// Nanoseconds.
#[cfg(not(all(target_arch = "x86_64", not(any(miri, shuttle)))))]
pub(crate) const TICKS_PER_MICROSECOND: u64 = 1_000;
