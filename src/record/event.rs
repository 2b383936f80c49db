//! What an event says, and how it is packed into two words: the time and the kind in the first, the rest in the second.

use std::any::type_name;
use std::marker::PhantomData;

/// What a [`Site`](crate::trace::Site) makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum SiteKind {
    /// A fork of `join`.
    Join,
    /// A task of a scope.
    Scope,
    /// A part of a map.
    Map,
    /// A submitted task.
    Task,
    /// A future.
    Future,
    /// A closure of `broadcast`.
    Broadcast,
    /// A closure of `run`.
    Run,
    /// A span of [`span`](crate::span).
    Span,
    /// A mark of [`mark`](crate::mark).
    Mark,
}

/// What runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Work {
    /// A stolen fork of a `join` or a map.
    Fork,
    /// A task of a scope.
    ScopeTask,
    /// A submitted task.
    Task,
    /// A poll of a future.
    Poll,
    /// A closure of `broadcast`.
    Broadcast,
    /// A closure of `run`.
    Run,
}

/// How a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// The closure returned.
    Returned,
    /// The closure panicked.
    Panicked,
    /// The task ended without a result that counts: it was cancelled, or its deadline had passed.
    Cancelled,
    /// The task is a future that waits for its waker.
    Suspended,
}

/// What a thread waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Wait {
    /// A stolen fork.
    Fork,
    /// The tasks of a scope.
    Scope,
    /// A task with a handle.
    Handle,
    /// Something else that happens once.
    Latch,
    /// A blocking call of the user.
    Blocking,
    /// Work: the thread searches, between runs.
    Idle,
}

/// A place that makes work, as the compiler knows it. A record holds its address only.
#[derive(Debug)]
#[repr(align(8))]
pub(crate) struct SiteInfo {
    pub(crate) kind: SiteKind,
    pub(crate) name: fn() -> &'static str,
}

/// The sites that are named after the type `N`.
pub(crate) struct Named<N: ?Sized>(PhantomData<fn(&N)>);

/// Declares the sites of [`Named`].
macro_rules! sites {
    ($($name:ident = $kind:ident;)*) => {
        impl<N: ?Sized> Named<N> {
            $(
                pub(crate) const $name: &'static SiteInfo = &SiteInfo {
                    kind: SiteKind::$kind,
                    name: type_name::<N>,
                };
            )*
        }
    };
}

sites! {
    JOIN = Join;
    SCOPE = Scope;
    TASK = Task;
    FUTURE = Future;
    BROADCAST = Broadcast;
    RUN = Run;
}

/// A site in 32 bits, as an event holds it: the distance from [`ANCHOR`], since all sites of a program lie in its image. 0 if it is unknown, or too far away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct SiteWord(pub(super) u32);

static ANCHOR: SiteInfo = SiteInfo {
    kind: SiteKind::Task,
    name: || "",
};

/// The bits of a distance that are always 0.
const ALIGN_BITS: u32 = 3;

impl SiteWord {
    pub(crate) const UNKNOWN: SiteWord = SiteWord(0);

    #[inline]
    pub(crate) fn of(site: &'static SiteInfo) -> Self {
        let here = (&raw const ANCHOR).expose_provenance() as i64;
        let there = std::ptr::from_ref(site).expose_provenance() as i64;
        let distance = there.wrapping_sub(here) >> ALIGN_BITS;
        i32::try_from(distance).map_or(Self::UNKNOWN, |distance| SiteWord(distance.cast_unsigned()))
    }

    /// The site, if it is known.
    pub(crate) fn site(self) -> Option<&'static SiteInfo> {
        let distance = (i64::from(self.0.cast_signed()) << ALIGN_BITS) as isize;
        let address = (&raw const ANCHOR).addr().wrapping_add_signed(distance);
        let site = std::ptr::with_exposed_provenance::<SiteInfo>(address);
        // SAFETY: a word other than 0 comes from `of`, whose argument lives forever.
        (self.0 != 0).then(|| unsafe { &*site })
    }
}

/// The name of an event's site.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Name {
    Site(SiteWord),
    /// The index of a name of the user in the [`Names`](super::names::Names) of the record.
    User(u32),
}

impl Name {
    /// A number that differs between most names.
    #[inline]
    pub(super) fn hash(self) -> usize {
        match self {
            // The low bits of neighbouring sites differ in one or two places.
            Name::Site(SiteWord(word)) => (word.wrapping_mul(0x9e37_79b9) >> 16) as usize,
            Name::User(number) => number as usize,
        }
    }
}

/// What an event says. Slots stand for tracks, and task numbers have lost their upper half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    ThreadBegin,
    GuestEnter,
    GuestLeave,
    RunBegin {
        what: Work,
        id: u32,
        name: Name,
    },
    RunEnd(Outcome),
    /// The duration is in ticks, rounded down.
    Batch {
        ticks: u64,
        count: u32,
        site: SiteWord,
    },
    Made {
        id: u32,
        name: Name,
    },
    Steal {
        victim: u32,
        what: Work,
        forced: bool,
    },
    WaitBegin {
        on: Wait,
        id: u32,
    },
    WaitEnd,
    Park,
    Unpark,
    Wake {
        whom: u32,
    },
    Depth {
        injector: usize,
        deque: usize,
        ring: usize,
    },
    Finished {
        id: u32,
    },
    Cancelled {
        id: u32,
    },
    TimedOut {
        id: u32,
    },
    Mark(&'static str),
    SpanBegin(&'static str),
    SpanEnd,
}

/// The bits of the first word that hold the kind. The others hold the time, which suffices for 333 days at 2.5 GHz.
const KIND_BITS: u32 = 8;

/// The greatest number of runs in a batch.
pub(super) const MOST_IN_BATCH: u32 = (1 << COUNT_BITS) - 1;
const COUNT_BITS: u32 = 11;

/// The bits of the duration of a batch: an exponent and a mantissa.
const EXPONENT_BITS: u32 = 6;
const MANTISSA_BITS: u32 = 32 - COUNT_BITS - EXPONENT_BITS;

/// Packs a duration of a batch. The result is at most the duration, by less than 1/2^14 of it.
fn pack_ticks(ticks: u64) -> u32 {
    let exponent = (u64::BITS - ticks.leading_zeros()).saturating_sub(MANTISSA_BITS);
    exponent << MANTISSA_BITS | (ticks >> exponent) as u32
}

fn unpack_ticks(packed: u32) -> u64 {
    let mantissa = packed & ((1 << MANTISSA_BITS) - 1);
    u64::from(mantissa) << (packed >> MANTISSA_BITS)
}

/// The bits of the address of a text. Addresses of user space have no more on the platforms of this crate; others are not recorded.
const TEXT_BITS: u32 = 48;

fn pack_text(text: &'static str) -> u64 {
    let address = text.as_ptr().expose_provenance() as u64;
    let most = usize::from(u16::MAX);
    let len = text.floor_char_boundary_of(most) as u64;
    if address >> TEXT_BITS == 0 {
        len << TEXT_BITS | address
    } else {
        0
    }
}

trait FloorCharBoundary {
    fn floor_char_boundary_of(&self, most: usize) -> usize;
}

impl FloorCharBoundary for str {
    /// The greatest length of at most `most` at which the text can be cut.
    fn floor_char_boundary_of(&self, most: usize) -> usize {
        let most = most.min(self.len());
        (0..=most)
            .rev()
            .find(|&at| self.is_char_boundary(at))
            .unwrap_or(0)
    }
}

/// # Safety
/// `packed` comes from [`pack_text`].
unsafe fn unpack_text(packed: u64) -> &'static str {
    let (address, len) = (packed & ((1 << TEXT_BITS) - 1), packed >> TEXT_BITS);
    if len == 0 {
        return "";
    }
    let data = std::ptr::with_exposed_provenance::<u8>(address as usize);
    // SAFETY: the address and the length are those of the beginning of a text that lives forever.
    let bytes = unsafe { std::slice::from_raw_parts(data, len as usize) };
    // SAFETY: the text was cut at a character boundary.
    unsafe { std::str::from_utf8_unchecked(bytes) }
}

/// Numbers for the values of an enum, and back.
macro_rules! codes {
    ($name:ident: $($variant:ident)*) => {
        impl $name {
            const ALL: &'static [$name] = &[$($name::$variant),*];

            fn of_code(code: u8) -> Self {
                Self::ALL[usize::from(code)]
            }
        }
    };
}

codes! { Work: Fork ScopeTask Task Poll Broadcast Run }
codes! { Outcome: Returned Panicked Cancelled Suspended }
codes! { Wait: Fork Scope Handle Latch Blocking Idle }

/// The first kind of each family. What follows is added to it.
mod kind {
    pub(super) const RUN_BEGIN: u8 = 8;
    pub(super) const NAMED_BEGIN: u8 = 16;
    pub(super) const RUN_END: u8 = 24;
    pub(super) const STEAL: u8 = 32;
    pub(super) const WAIT_BEGIN: u8 = 48;
    pub(super) const OTHER: u8 = 64;
}

const fn pair(high: u32, low: u32) -> u64 {
    (high as u64) << 32 | low as u64
}

fn saturated(length: usize, bits: u32) -> u64 {
    (length as u64).min((1 << bits) - 1)
}

impl Entry {
    /// The kind and the second word.
    #[inline(always)]
    fn pack(self) -> (u8, u64) {
        use kind::*;
        match self {
            Entry::ThreadBegin => (1, 0),
            Entry::GuestEnter => (3, 0),
            Entry::GuestLeave => (4, 0),
            Entry::RunBegin { what, id, name } => match name {
                Name::Site(site) => (RUN_BEGIN + what as u8, pair(site.0, id)),
                Name::User(name) => (NAMED_BEGIN + what as u8, pair(name, id)),
            },
            Entry::RunEnd(outcome) => (RUN_END + outcome as u8, 0),
            Entry::Batch { ticks, count, site } => {
                let low = pack_ticks(ticks) << COUNT_BITS | count.min(MOST_IN_BATCH);
                (OTHER, pair(site.0, low))
            }
            Entry::Made { id, name } => match name {
                Name::Site(site) => (OTHER + 1, pair(site.0, id)),
                Name::User(name) => (OTHER + 2, pair(name, id)),
            },
            Entry::Steal {
                victim,
                what,
                forced,
            } => (STEAL + 2 * what as u8 + u8::from(forced), u64::from(victim)),
            Entry::WaitBegin { on, id } => (WAIT_BEGIN + on as u8, u64::from(id)),
            Entry::WaitEnd => (OTHER + 3, 0),
            Entry::Park => (OTHER + 4, 0),
            Entry::Unpark => (OTHER + 5, 0),
            Entry::Wake { whom } => (OTHER + 6, u64::from(whom)),
            Entry::Depth {
                injector,
                deque,
                ring,
            } => {
                let lengths = saturated(injector, 28) << 36 | saturated(deque, 24) << 12;
                (OTHER + 7, lengths | saturated(ring, 12))
            }
            Entry::Finished { id } => (OTHER + 8, u64::from(id)),
            Entry::Cancelled { id } => (OTHER + 9, u64::from(id)),
            Entry::TimedOut { id } => (OTHER + 10, u64::from(id)),
            Entry::Mark(text) => (OTHER + 11, pack_text(text)),
            Entry::SpanBegin(text) => (OTHER + 12, pack_text(text)),
            Entry::SpanEnd => (OTHER + 13, 0),
        }
    }

    /// The words of an event at this time.
    #[inline(always)]
    pub(super) fn words(self, time: u64) -> [u64; 2] {
        let (kind, rest) = self.pack();
        [time << KIND_BITS | u64::from(kind), rest]
    }

    /// The time and the meaning of an event.
    ///
    /// # Safety
    /// [`words`](Self::words) has made the words.
    pub(super) unsafe fn unpack([first, rest]: [u64; 2]) -> (u64, Self) {
        use kind::*;
        let (high, low) = ((rest >> 32) as u32, rest as u32);
        let entry = match first as u8 {
            1 => Entry::ThreadBegin,
            3 => Entry::GuestEnter,
            4 => Entry::GuestLeave,
            code @ RUN_BEGIN..NAMED_BEGIN => Entry::RunBegin {
                what: Work::of_code(code - RUN_BEGIN),
                id: low,
                name: Name::Site(SiteWord(high)),
            },
            code @ NAMED_BEGIN..RUN_END => Entry::RunBegin {
                what: Work::of_code(code - NAMED_BEGIN),
                id: low,
                name: Name::User(high),
            },
            code @ RUN_END..STEAL => Entry::RunEnd(Outcome::of_code(code - RUN_END)),
            code @ STEAL..WAIT_BEGIN => Entry::Steal {
                victim: low,
                what: Work::of_code((code - STEAL) / 2),
                forced: (code - STEAL) % 2 == 1,
            },
            code @ WAIT_BEGIN..OTHER => Entry::WaitBegin {
                on: Wait::of_code(code - WAIT_BEGIN),
                id: low,
            },
            code => match code - OTHER {
                0 => Entry::Batch {
                    ticks: unpack_ticks(low >> COUNT_BITS),
                    count: low & MOST_IN_BATCH,
                    site: SiteWord(high),
                },
                1 => Entry::Made {
                    id: low,
                    name: Name::Site(SiteWord(high)),
                },
                2 => Entry::Made {
                    id: low,
                    name: Name::User(high),
                },
                3 => Entry::WaitEnd,
                4 => Entry::Park,
                5 => Entry::Unpark,
                6 => Entry::Wake { whom: low },
                7 => Entry::Depth {
                    injector: (rest >> 36) as usize,
                    deque: (rest >> 12 & 0xff_ffff) as usize,
                    ring: (rest & 0xfff) as usize,
                },
                8 => Entry::Finished { id: low },
                9 => Entry::Cancelled { id: low },
                10 => Entry::TimedOut { id: low },
                // SAFETY: `pack` has packed a text for these kinds.
                11 => Entry::Mark(unsafe { unpack_text(rest) }),
                // SAFETY: `pack` has packed a text for these kinds.
                12 => Entry::SpanBegin(unsafe { unpack_text(rest) }),
                _ => Entry::SpanEnd,
            },
        };
        (first >> KIND_BITS, entry)
    }
}

#[cfg(test)]
mod tests;
