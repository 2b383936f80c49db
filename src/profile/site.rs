//! The parts of a program to which a profile attributes time.

use crate::record::{Named, SiteInfo};
use std::panic::Location;
use std::ptr;

/// Which closure of a place a time belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Part {
    /// The only one.
    Whole,
    /// The first closure of a `join`.
    First,
    /// The second closure of a `join`.
    Second,
    /// Both closures of a `join` that was measured as a whole.
    Both,
}

/// The code that runs during a strand: a closure and where it was passed on, or a span of the user.
#[derive(Clone, Copy, Debug)]
pub(crate) enum SiteRef {
    Closure {
        info: &'static SiteInfo,
        at: Option<&'static Location<'static>>,
        part: Part,
    },
    Span(&'static str),
}

impl SiteRef {
    /// A closure that is the only one of its place.
    pub(crate) fn whole(info: &'static SiteInfo, at: Option<&'static Location<'static>>) -> Self {
        let part = Part::Whole;
        SiteRef::Closure { info, at, part }
    }

    /// A number that differs for most sites. Equal sites have equal numbers.
    pub(super) fn hash(self) -> u64 {
        let (first, second) = match self {
            SiteRef::Closure { info, at, part } => (
                ptr::from_ref(info).addr(),
                at.map_or(0, |at| ptr::from_ref(at).addr()) ^ part as usize,
            ),
            SiteRef::Span(name) => (name.as_ptr().addr(), name.len()),
        };
        mixed(first as u64, second as u64)
    }
}

/// Mixes two words into one whose upper bits depend on all of theirs.
pub(super) fn mixed(first: u64, second: u64) -> u64 {
    (first.rotate_left(23) ^ second).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl PartialEq for SiteRef {
    fn eq(&self, other: &Self) -> bool {
        match (*self, *other) {
            (
                SiteRef::Closure { info, at, part },
                SiteRef::Closure {
                    info: other_info,
                    at: other_at,
                    part: other_part,
                },
            ) => {
                let place = |at: Option<&'static Location<'static>>| at.map(ptr::from_ref);
                ptr::eq(info, other_info) && place(at) == place(other_at) && part == other_part
            }
            (SiteRef::Span(name), SiteRef::Span(other)) => name == other,
            _ => false,
        }
    }
}

impl Eq for SiteRef {}

/// The closures of a `join`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct JoinSites {
    first: &'static SiteInfo,
    second: &'static SiteInfo,
    at: &'static Location<'static>,
}

impl JoinSites {
    pub(crate) fn of<A, B>(at: &'static Location<'static>) -> Self {
        JoinSites {
            first: Named::<A>::JOIN,
            second: Named::<B>::JOIN,
            at,
        }
    }

    pub(crate) fn part(self, part: Part) -> SiteRef {
        let info = match part {
            Part::First => self.first,
            Part::Whole | Part::Second | Part::Both => self.second,
        };
        let at = Some(self.at);
        SiteRef::Closure { info, at, part }
    }
}
