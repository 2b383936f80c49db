//! The record of what a thread does: a ring of events that are 16 bytes long, with the time of each. A pool that is not traced has none.
//!
//! A thread writes an event where something rare happens: a steal, a park, a wait that finds nothing to run, the begin and the end of a submitted task. Short
//! tasks of scopes would take longer with two readings of the clock each. So they are recorded in *batches*: the thread counts them, reads the clock after
//! some of them, and writes one event when the batch has lasted for the *resolution*. Any other event ends the batch first. If a task of a scope is running
//! then, its begin is written before that event, and its end is written when it ends, so that whatever happens during a run lies between its begin and its end.
//!
//! A batch begins where the last event ended. In a thread that goes from run to run, the end of one run is the begin of the next, and the clock is read once
//! for both.
//!
//! **Invariant.** One thread at a time writes to a recorder: the owner of the slot that the recorder belongs to, or the thread outside the pool that has it.

mod event;
mod names;
mod places;
mod recorder;
mod ring;
mod session;

pub(crate) use event::{Entry, Name, Named, SiteInfo, SiteWord};
pub use event::{Outcome, SiteKind, Wait, Work};
pub(crate) use places::Place;
pub(crate) use recorder::Recorder;
pub use session::TraceSettings;
pub(crate) use session::{Recorded, Recording, Snapshot};
