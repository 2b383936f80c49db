//! What the benches share: one kernel for every contestant, its serial program, and the naive pool.
//!
//! A kernel is written once, against [`contract::Join`] or [`contract::Spawn`], and every scheduler runs that code. Each
//! kernel has the plain serial program that a user would write without a scheduler, and every answer is compared with
//! its answer. Only [`through_heist`] knows heist.

#![allow(
    dead_code,
    reason = "each bench uses a part of what they share, and each compiles its own copy"
)]

pub mod coarse;
pub mod contract;
pub mod fib;
pub mod heap_tree;
pub mod integrate;
pub mod maps;
pub mod naive;
pub mod naps;
pub mod queens;
pub mod spawn_tree;
pub mod through_heist;
pub mod uneven_tree;

/// Mixes 64 bits (the finaliser of SplitMix64): the deterministic randomness of the trees and of the item costs.
#[inline]
pub fn mix(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Turns 64 random bits into a number in `(0, 1]`.
#[inline]
pub fn unit_interval(bits: u64) -> f64 {
    ((bits >> 11) + 1) as f64 / (1u64 << 53) as f64
}
