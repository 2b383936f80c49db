//! The options of a call, and what a pool does with calls that do not set them.

use super::codec::Format;
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
pub(crate) struct Defaults {
    pub(crate) tries: u32,
    pub(crate) timeout: Option<Duration>,
    /// The longest message in bytes.
    pub(crate) max_message: usize,
    pub(crate) format: Format,
    /// Whether calls may have ids, by which their results are kept.
    pub(crate) takes_ids: bool,
}

impl Default for Defaults {
    fn default() -> Self {
        Defaults {
            tries: 1,
            timeout: None,
            max_message: 1 << 30,
            format: Format::Compact,
            takes_ids: false,
        }
    }
}
