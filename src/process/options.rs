//! The options of a call, and what a pool does with calls that do not set them.

use crate::CancelToken;
use crate::pool::Priority;
use std::sync::Arc;
use std::time::Duration;

/// The options of a call. See [`CallBuilder`](crate::CallBuilder).
#[derive(Clone, Default)]
pub(super) struct CallOptions {
    pub(super) name: Option<Arc<str>>,
    pub(super) id: Option<Arc<str>>,
    pub(super) priority: Priority,
    pub(super) token: Option<CancelToken>,
    pub(super) timeout: Option<Duration>,
    pub(super) tries: Option<u32>,
}

/// What a pool does with calls that do not say otherwise.
#[derive(Clone)]
pub(super) struct Defaults {
    pub(super) tries: u32,
    pub(super) timeout: Option<Duration>,
    /// The longest message in bytes.
    pub(super) max_message: usize,
}
