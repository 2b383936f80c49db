//! The forms in which a trace can be shown: a page, packets for Perfetto, folded stacks, words.

mod analysis;
mod curve;
mod fields;
mod folded;
mod histogram;
mod html;
mod json;
mod names;
mod outputs;
mod packed;
mod perfetto;
mod proto;
mod slices;
mod summary;

#[cfg(test)]
mod tests;
