//! The loop of a free worker: it takes work, searches for work, and sleeps.

use super::backoff::Search;
use super::context::{self, Member};
use super::park::{Mode, sleep_free};
use super::steal::{
    next_in_injector, own_work, sees_any, steal_any, steal_detached, steal_hot, steal_scope_task,
};
use super::work::Work;
use crate::record::Recorder;
use crate::sleep::Need;

// What the layers above use to act in a pool.
pub(crate) use super::awaited::{Awaited, Look};
pub(crate) use super::member::{
    PushOutcome, acts_for_pool_thread, as_consumer, as_guest, as_part, current_index, home_index,
    is_pool_thread, own_member, recorded, share_after_push, stand_in_for,
};
pub(crate) use super::steal::{find_task, waits_any};
pub(crate) use super::wait::{
    await_briefly, block, leave_place, wait, wait_stolen, yield_local, yield_now,
};

/// Runs a pool thread until it leaves the pool. The thread is counted awake and searching at the beginning.
pub(super) fn work(member: Member<'_>) {
    let _context = context::enter(member);
    context::set_gone(false);
    let mut mode = Mode::Searching;
    while let Some(work) = next(member, &mut mode) {
        if member.counters.busy_since_ns.get() == 0 {
            begin_busy(member);
        }
        if let Some(recorder) = member.recorder() {
            found_work(member, recorder);
        }
        member.run_free(work);
    }
    // Another thread may have been started for this index by now, and own the slot.
}

/// Records that the thread has found work, and now and then how much is queued.
#[cold]
fn found_work(member: Member<'_>, recorder: &Recorder) {
    recorder.found_work();
    recorder.sample(|| {
        let deques = member.tasks.len() + member.detached.len() + member.ready.len();
        (member.registry.injector.len(), deques, member.ring.depth())
    });
}

#[cold]
fn begin_busy(member: Member<'_>) {
    member.activity.begin_busy(member.counters.executed.get());
    member.counters.busy_since_ns.set(member.registry.now_ns());
    member.arm_watch();
}

fn end_busy(member: Member<'_>) {
    if let Some(recorder) = member.recorder() {
        recorder.finds_nothing();
    }
    let since = member.counters.busy_since_ns.get();
    if since != 0 {
        let busy_ns = member.registry.now_ns().saturating_sub(since);
        member.counters.busy_ns.add(busy_ns);
        member.counters.busy_since_ns.set(0);
    }
}

/// Takes the next work of a free worker, and sleeps while there is none. Returns `None` when the worker has left the pool.
fn next(member: Member<'_>, mode: &mut Mode) -> Option<Work> {
    let registry = member.registry;
    loop {
        // In a pool that became smaller, others take what is on this slot, except the broadcast tasks.
        if registry.sleep.is_surplus(member.kind.worker()) && member.inbox.is_empty() {
            end_busy(member);
            member.cool_down();
            if !std::mem::replace(mode, Mode::Searching).is_searching() {
                registry.sleep.begin_search();
            }
            *mode = sleep_free(member, *mode)?;
            continue;
        }
        let work = own_work(member).or_else(|| {
            if *mode == Mode::Called {
                // No thread relies on this worker to look at the work of others.
                None
            } else if *mode == Mode::Staying {
                // However many threads are awake, this one has stayed for such a task.
                steal_detached(member)
                    .or_else(|| steal_scope_task(member))
                    .or_else(|| registry.injector.streams.take_any().map(Work::task))
            } else if !registry.sleep.overcommitted() {
                next_in_injector(member).or_else(|| steal_any(member, false))
            } else if registry.sleep.counts().workers <= 1 {
                // Too many threads are awake: this one takes only what no other would run.
                steal_detached(member).or_else(|| steal_scope_task(member))
            } else {
                // The others may all be in the middle of forks.
                registry.injector.steal_woken().map(Work::task)
            }
        });
        if let Some(work) = work {
            let stays_called = *mode == Mode::Called && work.is_broadcast();
            let next = if stays_called { *mode } else { Mode::Busy };
            if std::mem::replace(mode, next).is_searching() {
                spread(member);
            }
            return Some(work);
        }
        end_busy(member);
        if *mode != Mode::Called {
            let others = match *mode {
                Mode::Busy => registry.sleep.begin_search(),
                _ => registry.sleep.counts().searching.saturating_sub(1),
            };
            *mode = Mode::Searching;
            if let Some(work) = search(member, others) {
                *mode = Mode::Busy;
                spread(member);
                return Some(work);
            }
        }
        *mode = sleep_free(member, *mode)?;
    }
}

/// Ends a search that has found something. If there is more, other threads search: one if none does, and up to two more if few do. Another thread watches
/// the streams whose items are kept for their consumers.
fn spread(member: Member<'_>) {
    let registry = member.registry;
    registry.hand_off_search();
    // One more would only take the place of this thread among those that search, and a pool would wake up in linear time.
    for _ in 0..2 {
        if registry.sleep.counts().may_spread(registry.sleep.target()) && sees_any(member) {
            registry.dispatch(registry.sleep.claim_second());
        }
    }
    let streams = &registry.injector.streams;
    if streams.must_watch() && !streams.is_watched() {
        registry.dispatch(registry.sleep.claim_thread(Need::Worker));
    }
}

/// Searches for a while. Only one searcher spins: while there are `others`, a search is brief.
fn search(member: Member<'_>, others: usize) -> Option<Work> {
    let registry = member.registry;
    let mut search = Search::new(others);
    let mut watched = None;
    loop {
        if registry.sleep.overcommitted() {
            return None;
        }
        if let Some(work) = own_work(member).or_else(|| steal_any(member, true)) {
            return Some(work);
        }
        if let Some(work) = steal_hot(member, &mut watched) {
            return Some(work);
        }
        if !search.goes_on() {
            return None;
        }
    }
}
