//! What a thread blocks on, in a pool or not: an event that happens once, such as the end of a task.

use super::Parker;
use crate::record::Wait;
use crate::sync::Arc;

/// What a thread waits for, as one word that reports are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Waited(u64);

/// Words from here on are those of places.
const PLACES: u64 = 1 << 62;

/// The numbers of tasks are below.
const KINDS: u64 = 1 << 56;

impl Waited {
    /// Something that has no number.
    pub(crate) const EVENT: Waited = Waited(KINDS);
    /// Work: the thread is a free worker.
    pub(crate) const WORK: Waited = Waited(2 * KINDS);
    /// Any of several tasks.
    pub(crate) const SEVERAL: Waited = Waited(3 * KINDS);
    /// Room in a queue.
    pub(crate) const ROOM: Waited = Waited(4 * KINDS);
    /// A call of the waker of a future.
    pub(crate) const WAKER: Waited = Waited(5 * KINDS);
    /// What the user's code waits for in [`blocking`](crate::blocking()).
    pub(crate) const BLOCKING: Waited = Waited(6 * KINDS);

    /// The end of the task of this number.
    pub(crate) fn task(number: u64) -> Self {
        Waited(number.min(KINDS - 1))
    }

    /// The end of all work that descends from the place of this word.
    pub(crate) fn place(word: u64) -> Self {
        debug_assert!(word >= PLACES);
        Waited(word)
    }

    pub(crate) fn word(self) -> u64 {
        self.0
    }

    /// `None` for 0.
    pub(crate) fn from_word(word: u64) -> Option<Self> {
        (word != 0).then_some(Waited(word))
    }

    /// The number of the task.
    pub(crate) fn as_task(self) -> Option<u64> {
        (self.0 < KINDS).then_some(self.0)
    }

    /// The word of the place.
    pub(crate) fn as_place(self) -> Option<u64> {
        (self.0 >= PLACES).then_some(self.0)
    }
}

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

    /// What a report calls it.
    fn waited(&self) -> Waited {
        Waited::EVENT
    }
}
