//! Fork-join: work that borrows, split among the pool's threads and waited for before the borrow ends.

// In the order in which the documentation of `ThreadPool` shows their methods, hence the empty lines.
mod join;

mod scope;

mod try_scope;

pub(crate) mod map;

mod install;

mod broadcast;

mod current;

#[cfg(all(test, loom))]
mod models;

pub use current::{
    current_num_threads, current_thread_index, has_pending_tasks, takes_part, yield_local,
    yield_now,
};
pub use join::{join, join_context};
pub(crate) use scope::ScopePtr;
pub use scope::{Scope, scope};
pub use try_scope::{TryScope, try_scope};
