//! What the crate needs from the system beyond std: membarrier, a count of forks, the settings that threads inherit, the bounds of a stack, and a
//! cheap clock. Where the system lacks one of them, this module returns an answer that the rest of the crate can work with. Under Miri all
//! but the clock are missing.

// From std in models too: a fork is not an event of a model.
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

pub(crate) mod thread;

#[cfg(all(target_os = "linux", not(miri)))]
pub(crate) use linux::*;

#[cfg(any(miri, not(target_os = "linux")))]
pub(crate) use portable::*;

#[cfg(all(target_os = "linux", not(miri)))]
mod linux {
    use crate::sync::OnceLock;
    use std::ops::Range;
    use std::ptr;
    // From std in models too: a fork is not an event of a model.
    use std::sync::atomic::{AtomicU64, Ordering};

    static FORKS: AtomicU64 = AtomicU64::new(0);

    extern "C" fn in_child() {
        // ORDERING: Relaxed: the child has only one thread.
        FORKS.fetch_add(1, Ordering::Relaxed);
    }

    /// The number of `fork()` calls between this process and the one that first called this function.
    pub(crate) fn fork_generation() -> u64 {
        static REGISTERED: OnceLock<()> = OnceLock::new();
        REGISTERED.get_or_init(|| {
            // SAFETY: the handler may run in the child of a process with several threads, because it only adds to an atomic.
            let _ = unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
        });
        FORKS.load(Ordering::Relaxed)
    }

    /// The count of [`fork_generation`], by one load. Does not register the handler.
    #[inline]
    pub(crate) fn forks() -> u64 {
        FORKS.load(Ordering::Relaxed)
    }

    /// Executes a full fence in every running thread of this process. Returns `false` if the kernel refuses.
    pub(crate) fn membarrier() -> bool {
        command(libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED)
    }

    /// Registers the process for [`membarrier`], which works only after this has returned `true`.
    pub(crate) fn register_membarrier() -> bool {
        command(libc::MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) && membarrier()
    }

    fn command(command: libc::c_int) -> bool {
        // SAFETY: membarrier takes three integers and accesses no memory of the process.
        unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) == 0 }
    }

    /// Calls `f` when the process exits by `exit` or by a return from `main`, after the threads-locals of the calling thread were destroyed.
    #[cfg(feature = "trace")]
    pub(crate) fn at_exit(f: extern "C" fn()) {
        // SAFETY: the function may be called in any state of the process, as the caller asserts by its type.
        let _ = unsafe { libc::atexit(f) };
    }

    /// `CLOCK_MONOTONIC` in nanoseconds.
    pub(crate) fn monotonic_ns() -> u64 {
        let mut time = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: `time` has room for the result.
        unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
        time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
    }

    /// The settings that a new thread inherits from the thread that starts it. A setting that the system does not tell is `None` and is not
    /// applied.
    pub(crate) struct ThreadSettings {
        affinity: Option<Processors>,
        schedule: Option<Schedule>,
        signal_mask: Option<libc::sigset_t>,
    }

    /// The kernel's `struct sched_attr` in its first version: policy, niceness and priority, for one system call.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    #[repr(C)]
    struct Schedule {
        size: u32,
        policy: u32,
        flags: u64,
        nice: i32,
        priority: u32,
        /// Used by the deadline policy, together with the next two. In newer kernels it is also the time slice of the normal policies.
        runtime: u64,
        deadline: u64,
        period: u64,
    }

    const SCHEDULE_SIZE: u32 = size_of::<Schedule>() as u32;

    /// A flag of a thread: the threads that it starts inherit neither a real-time policy nor a negative niceness.
    const RESET_ON_FORK: u64 = 1;

    impl ThreadSettings {
        /// The settings that a thread would inherit if the current thread started it now. Makes three system calls.
        pub(crate) fn of_current_thread() -> Self {
            ThreadSettings {
                affinity: affinity(),
                schedule: Schedule::get().map(Schedule::inherited),
                signal_mask: signal_mask(None),
            }
        }

        /// Gives the current thread these settings, as far as the system permits. Makes three system calls if the thread has them already.
        pub(crate) fn apply(&self) {
            if let Some(wanted) = &self.signal_mask {
                signal_mask(Some(wanted));
            }
            if let (Some(wanted), Some(own)) = (&self.affinity, affinity())
                && *wanted != own
            {
                let set = ptr::from_ref(wanted).cast();
                // If the system has taken all of these processors away, the call fails, and the thread keeps its own.
                // SAFETY: the kernel reads as many bytes at the address as the size says, which is that of the set.
                unsafe { libc::sched_setaffinity(0, size_of_val(wanted), set) };
            }
            if let (Some(wanted), Some(own)) = (self.schedule, Schedule::get()) {
                // A niceness that is not permitted fails the whole call. The policy alone may still be permitted.
                let nice = own.nice;
                let _ = wanted == own || wanted.set() || Schedule { nice, ..wanted }.set();
            }
        }
    }

    impl Schedule {
        fn get() -> Option<Self> {
            let mut schedule = Schedule::default();
            let own = &raw mut schedule;
            // SAFETY: the kernel writes at most as many bytes at the address as the size says, which is that of `schedule`.
            let result =
                unsafe { libc::syscall(libc::SYS_sched_getattr, 0, own, SCHEDULE_SIZE, 0) };
            (result == 0).then_some(schedule)
        }

        /// Gives the current thread this schedule. Returns `false` if the system does not permit it.
        fn set(self) -> bool {
            // SAFETY: the kernel reads as many bytes at the address as the first field says, which is the size of the struct.
            unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const self, 0) == 0 }
        }

        /// The schedule of a thread that is started by a thread with this schedule.
        fn inherited(self) -> Self {
            if self.flags & RESET_ON_FORK == 0 {
                return self;
            }
            let is_normal = !matches!(
                self.policy.cast_signed(),
                libc::SCHED_FIFO | libc::SCHED_RR | libc::SCHED_DEADLINE
            );
            Schedule {
                size: self.size,
                policy: if is_normal { self.policy } else { 0 },
                nice: if is_normal { self.nice.max(0) } else { 0 },
                ..Schedule::default()
            }
        }
    }

    /// One bit for each processor, as many as `cpu_set_t` has.
    type Processors = [u64; 16];

    fn affinity() -> Option<Processors> {
        let mut set = Processors::default();
        let room = (&raw mut set).cast();
        // The call fails if there are more processors than the set has room for.
        // SAFETY: the kernel writes at most as many bytes at the address as the size says, which is that of the set.
        let result = unsafe { libc::sched_getaffinity(0, size_of_val(&set), room) };
        (result == 0).then_some(set)
    }

    /// Sets the signal mask of the current thread if `new` is given. Returns the previous mask.
    fn signal_mask(new: Option<&libc::sigset_t>) -> Option<libc::sigset_t> {
        // SAFETY: a signal set consists of integers, for which all zeros are valid.
        let mut old: libc::sigset_t = unsafe { std::mem::zeroed() };
        let new = new.map_or(ptr::null(), ptr::from_ref);
        // SAFETY: (1) `new` is null or points to a mask. (2) `old` has room for a mask.
        let result = unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, new, &raw mut old) };
        (result == 0).then_some(old)
    }

    /// Whether [`stack`] returns an answer.
    pub(crate) const KNOWS_STACKS: bool = true;

    /// The addresses of the current thread's stack. This is slow, so that each thread should call it only once.
    pub(crate) fn stack() -> Option<Range<usize>> {
        // SAFETY: the attributes consist of integers and raw pointers, for which all zeros are valid.
        let mut attributes: libc::pthread_attr_t = unsafe { std::mem::zeroed() };
        // SAFETY: the function has no requirements.
        let this = unsafe { libc::pthread_self() };
        // SAFETY: (1) the current thread is alive. (2) `attributes` has room for the result.
        let result = unsafe { libc::pthread_getattr_np(this, &raw mut attributes) };
        if result != 0 {
            return None;
        }
        let (mut low, mut size) = (ptr::null_mut(), 0);
        // SAFETY: (1) `pthread_getattr_np` has initialised the attributes. (2) `low` and `size` have room for the results.
        let result = unsafe {
            libc::pthread_attr_getstack(&raw const attributes, &raw mut low, &raw mut size)
        };
        // SAFETY: `pthread_getattr_np` has initialised the attributes, and they are not used again.
        unsafe { libc::pthread_attr_destroy(&raw mut attributes) };
        let (low, high) = (low.addr(), low.addr() + size);
        let low = growth_limit().map_or(low, |limit| low.min(high.saturating_sub(limit)));
        (result == 0).then_some(low..high)
    }

    /// The size to which the stack of the process's first thread may grow, if the current thread is that one and the C library is musl, which
    /// reports the present size of that stack.
    fn growth_limit() -> Option<usize> {
        // SAFETY: the system call takes no arguments.
        let thread = unsafe { libc::syscall(libc::SYS_gettid) };
        let process = libc::c_long::from(std::process::id().cast_signed());
        if !cfg!(target_env = "musl") || thread != process {
            return None;
        }
        // SAFETY: the struct consists of integers, for which all zeros are valid.
        let mut limit: libc::rlimit = unsafe { std::mem::zeroed() };
        // SAFETY: `limit` has room for the result.
        let result = unsafe { libc::getrlimit(libc::RLIMIT_STACK, &raw mut limit) };
        (result == 0 && limit.rlim_cur != libc::RLIM_INFINITY)
            .then(|| usize::try_from(limit.rlim_cur).ok())
            .flatten()
    }
}

#[cfg(any(miri, not(target_os = "linux")))]
mod portable {
    /// Always 0: forks are not detected on this system.
    pub(crate) fn fork_generation() -> u64 {
        0
    }

    #[inline]
    pub(crate) fn forks() -> u64 {
        0
    }

    /// Never called: the fences are inline on this system.
    pub(crate) fn membarrier() -> bool {
        false
    }

    pub(crate) fn register_membarrier() -> bool {
        false
    }

    /// Does nothing on this system.
    #[cfg(feature = "trace")]
    pub(crate) fn at_exit(_: extern "C" fn()) {}

    /// A monotonic clock in nanoseconds.
    pub(crate) fn monotonic_ns() -> u64 {
        use std::time::Instant;
        static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        START.get_or_init(Instant::now).elapsed().as_nanos() as u64
    }

    /// Empty: the settings of threads are not known on this system.
    pub(crate) struct ThreadSettings;

    impl ThreadSettings {
        pub(crate) fn of_current_thread() -> Self {
            ThreadSettings
        }

        pub(crate) fn apply(&self) {}
    }

    pub(crate) const KNOWS_STACKS: bool = false;

    pub(crate) fn stack() -> Option<std::ops::Range<usize>> {
        None
    }
}

/// A value, usually with a lock, that all pools of a process share. A child process made by `fork()` begins with a new value and leaks the parent's,
/// whose lock may have been held at that moment by a thread that the child does not have.
pub(crate) struct PerProcess<T: 'static>(AtomicPtr<Generation<T>>);

struct Generation<T> {
    forks: u64,
    value: T,
}

impl<T: Default + Sync> PerProcess<T> {
    pub(crate) const fn new() -> Self {
        PerProcess(AtomicPtr::new(ptr::null_mut()))
    }

    /// The value of this process.
    pub(crate) fn get(&self) -> &'static T {
        loop {
            // ORDERING: Acquire pairs with the Release in the compare-and-swap: the value is visible.
            let seen = self.0.load(Ordering::Acquire);
            // SAFETY: the pointer is null, or it came from `Box::into_raw` and was published. Published values are never freed.
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
                // SAFETY: `fresh` came from `Box::into_raw`, and was not published because the compare-and-swap failed.
                drop(unsafe { Box::from_raw(fresh) });
            }
        }
    }
}

/// A clock for rough durations on one thread: the time stamp counter, which takes a third of the time of `Instant`.
#[cfg(all(target_arch = "x86_64", not(any(miri, heist_shuttle))))]
#[inline]
pub(crate) fn ticks() -> u64 {
    // SAFETY: every x86-64 processor has the time stamp counter.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// An approximate value, since counters run at 1 to 5 GHz.
#[cfg(all(target_arch = "x86_64", not(any(miri, heist_shuttle))))]
pub(crate) const TICKS_PER_MICROSECOND: u64 = 2_500;

/// A clock for rough durations on one thread, in nanoseconds.
#[cfg(all(not(heist_shuttle), not(all(target_arch = "x86_64", not(miri)))))]
pub(crate) fn ticks() -> u64 {
    use std::time::Instant;
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

#[cfg(heist_shuttle)]
pub(crate) use crate::sync::clock::nanos as ticks;

/// Exact, since a tick is a nanosecond.
#[cfg(not(all(target_arch = "x86_64", not(any(miri, heist_shuttle)))))]
pub(crate) const TICKS_PER_MICROSECOND: u64 = 1_000;

/// Whether all [`ticks`] have the same length: the counter runs at one rate in all states of the processor, and never stops.
#[cfg(all(target_arch = "x86_64", not(any(miri, heist_shuttle))))]
#[allow(
    unused_unsafe,
    reason = "the function is unsafe in Rust 1.88 and safe in newer versions"
)]
pub(crate) fn counter_is_steady() -> bool {
    const POWER: u32 = 0x8000_0007;
    // SAFETY: every x86-64 processor has the instruction, and it returns zeros for leaves that it does not know.
    let highest = unsafe { core::arch::x86_64::__cpuid(0x8000_0000) };
    if highest.eax < POWER {
        return false;
    }
    // SAFETY: every x86-64 processor has the instruction.
    let power = unsafe { core::arch::x86_64::__cpuid(POWER) };
    power.edx & (1 << 8) != 0
}

/// Always, since a tick is a nanosecond.
#[cfg(not(all(target_arch = "x86_64", not(any(miri, heist_shuttle)))))]
pub(crate) fn counter_is_steady() -> bool {
    true
}
