//! The shim: rayon-core's interface over heist. Put in rayon-core's place by `[patch]`, it runs an unedited rayon program on heist.
//!
//! rayon-core's documentation says what each item does. The comments here say how, and what differs. The shim schedules nothing. Its pools start
//! their threads when they are built and have no spare threads, and a wait runs any work of the pool ([`heist::Waits::Any`]): users of rayon rely
//! on thread indices, on errors at build, and on the progress of what they wait for.
//!
//! # Differences
//! - Forks, tasks of scopes and spawned tasks have separate queues. So the kinds may begin in another order than in rayon-core, which promises
//!   none. A program hangs here if it has a pool of one thread, blocks one piece of work until another one has run, and relies on rayon-core
//!   taking the newest of all kinds.
//! - A pool has at most [`max_num_threads`] threads, 4,096.
//! - A panic that nobody handles aborts the process, and prints nothing but the message of the panic.

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
mod settings;
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
