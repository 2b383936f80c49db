//! Fork-join: work that borrows from its caller, which waits for it before the borrow ends.

// The documentation of `ThreadPool` shows methods in the order of these modules. The empty lines keep rustfmt from sorting them.
mod join;

mod measured;

mod scope;

mod try_scope;

pub(crate) mod map;

mod install;

mod broadcast;

mod current;

#[cfg(all(test, heist_loom))]
mod models;

pub use current::*;
pub use join::*;
pub use scope::*;
pub use try_scope::*;
