//! What the crate asks of the operating system beyond std: membarrier and a count of forks. Linux has both; elsewhere
//! each has an answer that the rest of the crate can live with.

#[cfg(target_os = "linux")]
pub(crate) use linux::*;

#[cfg(not(target_os = "linux"))]
pub(crate) use portable::*;

#[cfg(target_os = "linux")]
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

#[cfg(not(target_os = "linux"))]
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
