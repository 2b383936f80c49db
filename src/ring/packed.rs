//! The packed word `ts` of a ring.

/// All indices are below this.
pub(crate) const MAX_INDEX: usize = 1 << INDEX_BITS;

const INDEX_BITS: u32 = 13;
const EPOCH_BITS: u32 = 64 - 2 * INDEX_BITS - 1;

/// The state of a ring that its owner and its thieves change by compare-and-swap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ts {
    /// The entries below this index are stolen.
    pub(crate) top: usize,
    /// The entries from `top` up to but excluding this index are public.
    pub(crate) split: usize,
    /// Whether a thief forces. Only this thief, or a change by the owner, which begins a new epoch, ends that. Set only while the public part
    /// is empty.
    pub(crate) claimed: bool,
    /// The number of changes by the owner, modulo 2^37. For an error, a thief would have to sleep between its load and its CAS for a whole cycle,
    /// which takes 45 minutes at 20 ns a change, and wake at the exact value.
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
