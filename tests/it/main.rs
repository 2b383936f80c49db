//! The public contract, one module a feature.

mod builder;
mod depth;
mod guests;
mod join;
mod lifecycle;
mod map;
mod map_values;
mod mixtures;
mod nested;
mod panics;
mod panics_unseen;
mod properties;
mod run;
mod scope;
mod sources;
mod spawn;
mod stats;
mod strangers;
mod support;
mod waiting;
