//! Traces of a simulated pool in every form.

mod analysis;
mod histogram;
mod hostile;
mod names;
mod page;
mod perfetto;
mod real;
mod samples;
mod synth;
mod text;
