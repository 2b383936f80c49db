//! Starting and joining the pool's own threads.

use super::registry::Registry;
use super::slot::{Seat, Slot};
use super::{context, worker};
#[cfg(not(loom))]
use crate::sync::thread;
use crate::sync::{Arc, MODEL};
use crate::unwind;
use std::fmt;

#[cfg(not(loom))]
pub(super) type Handle = thread::JoinHandle<()>;
#[cfg(loom)]
pub(super) type Handle = loom::thread::JoinHandle<()>;

/// What a new thread holds: the registry, and with it the slot that was acquired for it.
struct Birth {
    registry: Arc<Registry>,
    slot: usize,
}

/// A worker that has no thread yet. See [`ThreadPoolBuilder::build_on`](super::ThreadPoolBuilder::build_on).
#[must_use = "the pool lacks this worker until `run` is called on a thread of its own"]
pub struct PoolThread {
    registry: Arc<Registry>,
    slot: usize,
    index: usize,
    begun: bool,
}

impl PoolThread {
    /// Of a slot that is acquired for it.
    pub(super) fn new(registry: &Registry, slot: &Slot, index: usize) -> Self {
        PoolThread {
            registry: registry.this.upgrade().expect("heist: the pool is in use"),
            slot: slot.id,
            index,
            begun: false,
        }
    }

    /// Which worker it is.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Works for the pool on the current thread, until the pool ends.
    ///
    /// # Panics
    /// If the thread takes part in a pool already.
    pub fn run(mut self) {
        assert!(
            context::slot().is_none(),
            "heist: a pool's worker must run on a thread that takes part in no pool"
        );
        self.begun = true;
        self.registry.sleep.adopt(self.index);
        live(Birth {
            registry: Arc::clone(&self.registry),
            slot: self.slot,
        });
    }
}

/// Without `run` the pool goes on without this worker.
impl Drop for PoolThread {
    fn drop(&mut self) {
        if !self.begun {
            let slot = self.registry.slot(self.slot);
            self.registry.no_foreign_thread(slot, self.index);
        }
    }
}

impl fmt::Debug for PoolThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolThread")
            .field("index", &self.index)
            .finish_non_exhaustive()
    }
}

/// Starts a thread on `slot`, which is acquired for it and counted awake and searching.
pub(super) fn start(registry: &Registry, slot: &Slot) -> std::io::Result<Handle> {
    let birth = Birth {
        registry: registry.this.upgrade().expect("heist: the pool is in use"),
        slot: slot.id,
    };
    // A model gives an empty name to a thread that is not to start.
    if MODEL
        && let (Seat::Worker(index), Some(name)) = (slot.seat, &registry.config.thread_name)
        && name(index).is_empty()
    {
        return Err(std::io::Error::other("no thread for this worker"));
    }
    #[cfg(not(loom))]
    {
        // A start may happen in the middle of a push: no panic of the name's closure, or over the name, may pass.
        unwind::catch(|| builder(registry, slot).spawn(move || live(birth))).unwrap_or_else(
            |payload| {
                unwind::drop_quietly(payload);
                Err(std::io::Error::other(
                    "the thread_name closure panicked, or its name holds a nul",
                ))
            },
        )
    }
    #[cfg(loom)]
    Ok(loom::thread::spawn(move || live(birth)))
}

#[cfg(not(loom))]
fn builder(registry: &Registry, slot: &Slot) -> thread::Builder {
    let config = &registry.config;
    let name = match (slot.seat, &config.thread_name) {
        (Seat::Worker(index), Some(name)) => name(index),
        (Seat::Worker(index), None) => format!("heist-{index}"),
        _ => "heist-spare".to_owned(),
    };
    let builder = thread::Builder::new().name(name);
    match config.stack_size {
        Some(bytes) => builder.stack_size(bytes),
        None => builder,
    }
}

/// A pool thread's life.
fn live(birth: Birth) {
    let registry = &*birth.registry;
    let slot = registry.slot(birth.slot);
    // Bit 0 is left to the model's own thread.
    #[cfg(loom)]
    let _interrupted = crate::barrier::enter_owner(slot.id + 1);
    let index = match slot.seat {
        Seat::Worker(index) => Some(index),
        _ => None,
    };
    let hook = |hook: &Option<super::builder::Hook>| {
        if let (Some(hook), Some(index)) = (hook, index)
            && let Err(payload) = unwind::catch(|| hook(index))
        {
            registry.lost_panic(payload);
        }
    };
    // As a part of the pool. A hook may take long: meanwhile the thread is busy, so that nobody relies on it to search.
    let hook_inside = |which: &Option<super::builder::Hook>| {
        if which.is_some() && index.is_some() {
            {
                let _context = context::enter(slot);
                registry.put_off();
                hook(which);
            }
            registry.sleep.search();
        }
    };
    context::set_home(slot, stack_size(registry) / 2);
    hook_inside(&registry.config.on_thread_start);
    worker::work(registry, slot);
    let exit = &registry.config.on_thread_exit;
    match index {
        // A thread of the caller's is the only one that its index ever gets.
        Some(index) if registry.config.foreign && exit.is_some() => {
            registry.sleep.adopt(index);
            hook_inside(exit);
            // What the hook has left there; and out again.
            worker::work(registry, slot);
        }
        // The slot may be another thread's, who was started for the same index.
        _ => hook(exit),
    }
    registry.ended(slot);
    // The registry may go with `birth`, and destructors of thread-locals are still to come.
    context::leave_home();
}

/// What a thread gets, as far as is known: std's default may be changed by an environment variable.
pub(super) fn stack_size(registry: &Registry) -> usize {
    let default = || {
        let asked = std::env::var("RUST_MIN_STACK").ok();
        asked
            .and_then(|bytes| bytes.parse().ok())
            .unwrap_or(2 << 20)
    };
    registry.config.stack_size.unwrap_or_else(default)
}

/// Detaches the threads that have ended.
pub(super) fn let_go(handles: &mut Vec<Handle>) {
    #[cfg(not(any(loom, shuttle)))]
    handles.retain(|handle| !handle.is_finished());
    #[cfg(any(loom, shuttle))]
    let _ = handles;
}

/// Waits for the end of a thread.
pub(super) fn join(handle: Handle) {
    // A pool thread catches every panic of the user's; one of our own has been printed.
    let _ = handle.join();
}
