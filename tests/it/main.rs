//! The public contract, one module a feature.

mod admission;
mod builder;
mod deadlocks;
mod depth;
mod ending;
mod guests;
mod handles;
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
mod several;
mod sources;
mod spawn;
mod stats;
mod strangers;
mod support;
mod tokens;
mod waiting;
