//! Starting and joining the pool's own threads.

use super::registry::Registry;
use super::slot::{Seat, Slot};
use super::{ThreadPool, worker};
use crate::sync::Arc;
use crate::unwind;

#[cfg(not(loom))]
pub(super) type Handle = std::thread::JoinHandle<()>;
#[cfg(loom)]
pub(super) type Handle = loom::thread::JoinHandle<()>;

/// What a new thread holds: the registry, and with it the slot that was acquired for it.
struct Birth {
    registry: Arc<Registry>,
    slot: usize,
}

/// Starts a thread on `slot`, which is acquired for it and counted awake and searching.
pub(super) fn start(registry: &Registry, slot: &Slot) -> std::io::Result<Handle> {
    let birth = Birth {
        registry: registry.this.upgrade().expect("heist: the pool is in use"),
        slot: slot.id,
    };
    #[cfg(not(loom))]
    {
        let config = &registry.config;
        let mut builder = std::thread::Builder::new();
        builder = builder.name(match (slot.seat, &config.thread_name) {
            (Seat::Worker(index), Some(name)) => unwind::catch(|| name(index)).map_err(|_| {
                std::io::Error::other(format!("the thread_name closure panicked for {index}"))
            })?,
            (Seat::Worker(index), None) => format!("heist-{index}"),
            _ => "heist-spare".to_owned(),
        });
        if let Some(bytes) = config.stack_size {
            builder = builder.stack_size(bytes);
        }
        builder.spawn(move || live(birth))
    }
    #[cfg(loom)]
    {
        Ok(loom::thread::spawn(move || live(birth)))
    }
}

/// A pool thread's life.
fn live(birth: Birth) {
    let registry = &*birth.registry;
    let slot = registry.slot(birth.slot);
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
    hook(&registry.config.on_thread_start);
    worker::work(registry, slot);
    hook(&registry.config.on_thread_exit);
    registry.ended(slot);
}

/// Waits for the end of a thread.
pub(super) fn join(handle: Handle) {
    // A pool thread catches every panic of the user's; one of our own has been printed.
    let _ = handle.join();
}

impl ThreadPool {
    /// The pool that the current thread takes part in, as one of its threads or as a guest (inside
    /// [`install`](ThreadPool::install), [`scope`](ThreadPool::scope), ...).
    ///
    /// ```
    /// let pool = heist::ThreadPool::new().unwrap();
    /// assert!(heist::ThreadPool::current().is_none());
    /// pool.install(|| assert!(heist::ThreadPool::current().is_some()));
    /// ```
    pub fn current() -> Option<ThreadPool> {
        let slot = super::context::slot()?;
        let registry = slot.registry().this.upgrade()?;
        Some(ThreadPool::from_registry(registry))
    }
}
