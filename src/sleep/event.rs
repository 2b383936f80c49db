//! What a thread blocks on, in a pool or not: an event that happens once, such as the end of a task.

use super::Parker;
use crate::record::Wait;
use crate::sync::Arc;

/// Something that happens once and wakes the threads that have registered a parker. Any thread can wait for it, in a pool or not.
pub(crate) trait Event {
    fn is_set(&self) -> bool;

    /// What a record says about a wait for it, with the number of the task, or 0.
    fn kind(&self) -> (Wait, u64) {
        (Wait::Latch, 0)
    }

    /// Registers `parker`, which the thread that sets the event wakes. Returns `false`, without registering it, if the event is set.
    fn register(&self, parker: &Arc<Parker>) -> bool;

    /// Undoes `register`.
    fn unregister(&self, parker: &Arc<Parker>);
}
