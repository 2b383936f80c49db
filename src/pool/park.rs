//! How a thread parks: as a free worker, or in the middle of a wait.

use super::awaited::{Awaited, Look, sees_below, take_below};
use super::backoff::note_sleep;
use super::context::{self, Member};
use super::member::as_guest;
use super::notify::Unordered;
use super::slot::Role;
use super::steal::find_any;
use super::streams::WATCH_TIME;
use super::work::Work;
use crate::lineage::Origin;
use crate::record::Entry;
use crate::sleep::{Need, Park, Waited};
use crate::sync::MODEL;
use std::time::{Duration, Instant};

/// The longest sleep of a thread after the kernel has refused a fence.
const UNORDERED_NAP: Duration = Duration::from_millis(1);

/// How a free worker is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Awake.
    Busy,
    /// Awake and searching.
    Searching,
    /// Awake, woken for a broadcast task. It has run nothing else since, except what that has spawned into its scope.
    Called,
    /// Awake and searching, in a pool that is closing, for queued tasks that no other thread may take.
    Staying,
}

impl Mode {
    /// Whether the worker is counted as searching.
    pub(super) fn is_searching(self) -> bool {
        matches!(self, Mode::Searching | Mode::Staying)
    }
}

/// Puts a free worker that has found nothing on the idle list until it is claimed or called. Returns how it is counted then, or `None`
/// if it has left the pool.
pub(super) fn sleep_free(member: Member<'_>, mode: Mode) -> Option<Mode> {
    let registry = member.registry;
    let sleep = &registry.sleep;
    let streams = &registry.injector.streams;
    let has_tasks = || streams.len() > 0 || registry.look(None) == Some(Need::Worker);
    // Before the worker is counted as parked, so that its own look, too, finds that one watches.
    let watch = streams.begin_watch();
    let park = match (mode, member.kind) {
        (Mode::Called, Role::Worker(index)) => sleep.park_called(member.id, index, has_tasks),
        _ => sleep.park_free(member.id, member.kind.worker(), has_tasks),
    };
    registry.look_idle();
    match park {
        Park::Stay => return Some(Mode::Staying),
        Park::Leave { look } => {
            context::set_gone(true);
            registry.wake_leavers();
            // From now on another thread can be started for this index and own the slot. Two things are left to do. If no thread is started, no other
            // one runs the inbox. And while this thread counted as searching, publishers relied on it: another thread must take what they have
            // published, and what is left on this slot.
            if !member.inbox.is_empty() {
                as_guest(registry, |_| registry.run_inbox(&member));
            }
            if look {
                member.on_fresh_ring(|_| registry.wake_for_capacity());
            }
            return None;
        }
        Park::Now => {
            registry.attend_futures();
            if mode == Mode::Called {
                await_call(member);
            }
            park_idle(member, watch.is_some())?;
        }
        Park::AfterLook => match registry.final_recheck(None) {
            Ok(Some(need)) if registry.sleep.still_wanted(need) => {
                // In a model the thread that holds the work must be able to go on.
                if MODEL {
                    crate::sync::yield_thread();
                }
            }
            Ok(_) => {
                registry.attend_futures();
                park_idle(member, watch.is_some())?;
            }
            Err(Unordered) => {
                begin_park(member);
                member.parker.park_timeout(UNORDERED_NAP);
                end_park(member);
            }
        },
    }
    drop(watch);
    // This thread goes on for one of three reasons:
    // - It was called: there is a broadcast task, and no thread relies on this one to search.
    // - Another thread has claimed it, and has counted it as searching. If that happened before this thread parked, the token is still to come,
    //   and a later park returns at once.
    // - It has seen work, or time has passed. It counts itself.
    if !member.inbox.is_empty() && registry.sleep.unpark_called(member.id) {
        return Some(Mode::Called);
    }
    registry.sleep.unpark_self(member.id);
    Some(Mode::Searching)
}

/// How many times a worker that was called yields before it sleeps, so that a thread that broadcasts repeatedly finds the workers awake. With two to
/// sixteen yields, ten broadcasts on eight threads and two cores take 27 us each, with none 35 us (measured 2026-11).
const CALLED_TURNS: u32 = 4;

/// Waits a little for the next broadcast task, on a worker that is counted as parked but does not sleep yet. No thread relies on it, so it delays
/// nothing if other threads take its core for long.
fn await_call(member: Member<'_>) {
    for _ in 0..CALLED_TURNS {
        if MODEL || member.parker.has_token() {
            return;
        }
        crate::sync::yield_thread();
    }
}

/// How long a spare stays when it is not needed.
const SPARE_KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Parks until the thread is claimed or called, or has to look at a stream again. Returns `None` for a spare that was not needed for a long time, which then leaves.
fn park_idle(member: Member<'_>, watches: bool) -> Option<()> {
    let _shown = member.show(Waited::WORK, 0);
    begin_park(member);
    let slept = sleep_idle(member, watches);
    end_park(member);
    slept
}

/// Counts and records that the thread goes to sleep.
fn begin_park(member: Member<'_>) {
    member.counters.parks.add(1);
    if let Some(recorder) = member.recorder() {
        recorder.put(Entry::Park);
    }
}

/// Records that the thread has slept.
fn end_park(member: Member<'_>) {
    if let Some(recorder) = member.recorder() {
        recorder.put(Entry::Unpark);
    }
}

fn sleep_idle(member: Member<'_>, watches: bool) -> Option<()> {
    // What the slot of a worker holds is left to others only if the pool has become too small for the worker.
    let slots = &member.registry.slots;
    slots.set_active(member.id, member.has_work());
    if watches {
        // The thread stays on the idle list as long as it would only find that the consumers are still there.
        let streams = &member.registry.injector.streams;
        while !member.parker.park_timeout(WATCH_TIME) && streams.must_watch() {
            let is_done = match streams.take_owed_looks() {
                true => member.registry.wake_for_capacity(),
                false => streams.offers_none(&member.registry.sleep),
            };
            if !is_done {
                break;
            }
        }
        slots.set_active(member.id, true);
        note_sleep();
        return Some(());
    }
    if member.kind == Role::Spare {
        member.parker.park_timeout(SPARE_KEEP_ALIVE);
        slots.set_active(member.id, true);
        let is_dismissed = member.registry.sleep.dismiss_spare(member.id);
        return (!is_dismissed).then_some(());
    }
    member.parker.park();
    slots.set_active(member.id, true);
    note_sleep();
    Some(())
}

/// Whether there is a broadcast task for the thread's home, whatever the thread acts as at the moment.
fn has_broadcast_task() -> bool {
    context::home().is_some_and(|home| !home.inbox.is_empty())
}

/// Lets broadcast tasks for the thread's home wake the thread on `member`, if that is another slot. Returns the home in this case, and the
/// caller ends the forwarding.
fn forward_inbox<'a>(member: Member<'_>) -> Option<Member<'a>> {
    let home =
        context::home().filter(|home| home.id != member.id || !home.is_of(member.registry))?;
    home.inbox.forward(Some(member.parker.clone()));
    Some(home)
}

/// Sleeps until a token comes or the deadline passes. If the kernel has refused a heavy fence (`ordered` is false), it only naps.
fn sleep(member: Member<'_>, ordered: bool, deadline: Option<Instant>) {
    if ordered {
        member.parker.park_until(deadline);
    } else {
        member.parker.park_timeout(UNORDERED_NAP);
    }
}

/// Sleeps on the idle list until a token comes, so that any publisher can claim this thread. Returns what the thread found when it was woken.
pub(super) fn park_open(
    member: Member<'_>,
    awaited: &impl Awaited,
    deadline: Option<Instant>,
) -> Option<Work> {
    let registry = member.registry;
    let ready = || awaited.is_done() || has_broadcast_task();
    let elsewhere = forward_inbox(member);
    registry.sleep.begin_search();
    let watch = registry.injector.streams.begin_watch();
    let (mut ordered, mut wanted, mut work) = (true, false, None);
    let park = registry.sleep.park_waiter(member.id);
    if awaited.must_find_tasks() {
        ordered = registry.request_all_and_fence();
        work = awaited.find_task(member, Look::Parking).map(Work::task);
    }
    if park == Park::AfterLook {
        // Forks that this thread would not take are no reason to stay awake.
        let left_alone = context::is_deep().then_some(member.slot);
        match registry.final_recheck(left_alone) {
            Ok(need) => wanted = need.is_some_and(|need| registry.sleep.still_wanted(need)),
            Err(Unordered) => ordered = false,
        }
    }
    begin_park(member);
    if work.is_none() && !wanted && !ready() {
        match watch.is_some() {
            true => drop(member.parker.park_timeout(WATCH_TIME)),
            false => sleep(member, ordered, deadline),
        }
    }
    end_park(member);
    drop(watch);
    if let Some(home) = elsewhere {
        home.inbox.forward(None);
    }
    // The thread is counted awake and searching from now on, whether it was claimed or not.
    registry.sleep.unpark_self(member.id);
    if work.is_none() && !ready() {
        work = find_any(member, false);
    }
    registry.hand_off_search();
    work
}

/// Sleeps until a token comes, and makes room in the meantime. As a helper, the thread can be woken for work that descends from `below`. It returns
/// what it then found.
pub(super) fn park_bound(
    member: Member<'_>,
    awaited: &impl Awaited,
    below: Option<Origin>,
    deadline: Option<Instant>,
) -> Option<Work> {
    let registry = member.registry;
    let ready = || awaited.is_done() || has_broadcast_task();
    let guest = member.role() == Role::Guest;
    let elsewhere = forward_inbox(member);
    let freed = registry.sleep.park_bound(guest);
    if let Some(below) = below {
        member.offer_help(below, guest);
        registry.sleep.register_helper();
    }
    let (mut ordered, mut seen, mut work) = (true, false, None);
    if freed || below.is_some() {
        ordered = registry.request_all_and_fence();
    }
    if let Some(below) = below {
        work = take_below(member, awaited, below, Look::Parking);
        // Another thread may be about to take what is seen. If not, this thread must try again.
        seen = work.is_none() && sees_below(member, below, Look::Parking);
    }
    let stays = seen || work.is_some();
    if freed && !stays {
        registry.wake_for_visible_work();
    }
    // A worker that waits in another pool makes room in its own.
    let own_pool = elsewhere.filter(|home| !stays && !home.is_of(registry));
    if let Some(Member { registry: home, .. }) = own_pool {
        ordered &= !home.sleep.park_bound(false) || home.wake_for_capacity();
    }
    begin_park(member);
    // Without heavy fences no fork can be forced: what is seen stays out of reach until its owner shares it. So this thread naps.
    if work.is_none() && !ready() && (!seen || !ordered) {
        sleep(member, ordered, deadline);
    }
    end_park(member);
    if let Some(home) = elsewhere {
        home.inbox.forward(None);
    }
    if let Some(Member { registry: home, .. }) = own_pool {
        home.sleep.resume_bound(false);
    }
    if below.is_some() && !member.withdraw_help() {
        // Another thread has claimed this one and counted it as awake and searching.
        if work.is_none() && !ready() {
            work = below.and_then(|below| take_below(member, awaited, below, Look::Woken));
        }
        registry.hand_off_search();
        return work;
    }
    if below.is_some() {
        registry.sleep.unregister_helper();
    }
    registry.sleep.resume_bound(guest);
    if freed && stays && registry.sleep.is_wanted() {
        // This thread has made room, and has not looked on behalf of others. A thread that parked in the meantime has relied on that look.
        registry.wake_for_capacity();
    }
    work
}
