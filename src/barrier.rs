//! The asymmetric fence: free on the side that runs millions of times, paid by the side that runs rarely.
//!
//! In a *store-load pair* each of two threads writes one word and then reads the word that the other writes. At least one of them must read the new
//! value. That needs a full fence between the write and the read on both sides. Here the hot side (the owner of a ring) calls [`light`], and the
//! rare side (a thief that forces, a worker about to park) calls [`heavy`]:
//!
//! | variant | `light` | `heavy` | where |
//! |---|---|---|---|
//! | asymmetric | a compiler fence | `membarrier(PRIVATE_EXPEDITED)`: the kernel puts a full fence into every running thread of the process | Linux |
//! | inline | `fence(SeqCst)` | `fence(SeqCst)` | other systems, fixed when the crate is compiled |
//! | strict | a compiler fence, but rings send every push and pop to a slow path that fences | `fence(SeqCst)` | Linux where the kernel refuses membarrier at the start, or `HEIST_STRICT` is set |
//!
//! The code distinguishes two flavours: [`Flavour::Paired`] stands for the asymmetric and the inline variant, in which the two fences of a pair order
//! it, and [`Flavour::Strict`] for the strict one. The flavour is fixed once for each process, before the first ring exists ([`flavour`]). If the
//! kernel refuses membarrier *later* (because of a seccomp filter), [`heavy`] returns `false`, and the caller must not rely on the pair.
//!
//! The kernel executes one membarrier at a time, and each interrupts all cores that run the process. Threads that need one while another is
//! being executed therefore share the next one ([`Shared`]), and a thief that would force a fork first waits for as long as a membarrier
//! takes ([`cost`]).
//!
//! Under loom `light` is a poll point: it executes a fence if a `heavy` has requested one, and otherwise does nothing. This models an interrupt
//! that the kernel sends at an arbitrary moment.

#[cfg(any(not(heist_loom), test))]
use crate::sync::{AtomicU64, Mutex, Ordering, fence, lock};

#[cfg(not(heist_loom))]
pub(crate) use real::*;

#[cfg(heist_loom)]
pub(crate) use model::*;

/// The way in which rings and sleepers order their store-load pairs in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavour {
    /// `light` is free and `heavy` interrupts every core, or both are real fences, inline.
    Paired,
    /// `light` orders nothing, so that rings must take their slow paths, which fence.
    Strict,
}

/// A heavy fence that several threads share.
#[cfg(any(not(heist_loom), test))]
#[derive(Debug, Default)]
struct Shared {
    /// How many have begun.
    begun: AtomicU64,
    /// Locked while one is being executed. Whether the kernel executed the last one.
    executed: Mutex<bool>,
}

#[cfg(any(not(heist_loom), test))]
impl Shared {
    /// Returns after a fence that began after this call: one that another thread has executed in the meantime, or else one that is executed
    /// here. Returns whether the kernel executed it.
    fn fence(&self, execute: impl FnOnce() -> bool) -> bool {
        // ORDERING: Store-load pair: {the caller's word; fence; begun} here, {begun; the fence with which `execute` begins} below. A fence that is
        // counted after this read therefore comes after what the caller wrote.
        fence(Ordering::SeqCst);
        let before = self.begun.load(Ordering::Relaxed);
        let mut executed = lock(&self.executed);
        // ORDERING: Relaxed: the count changes under the lock only.
        if self.begun.load(Ordering::Relaxed) == before {
            self.begun.store(before + 1, Ordering::Relaxed);
            *executed = execute();
        }
        *executed
    }
}

#[cfg(not(heist_loom))]
mod real {
    use super::{Flavour, Shared};
    use crate::sync::{OnceLock, Ordering, fence};
    use crate::sys::{PerProcess, membarrier, ticks};
    // From std: the value is a hint.
    use std::sync::atomic::AtomicU64;

    const ASYMMETRIC: bool = cfg!(all(target_os = "linux", not(miri)));

    /// The fence of the hot side. See the module.
    #[inline(always)]
    pub(crate) fn light() {
        if ASYMMETRIC {
            std::sync::atomic::compiler_fence(Ordering::SeqCst);
            // The owner's fence of each pair would be here.
            #[cfg(heist_delays)]
            crate::sync::turn();
        } else {
            fence(Ordering::SeqCst);
        }
    }

    /// The fence of the rare side. Returns `false` if the kernel has begun to refuse, so that nothing was ordered on the other threads.
    #[must_use]
    pub(crate) fn heavy() -> bool {
        fence(Ordering::SeqCst);
        match flavour() {
            // Shuttle runs all threads on one thread of the system and orders everything.
            Flavour::Paired if ASYMMETRIC && !cfg!(heist_shuttle) => shared_membarrier(),
            _ => true,
        }
    }

    /// The running average of the time that a membarrier takes, in ticks.
    static COST: AtomicU64 = AtomicU64::new(0);

    fn shared_membarrier() -> bool {
        static SHARED: PerProcess<Shared> = PerProcess::new();
        SHARED.get().fence(|| {
            let start = ticks();
            let executed = membarrier();
            let average = cost();
            // A thread that is preempted in the middle measures something else.
            let took = ticks().wrapping_sub(start).min(8 * average.max(500));
            COST.store(average - average / 8 + took / 8, Ordering::Relaxed);
            executed
        })
    }

    /// The average time that [`heavy`] has taken lately, in [`ticks`]. 0 where it is a plain fence.
    pub(crate) fn cost() -> u64 {
        COST.load(Ordering::Relaxed)
    }

    /// The flavour of this process. The first call registers the process with the kernel.
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

#[cfg(heist_loom)]
mod model {
    use super::Flavour;
    use crate::sync::{AtomicUsize, Ordering, fence};
    use std::cell::Cell;

    loom::lazy_static! {
        /// The owners that `heavy` interrupts: bit n is set until owner n has executed its fence.
        static ref ASKED: AtomicUsize = AtomicUsize::new(0);
        /// The owners that are running: bit n is set while owner n runs.
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

    /// For models: sets the flavour of the rings that this model creates.
    pub(crate) fn set_flavour(flavour: Flavour) {
        FLAVOUR.with(|cell| cell.set(flavour));
    }

    /// For models: lets `heavy` interrupt the current thread from now until the guard is dropped.
    pub(crate) fn enter_owner(bit: usize) -> OwnerGuard {
        // Only paired fences interrupt threads.
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

    /// Declares that the current thread is about to block, so that `heavy` does not wait for it until the guard is dropped. The kernel
    /// interrupts running threads only, and a context switch is a full fence.
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
        // Relaxed: the poll must order nothing unless an interrupt is due.
        if ASKED.load(Ordering::Relaxed) & (1 << bit) != 0 {
            fence(Ordering::SeqCst);
            ASKED.fetch_and(!(1 << bit), Ordering::SeqCst);
        }
    }

    /// Always 0: a model has no time.
    pub(crate) fn cost() -> u64 {
        0
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

#[cfg(all(test, heist_loom))]
mod models {
    use super::*;
    use crate::sync::{Arc, AtomicBool};
    use crate::testing::{Seen, small_model};

    /// Two threads each need a heavy fence, and each reads the word of the owner after it. Whichever of them executes the fence: if a thread misses
    /// the owner's word, the owner has seen that thread's.
    #[test]
    fn two_threads_share_a_fence() {
        let seen = Seen::default();
        let marks = seen.clone();
        small_model(move || {
            set_flavour(Flavour::Paired);
            let shared = Arc::new(Shared::default());
            let words = Arc::new([(); 3].map(|()| AtomicBool::new(false)));
            let others = [1, 2].map(|own| {
                let (shared, words, marks) =
                    (Arc::clone(&shared), Arc::clone(&words), marks.clone());
                loom::thread::spawn(move || {
                    words[own].store(true, Ordering::Relaxed);
                    let mut executes = false;
                    assert!(shared.fence(|| {
                        executes = true;
                        heavy()
                    }));
                    marks.mark(if executes { "its own" } else { "another's" });
                    words[0].load(Ordering::Relaxed)
                })
            });
            let interrupted = enter_owner(0);
            words[0].store(true, Ordering::Relaxed);
            light();
            let met = [1, 2].map(|other| words[other].load(Ordering::Relaxed));
            drop(interrupted);
            for (other, met) in others.into_iter().zip(met) {
                assert!(other.join().unwrap() || met, "both missed the other's word");
            }
        });
        seen.check(&["its own", "another's"]);
    }
}
