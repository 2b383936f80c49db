//! The events of a trace in the bytes that the page holds.
//!
//! All numbers are varints: seven bits a byte, lowest first. A signed number is zigzag: 0, -1, 1, -2 are 0, 1, 2, 3. Times are differences
//! in nanoseconds. `page/data.js` reads this format, and so do the tests.
//!
//! ```text
//! page      = VERSION, number of tracks, track..
//! track     = presences, slices, instants, depths           each of them: number of items, item..
//! presence  = time since the end of the one before, length
//! slice     = tag: kind (4 bits), has site (1), id (2), has extra (1)
//!             [extra: outcome (2 bits), stolen, by force, beginning lost, not ended]
//!             signed time since the end of the slice before, length, [site], [signed id - last id], [count], [victim]
//! instant   = tag: kind (3 bits), id (2), has site (1)
//!             time since the one before, [site], [signed id - last id], [track]
//! depth     = time since the one before, common queue, own deque, own ring
//! ```
//!
//! A slice or instant without `has site` has the site of the one before. Id is 0 for none, 1 for the last id + 1, 2 for another one.

use super::slices::{Lane, Slice, SliceKind, lay_out};
use crate::trace::model::{Event, EventKind, Outcome, Trace, Wait, Work};

pub(super) const VERSION: u64 = 1;

/// Ids are kept modulo this, so that the page's numbers hold them exactly: the largest prime below 2^53.
pub(super) const ID_LIMIT: u64 = (1 << 53) - 111;

/// The bytes of a trace. `site` gives the number of a site in the page.
pub(super) fn pack(trace: &Trace, site: &dyn Fn(u32) -> u32) -> Vec<u8> {
    let mut packer = Packer {
        bytes: Vec::new(),
        site,
        last_site: 0,
        last_id: 0,
    };
    packer.unsigned(VERSION);
    packer.unsigned(trace.tracks.len() as u64);
    for track in &trace.tracks {
        let lane = lay_out(track, trace.taken);
        packer.lane(&lane);
    }
    packer.bytes
}

/// The code of a kind of slice.
pub(super) fn code_of_slice(kind: SliceKind) -> u8 {
    match kind {
        SliceKind::Run(Work::Fork) => 0,
        SliceKind::Run(Work::ScopeTask) => 1,
        SliceKind::Run(Work::Task) => 2,
        SliceKind::Run(Work::Poll) => 3,
        SliceKind::Run(Work::Broadcast) => 4,
        SliceKind::Run(Work::Run) => 5,
        SliceKind::Batch => 6,
        SliceKind::Wait(Wait::Fork) => 7,
        SliceKind::Wait(Wait::Scope) => 8,
        SliceKind::Wait(Wait::Handle) => 9,
        SliceKind::Wait(Wait::Latch) => 10,
        SliceKind::Wait(Wait::Blocking) => 11,
        SliceKind::Wait(Wait::Idle) => 12,
        SliceKind::Park => 13,
        SliceKind::Span => 14,
    }
}

fn code_of_outcome(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Returned => 0,
        Outcome::Panicked => 1,
        Outcome::Cancelled => 2,
        Outcome::Suspended => 3,
    }
}

struct Packer<'a> {
    bytes: Vec<u8>,
    site: &'a dyn Fn(u32) -> u32,
    last_site: u32,
    last_id: u64,
}

impl Packer<'_> {
    fn unsigned(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.bytes.push(number as u8);
    }

    fn signed(&mut self, number: i64) {
        self.unsigned((number << 1 ^ number >> 63) as u64);
    }

    fn lane(&mut self, lane: &Lane) {
        self.unsigned(lane.presence.len() as u64);
        let mut last = 0;
        for &(from, to) in &lane.presence {
            self.unsigned(from.saturating_sub(last));
            self.unsigned(to - from);
            last = to;
        }
        self.unsigned(lane.slices.len() as u64);
        let mut last_end = 0;
        for slice in &lane.slices {
            self.slice(slice, last_end);
            last_end = slice.end;
        }
        let is_depth = |event: &&Event| matches!(event.kind, EventKind::Depth { .. });
        let (depths, instants): (Vec<&Event>, Vec<&Event>) =
            lane.instants.iter().partition(is_depth);
        self.unsigned(instants.len() as u64);
        let mut last = 0;
        for event in instants {
            self.instant(event, event.time - last);
            last = event.time;
        }
        self.unsigned(depths.len() as u64);
        let mut last = 0;
        for event in depths {
            if let EventKind::Depth {
                injector,
                deque,
                ring,
            } = event.kind
            {
                self.unsigned(event.time - last);
                last = event.time;
                for length in [injector, deque, ring] {
                    self.unsigned(length.into());
                }
            }
        }
    }

    /// The bits that say how the id is stored, and the difference if it is.
    fn id(&mut self, id: u64) -> (u8, i64) {
        if id == 0 {
            return (0, 0);
        }
        let id = id % ID_LIMIT;
        let difference = id as i64 - self.last_id as i64;
        self.last_id = id;
        (if difference == 1 { 1 } else { 2 }, difference)
    }

    /// The site in the page if it is another one than the last.
    fn new_site(&mut self, site: u32) -> Option<u32> {
        let site = (self.site)(site);
        let is_new = site != self.last_site;
        self.last_site = site;
        is_new.then_some(site)
    }

    fn slice(&mut self, slice: &Slice, last_end: u64) {
        let has_site = !matches!(slice.kind, SliceKind::Wait(_) | SliceKind::Park);
        let site = if has_site {
            self.new_site(slice.site)
        } else {
            None
        };
        let (id_bits, id) = self.id(slice.id);
        let stolen = slice.stolen;
        let extra = code_of_outcome(slice.outcome)
            | u8::from(stolen.is_some()) << 2
            | u8::from(stolen.is_some_and(|(_, forced)| forced)) << 3
            | u8::from(slice.headless) << 4
            | u8::from(slice.open) << 5;
        let tag = code_of_slice(slice.kind)
            | u8::from(site.is_some()) << 4
            | id_bits << 5
            | u8::from(extra != 0) << 7;
        self.bytes.push(tag);
        if extra != 0 {
            self.bytes.push(extra);
        }
        self.signed(slice.begin as i64 - last_end as i64);
        self.unsigned(slice.length());
        if let Some(site) = site {
            self.unsigned(site.into());
        }
        if id_bits == 2 {
            self.signed(id);
        }
        if slice.kind == SliceKind::Batch {
            self.unsigned(slice.count.into());
        }
        if let Some((victim, _)) = stolen {
            self.unsigned(victim.into());
        }
    }

    fn instant(&mut self, event: &Event, since: u64) {
        let (kind, id, site, track) = match event.kind {
            EventKind::Made { id, site } => (0, id, Some(site), None),
            EventKind::Steal { victim, .. } => (1, 0, None, Some(victim)),
            EventKind::Wake { whom } => (2, 0, None, Some(whom)),
            EventKind::Finished { id } => (3, id, None, None),
            EventKind::Cancelled { id } => (4, id, None, None),
            EventKind::TimedOut { id } => (5, id, None, None),
            EventKind::Mark { site } => (6, 0, Some(site), None),
            // Everything else is part of a slice, a presence or a depth.
            _ => (7, 0, None, None),
        };
        let site = site.and_then(|site| self.new_site(site));
        let (id_bits, id) = self.id(id);
        self.bytes
            .push(kind | id_bits << 3 | u8::from(site.is_some()) << 5);
        self.unsigned(since);
        if let Some(site) = site {
            self.unsigned(site.into());
        }
        if id_bits == 2 {
            self.signed(id);
        }
        if let Some(track) = track {
            self.unsigned(track.into());
        }
    }
}

/// Base64 with padding.
pub(super) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let byte = |at: usize| u32::from(three.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            if digit <= three.len() {
                let six = bits >> (18 - 6 * digit) & 63;
                text.push(char::from(DIGITS[six as usize]));
            } else {
                text.push('=');
            }
        }
    }
    text
}
