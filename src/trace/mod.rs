//! What a pool did: a record of its threads, and the forms in which a program can show it.

#[cfg(feature = "trace")]
mod analysis;
#[cfg(feature = "trace")]
mod curve;
#[cfg(feature = "trace")]
mod fields;
#[cfg(feature = "trace")]
mod folded;
#[cfg(feature = "trace")]
mod histogram;
#[cfg(feature = "trace")]
mod html;
#[cfg(feature = "trace")]
mod json;
#[cfg_attr(
    not(feature = "trace"),
    expect(dead_code, reason = "the exporters read it")
)]
mod model;
#[cfg(feature = "trace")]
mod names;
#[cfg(feature = "trace")]
mod outputs;
#[cfg(feature = "trace")]
mod packed;
#[cfg(feature = "trace")]
mod perfetto;
#[cfg(feature = "trace")]
mod proto;
#[cfg(feature = "trace")]
mod slices;
#[cfg(feature = "trace")]
mod summary;

#[cfg(all(test, feature = "trace"))]
mod tests;

pub use model::{Event, EventKind, Outcome, Site, SiteKind, Trace, Track, TrackRole, Wait, Work};
