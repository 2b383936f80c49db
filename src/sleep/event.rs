//! What a thread blocks on, in a pool or not: an event that happens once, such as the end of a task.

use super::Parker;
use crate::sync::Arc;

/// Something that happens once and wakes the threads that have registered a parker. Any thread can wait for it, in a pool or not.
pub(crate) trait Event {
    fn is_set(&self) -> bool;

    /// Registers `parker`, which the thread that sets the event wakes. Returns `false`, without registering it, if the event is set.
    fn register(&self, parker: &Arc<Parker>) -> bool;

    /// Undoes `register`.
    fn unregister(&self, parker: &Arc<Parker>);
}
