//! How a thread parks: free, or in the middle of a wait.

use super::wait::{Awaited, Look, find_any, has_mail, sees_below, take_below};
use super::{Work, as_guest, on_fresh_ring};
use crate::lineage::Origin;
use crate::pool::context;
use crate::pool::registry::{Registry, Unordered};
use crate::pool::slot::{Seat, Slot};
use crate::sleep::Park;
use crate::sync::MODEL;
use std::time::{Duration, Instant};

/// How long a thread sleeps at most where fences are refused.
const UNORDERED_NAP: Duration = Duration::from_millis(1);

/// Searches end here: on the idle list until recruited, or out.
#[must_use]
pub(super) fn sleep_free(registry: &Registry, slot: &Slot) -> bool {
    let park = registry.sleep.park_free(slot.id, slot.seat.worker());
    registry.look_idle();
    match park {
        Park::Surplus => {
            // Others come to what is left here. From now on another thread may be started for this index, and own the slot.
            if !slot.mail().is_empty() {
                as_guest(registry, |_| registry.read_mail(slot));
            }
            on_fresh_ring(slot, |_| {
                if let Ok(Some(need)) = registry.last_look() {
                    registry.dispatch(registry.sleep.recruit_for(need));
                }
            });
            return false;
        }
        Park::Leave => {
            // Who published while we were counted searching has left it to us. The slot may be another thread's meanwhile.
            let look = on_fresh_ring(slot, |_| registry.last_look());
            // Where there is no room, whoever makes some looks again: to stay would be to look in vain until then.
            let wanted = matches!(look, Ok(Some(need)) if registry.sleep.still_wanted(need));
            return (wanted || !slot.mail().is_empty())
                && registry.sleep.rejoin(slot.seat.worker());
        }
        Park::Now => {
            slot.counters.parks.add(1);
            if !park_idle(registry, slot) {
                return false;
            }
        }
        Park::AfterLook => match registry.last_look() {
            Ok(Some(need)) if registry.sleep.still_wanted(need) => {
                // A model must let whoever holds that work get on.
                if MODEL {
                    crate::sync::yield_thread();
                }
            }
            Ok(_) => {
                slot.counters.parks.add(1);
                if !park_idle(registry, slot) {
                    return false;
                }
            }
            Err(Unordered) => {
                slot.counters.parks.add(1);
                slot.parker.park_timeout(UNORDERED_NAP);
            }
        },
    }
    // Woken by a recruiter, who has counted us; or by mail or time, then we count ourselves; or work was seen.
    if !registry.sleep.unpark_self(slot.id) {
        // Recruited; if we had not parked, the token is still to come, and a later park takes it for nothing.
    }
    true
}

/// How long a spare that nobody needs stays.
const SPARE_KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Parks until recruited. False: the thread is a spare, and nobody has needed it for long.
fn park_idle(registry: &Registry, slot: &Slot) -> bool {
    if slot.seat != Seat::Spare {
        slot.parker.park();
        slot.note_sleep();
        return true;
    }
    slot.parker.park_timeout(SPARE_KEEP_ALIVE);
    !registry.sleep.dismiss_spare(slot.id)
}

/// From now on letters to the thread's own slot wake it at this one, if it acts from another. Returns its own then, whose forwarding ends
/// when the caller says so.
fn forward_mail<'a>(slot: &Slot) -> Option<&'a Slot> {
    let home = context::home().filter(|home| !std::ptr::eq(*home, slot))?;
    home.mail().forward(Some(slot.parker.clone()));
    Some(home)
}

/// Sleeps until a token comes or the time is over; where nothing is `ordered`, for a nap only.
fn sleep(slot: &Slot, ordered: bool, deadline: Option<Instant>) {
    if ordered {
        slot.parker.park_until(deadline);
    } else {
        slot.parker.park_timeout(UNORDERED_NAP);
    }
}

/// Sleeps until a token comes, on the idle list: whoever publishes can have this thread. Returns what it found when it was woken.
pub(super) fn park_open(
    registry: &Registry,
    slot: &Slot,
    awaited: &impl Awaited,
    deadline: Option<Instant>,
) -> Option<Work> {
    let ready = || awaited.is_done() || has_mail();
    let elsewhere = forward_mail(slot);
    registry.sleep.search();
    let (mut ordered, mut wanted, mut work) = (true, false, None);
    let park = registry.sleep.park_waiter(slot.id);
    if awaited.must_find_tasks() {
        ordered = registry.announce();
        work = awaited.find_task(slot, Look::Parking).map(Work::Task);
    }
    if park == Park::AfterLook {
        // What this thread would not take is no reason to stay awake.
        let left_alone = context::is_deep().then_some(slot);
        match registry.last_look_beside(left_alone) {
            Ok(need) => wanted = need.is_some_and(|need| registry.sleep.still_wanted(need)),
            Err(Unordered) => ordered = false,
        }
    }
    slot.counters.parks.add(1);
    if work.is_none() && !wanted && !ready() {
        sleep(slot, ordered, deadline);
    }
    if let Some(home) = elsewhere {
        home.mail().forward(None);
    }
    // Recruited, or not: from now on counted awake and searching.
    registry.sleep.unpark_self(slot.id);
    if work.is_none() && !ready() {
        work = find_any(registry, slot, 0);
    }
    registry.pass_on();
    work
}

/// Sleeps until a token comes, leaving a vacancy. `below`: it may be woken for what descends from that; returns what it then found.
pub(super) fn park_bound(
    registry: &Registry,
    slot: &Slot,
    awaited: &impl Awaited,
    below: Option<Origin>,
    deadline: Option<Instant>,
) -> Option<Work> {
    let ready = || awaited.is_done() || has_mail();
    let guest = slot.role() == Seat::Guest;
    let elsewhere = forward_mail(slot);
    let vacated = registry.sleep.park_bound(guest);
    if let Some(below) = below {
        slot.offer_help(below, guest);
        registry.sleep.register_helper();
    }
    let (mut ordered, mut seen, mut work) = (true, false, None);
    if vacated || below.is_some() {
        ordered = registry.announce();
    }
    if let Some(below) = below {
        work = take_below(slot, awaited, below, Look::Parking);
        // Somebody else may be about to take it, or not: then it must be tried again.
        seen = work.is_none() && sees_below(slot, below, Look::Parking);
    }
    let stays = seen || work.is_some();
    if vacated && !stays {
        registry.fill_seen_vacancy();
    }
    // A worker that waits in another pool leaves a vacancy in its own.
    let abroad = elsewhere.map(Slot::registry);
    let abroad = abroad.filter(|home| !stays && !std::ptr::eq(*home, registry));
    if let Some(home) = abroad {
        ordered &= !home.sleep.park_bound(false) || home.fill_vacancy();
    }
    slot.counters.parks.add(1);
    // Where nothing is ordered, what is seen may be out of reach for as long as its owner likes.
    if work.is_none() && !ready() && (!seen || !ordered) {
        sleep(slot, ordered, deadline);
    }
    if let Some(home) = elsewhere {
        home.mail().forward(None);
    }
    if let Some(home) = abroad {
        home.sleep.resume_bound(false);
    }
    if below.is_some() && !slot.withdraw_help() {
        // Somebody has counted us awake and searching.
        if work.is_none() && !ready() {
            work = below.and_then(|below| take_below(slot, awaited, below, Look::Woken));
        }
        registry.pass_on();
        return work;
    }
    if below.is_some() {
        registry.sleep.unregister_helper();
    }
    registry.sleep.resume_bound(guest);
    if vacated && stays && registry.sleep.is_wanted() {
        // Who parked meanwhile has relied on the look that this thread owed.
        registry.fill_vacancy();
    }
    work
}
