//! rayon-core's interface over heist: put in rayon-core's place by `[patch]`, it runs an unedited rayon program on heist.
//!
//! What each item does is what rayon-core's documentation says of it; the comments here say how, and what differs. Nothing is
//! scheduled here: pools start their threads when they are built, have no spare ones, and their waits run anything
//! ([`heist::Waits::Any`]), since rayon's users rely on indices, on errors at build, and on the progress of what they wait for.
//!
//! What differs: forks, tasks of scopes and spawned tasks are in queues of their own, so that which of these kinds begins first is another, also
//! in a yield. rayon-core promises no order; but a program that blocks one of them, on a pool of one thread, until another one has run, and gets
//! on because rayon-core takes the newest of all, waits for ever. The most threads of a pool are [`max_num_threads`], 4,096. A panic that
//! nobody handles aborts the process without a word beyond the panic's own.

#[macro_use]
mod private;

mod broadcast;
mod builder;
mod configuration;
mod error;
mod global;
mod join;
mod pool;
mod scope;
mod spawn;
mod threads;

pub use broadcast::{BroadcastContext, broadcast, spawn_broadcast};
pub use builder::ThreadPoolBuilder;
#[expect(deprecated, reason = "rayon-core still exports them")]
pub use configuration::{Configuration, initialize};
pub use error::ThreadPoolBuildError;
pub use global::{current_num_threads, max_num_threads};
pub use join::{FnContext, join, join_context};
pub use pool::{
    ThreadPool, Yield, current_thread_has_pending_tasks, current_thread_index, yield_local,
    yield_now,
};
pub use scope::{Scope, ScopeFifo, in_place_scope, in_place_scope_fifo, scope, scope_fifo};
pub use spawn::{spawn, spawn_fifo};
pub use threads::ThreadBuilder;
