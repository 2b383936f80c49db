//! The packed word `ts` of a ring.

/// Indices are below this.
pub(crate) const MAX_INDEX: usize = 1 << INDEX_BITS;

const INDEX_BITS: u32 = 13;
const EPOCH_BITS: u32 = 64 - 2 * INDEX_BITS - 1;

/// Top, split, whether a thief forces, and the epoch of a ring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ts {
    /// Places below are stolen.
    pub(crate) top: usize,
    /// Places from `top` to here are public.
    pub(crate) split: usize,
    /// A thief forces: only it or a change by the owner, which begins a new epoch, ends that. Set only while the public
    /// part is empty.
    pub(crate) claimed: bool,
    /// Counts the owner's changes, modulo 2^37. A thief that sleeps between its load and its CAS would have to miss a
    /// whole turn, at 20 ns and more a change some 45 minutes, and wake on the exact value.
    pub(crate) epoch: u64,
}

impl Ts {
    pub(crate) fn pack(self) -> u64 {
        debug_assert!(self.top <= self.split && self.split < MAX_INDEX);
        let epoch = self.epoch & ((1 << EPOCH_BITS) - 1);
        (self.top as u64)
            | (self.split as u64) << INDEX_BITS
            | u64::from(self.claimed) << (2 * INDEX_BITS)
            | epoch << (2 * INDEX_BITS + 1)
    }

    pub(crate) fn unpack(word: u64) -> Self {
        let field = |shift: u32, bits: u32| (word >> shift) & ((1 << bits) - 1);
        Ts {
            top: field(0, INDEX_BITS) as usize,
            split: field(INDEX_BITS, INDEX_BITS) as usize,
            claimed: field(2 * INDEX_BITS, 1) != 0,
            epoch: field(2 * INDEX_BITS + 1, EPOCH_BITS),
        }
    }
}
