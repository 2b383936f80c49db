//! What a pool did: a record of its threads, and the forms in which a program can show it.

#[expect(dead_code, reason = "the exporters and the recorder use it")]
mod model;

pub use model::{Event, EventKind, Outcome, Site, SiteKind, Trace, Track, TrackRole, Wait, Work};
