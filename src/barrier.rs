//! The asymmetric fence: free on the side that runs millions of times, paid by the side that runs rarely.
//!
//! A Dekker pair lets each of two threads write one word and read the other's, and promises that not both read
//! the old value. It needs a full fence between write and read on both sides. Here the hot side (a ring's owner)
//! calls [`light`], the rare side (a thief that forces, a worker about to park) calls [`heavy`]:
//!
//! | flavour | `light` | `heavy` | where |
//! |---|---|---|---|
//! | asymmetric | a compiler fence | `membarrier(PRIVATE_EXPEDITED)`: the kernel puts a full fence into every running thread of the process | Linux |
//! | inline | `fence(SeqCst)` | `fence(SeqCst)` | other systems, fixed when the crate is compiled |
//! | strict | a compiler fence, but rings send every push and pop to a slow path that fences | `fence(SeqCst)` | Linux where the kernel refuses membarrier at the start, or `HEIST_STRICT` is set |
//!
//! The flavour is fixed once per process, before the first ring exists ([`flavour`]). A kernel that refuses
//! membarrier *later* (a seccomp filter) makes [`heavy`] return false: then the caller must not rely on the pair.
//!
//! Under loom `light` is a poll point: it executes a fence when some `heavy` has asked for one and does nothing
//! else, which is what an interrupt that the kernel sends at an arbitrary moment amounts to.

#[cfg(not(loom))]
pub(crate) use real::*;

#[cfg(loom)]
pub(crate) use model::*;

/// How rings and sleepers order their Dekker pairs in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavour {
    /// `light` is free, `heavy` interrupts every core; or both are real fences, inline.
    Paired,
    /// `light` orders nothing: rings must take their slow paths, which fence.
    Strict,
}

#[cfg(not(loom))]
mod real {
    use super::Flavour;
    use crate::sync::{OnceLock, Ordering, fence};

    const ASYMMETRIC: bool = cfg!(all(target_os = "linux", not(miri)));

    /// The hot side's fence; see the module.
    #[inline(always)]
    pub(crate) fn light() {
        if ASYMMETRIC {
            std::sync::atomic::compiler_fence(Ordering::SeqCst);
            // The place of the owner's half of each pair.
            #[cfg(heist_delays)]
            crate::sync::turn();
        } else {
            fence(Ordering::SeqCst);
        }
    }

    /// The rare side's fence. False: the kernel has begun to refuse, nothing was ordered on the other threads.
    #[must_use]
    pub(crate) fn heavy() -> bool {
        fence(Ordering::SeqCst);
        match flavour() {
            // Shuttle takes turns on one thread of the system's, and orders everything.
            Flavour::Paired if ASYMMETRIC && !cfg!(shuttle) => crate::sys::membarrier(),
            _ => true,
        }
    }

    /// The flavour of this process. The first call registers with the kernel.
    pub(crate) fn flavour() -> Flavour {
        static FLAVOUR: OnceLock<Flavour> = OnceLock::new();
        *FLAVOUR.get_or_init(|| {
            let forced = std::env::var_os("HEIST_STRICT").is_some_and(|value| value != "0");
            if !ASYMMETRIC || (!forced && crate::sys::register_membarrier()) {
                Flavour::Paired
            } else {
                Flavour::Strict
            }
        })
    }
}

#[cfg(loom)]
mod model {
    use super::Flavour;
    use crate::sync::{AtomicUsize, Ordering, fence};
    use std::cell::Cell;

    loom::lazy_static! {
        /// The owners that `heavy` interrupts: bit n is set while owner n has yet to execute its fence.
        static ref ASKED: AtomicUsize = AtomicUsize::new(0);
        /// The owners that are running: bit n.
        static ref OWNERS: AtomicUsize = AtomicUsize::new(0);
    }

    loom::thread_local! {
        static OWNER: Cell<Option<usize>> = Cell::new(None);
    }

    std::thread_local! {
        static FLAVOUR: Cell<Flavour> = const { Cell::new(Flavour::Strict) };
    }

    pub(crate) fn flavour() -> Flavour {
        FLAVOUR.with(Cell::get)
    }

    /// For models: the flavour of the rings that this model creates.
    pub(crate) fn set_flavour(flavour: Flavour) {
        FLAVOUR.with(|cell| cell.set(flavour));
    }

    /// For models: the current thread is interrupted by `heavy` from now until the guard is dropped.
    pub(crate) fn enter_owner(bit: usize) -> OwnerGuard {
        // Where nothing is paired nobody interrupts.
        let bit = (flavour() == Flavour::Paired).then_some(bit);
        if let Some(bit) = bit {
            OWNER.with(|cell| cell.set(Some(bit)));
            switch_in(bit);
        }
        OwnerGuard(bit)
    }

    pub(crate) struct OwnerGuard(Option<usize>);

    impl Drop for OwnerGuard {
        fn drop(&mut self) {
            if let Some(bit) = self.0 {
                switch_out(bit);
                OWNER.with(|cell| cell.set(None));
            }
        }
    }

    /// The current thread is about to block: `heavy` need not wait for it until the guard is dropped. The kernel interrupts
    /// running threads only; a switch is a full fence.
    pub(crate) fn blocked() -> Blocked {
        let bit = OWNER.with(Cell::get);
        if let Some(bit) = bit {
            switch_out(bit);
        }
        Blocked(bit)
    }

    pub(crate) struct Blocked(Option<usize>);

    impl Drop for Blocked {
        fn drop(&mut self) {
            if let Some(bit) = self.0 {
                switch_in(bit);
            }
        }
    }

    fn switch_in(bit: usize) {
        OWNERS.fetch_or(1 << bit, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    fn switch_out(bit: usize) {
        fence(Ordering::SeqCst);
        OWNERS.fetch_and(!(1 << bit), Ordering::SeqCst);
        ASKED.fetch_and(!(1 << bit), Ordering::SeqCst);
    }

    pub(crate) fn light() {
        let Some(bit) = OWNER.with(Cell::get) else {
            return;
        };
        // Relaxed: the poll itself must order nothing unless an interrupt is due.
        if ASKED.load(Ordering::Relaxed) & (1 << bit) != 0 {
            fence(Ordering::SeqCst);
            ASKED.fetch_and(!(1 << bit), Ordering::SeqCst);
        }
    }

    #[must_use]
    pub(crate) fn heavy() -> bool {
        fence(Ordering::SeqCst);
        if flavour() == Flavour::Paired {
            let own = OWNER.with(Cell::get).map_or(0, |bit| 1 << bit);
            let others = OWNERS.load(Ordering::SeqCst) & !own;
            ASKED.fetch_or(others, Ordering::SeqCst);
            while ASKED.load(Ordering::SeqCst) & OWNERS.load(Ordering::SeqCst) & others != 0 {
                light();
                loom::thread::yield_now();
            }
            fence(Ordering::SeqCst);
        }
        true
    }
}
