//! Fork-join: work that borrows, split among the pool's threads and waited for before the borrow ends.

mod broadcast;
mod install;
mod join;
pub(crate) mod map;
mod scope;
mod spawn;

#[cfg(all(test, loom))]
mod models;

pub use join::join;
pub use scope::{Scope, scope};
pub use spawn::{current_thread_index, spawn, yield_now};
