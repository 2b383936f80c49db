//! Dumps: what the threads of a pool do at a moment, and who waits for whom.
//!
//! A dump reads atomics, and takes locks only if no other thread holds them. It first copies, then computes. So it never waits for the threads that it
//! describes, whatever they hold.
//!
//! The words that it reads are of different moments, so that a circle of waits could be made of waits that did not overlap. Only a circle that two copies
//! show, with the same waits, is reported: each of these waits went on between the copies, so that all of them did at once.

mod capture;
mod graph;
mod model;
mod text;

#[cfg(all(test, not(any(heist_loom, heist_shuttle))))]
mod tests;

pub use model::{
    CallerDump, Dump, PoolDump, QueueDump, SystemState, TaskDump, ThreadDump, ThreadRef,
    ThreadRole, ThreadState, WaitCycle, WaitEdge,
};

use crate::clock;
use crate::pool::{self, Registry, ThreadPool, others};
use crate::sync::Arc;
use crate::sys::thread::{Usage, usage};
use capture::Capture;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// The time between two looks at whether a thread runs. A time slice is 3 to 4 ms on most systems.
const PAUSE: Duration = Duration::from_millis(10);

/// A thread that was ready and did not run is looked at again, up to so many times, before it counts as starved.
const MORE_LOOKS: u32 = 3;

/// # Dumps
impl ThreadPool {
    /// Describes what each thread of the pool does and since when, what is queued, and who waits for whom, also
    /// across pools. Threads that wait for each other in a circle are named.
    ///
    /// The call is allowed anywhere: in a task, in a panic hook, during a shutdown and after it. It never waits for the
    /// pool. If a thread runs code of the program, the dump takes 10 to 40 ms, in which it finds out whether the thread is
    /// busy, blocked, or gets no processor: see [`ThreadDump::system`], which is known on Linux. Use
    /// [`dump_at_once`](Self::dump_at_once) to leave that out.
    ///
    /// A wait for one of several tasks, for a closure of [`run`](Self::run), or for a lock of the program leads to no
    /// other thread.
    ///
    /// ```
    /// let pool = heist::ThreadPool::builder().num_threads(1).build()?;
    /// let (go, gate) = std::sync::mpsc::channel::<()>();
    /// let handle = pool.task().name("stuck").submit(move || gate.recv().is_ok());
    /// while !handle.is_running() {
    ///     std::thread::yield_now();
    /// }
    /// let dump = pool.dump();
    /// let task = dump.pools[0].threads[0].task.as_ref().unwrap();
    /// assert_eq!(task.name.as_deref(), Some("stuck"));
    /// println!("{dump}");
    /// go.send(()).unwrap();
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn dump(&self) -> Dump {
        dump(self.registry(), true)
    }

    /// Describes what the threads do as [`dump`](Self::dump) does, without a pause. It does not find out whether they
    /// are busy or blocked.
    ///
    /// ```
    /// let pool = heist::ThreadPool::new()?;
    /// println!("{}", pool.dump_at_once());
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn dump_at_once(&self) -> Dump {
        dump(self.registry(), false)
    }
}

/// `is_patient`: whether it finds out which threads run.
pub(crate) fn dump(registry: &Registry, is_patient: bool) -> Dump {
    let Some(this) = registry.this.upgrade() else {
        return Dump::of(Vec::new(), Vec::new(), Vec::new(), false);
    };
    let others = others(registry.id);
    let is_partial = others.is_none();
    let registries: Vec<_> = [this]
        .into_iter()
        .chain(others.into_iter().flatten())
        .collect();
    let copy = || -> Vec<Capture> {
        let capture = |registry: &Arc<Registry>| Capture::new(Arc::clone(registry));
        registries.iter().map(capture).collect()
    };
    let first = copy();
    let systems = match is_patient {
        true => look(&first[0]),
        false => BTreeMap::new(),
    };
    let mut pools = copy();
    let waits = graph::edges(&pools);
    let slots = pools.iter().flat_map(|pool| &pool.slots);
    let runners: BTreeSet<u64> = slots.flat_map(|shown| shown.tasks.clone()).collect();
    let stood = |cycle: &WaitCycle| {
        cycle
            .edges
            .iter()
            .all(|edge| stood(&first, &pools, edge.from))
    };
    let mut cycles = graph::cycles(&pools, &waits);
    cycles.retain(stood);
    for thread in &mut pools[0].dump.threads {
        if let Some(&system) = systems.get(&thread.os_id)
            && thread.does == ThreadState::Running
        {
            thread.system = system;
        }
    }
    let mut dump = Dump::of(
        pools.into_iter().map(|capture| capture.dump).collect(),
        waits,
        cycles,
        is_partial,
    );
    dump.callers = callers(&dump, &runners);
    dump
}

/// The threads outside that wait for a task which a thread of the dump runs, or which no thread runs. `runners` are the tasks that run in any pool.
fn callers(dump: &Dump, runners: &BTreeSet<u64>) -> Vec<CallerDump> {
    let now_ns = clock::now_ns();
    let runs = |task: u64| {
        let pools = dump.pools.iter().enumerate();
        let mut threads = pools.flat_map(|(pool, dump)| {
            let threads = dump.threads.iter().enumerate();
            threads.map(move |(thread, dump)| (ThreadRef { pool, thread }, dump))
        });
        let is_it = |thread: &ThreadDump| {
            let own = thread.task.as_ref().is_some_and(|own| own.id == task);
            own || thread.outer_tasks.contains(&task)
        };
        threads
            .find(|(_, thread)| is_it(thread))
            .map(|(place, _)| place)
    };
    let caller = |waiter: pool::Waiter| {
        let runs_on = runs(waiter.task);
        let is_elsewhere = runs_on.is_none() && runners.contains(&waiter.task);
        (!is_elsewhere).then(|| CallerDump {
            name: crate::sys::thread::name(waiter.thread).unwrap_or_default(),
            os_id: waiter.thread,
            task: waiter.task,
            since: Duration::from_nanos(now_ns.saturating_sub(waiter.since_ns)),
            runs_on,
        })
    };
    pool::outside().into_iter().filter_map(caller).collect()
}

/// Whether the thread at a place of the second copies was in the same wait when the first ones were made.
fn stood(first: &[Capture], second: &[Capture], place: ThreadRef) -> bool {
    let now = &second[place.pool].slots[place.thread];
    let before = first[place.pool].slots.iter();
    let mut before = before.filter(|shown| shown.slot == now.slot);
    before.any(|before| {
        (before.seen.waited, before.seen.since_ns) == (now.seen.waited, now.seen.since_ns)
            && before.seen.thread == now.seen.thread
    })
}

impl Dump {
    /// Leaves out the pools that have nothing to do with the first one.
    fn of(
        pools: Vec<PoolDump>,
        waits: Vec<WaitEdge>,
        cycles: Vec<WaitCycle>,
        is_partial: bool,
    ) -> Self {
        let mut keep: Vec<bool> = (0..pools.len()).map(|pool| pool == 0).collect();
        let mut is_more = true;
        while is_more {
            is_more = false;
            for WaitEdge { from, to } in &waits {
                if keep[from.pool] != keep[to.pool] {
                    (keep[from.pool], keep[to.pool], is_more) = (true, true, true);
                }
            }
            // A thread of a kept pool that waits in another one as a guest.
            let ids =
                |pool: &PoolDump| -> Vec<u64> { pool.threads.iter().map(|t| t.os_id).collect() };
            let kept = pools.iter().zip(&keep).filter(|&(_, &keep)| keep);
            let kept: Vec<u64> = kept
                .flat_map(|(pool, _)| ids(pool))
                .filter(|&id| id != 0)
                .collect();
            for (pool, keep) in pools.iter().zip(&mut keep) {
                if !*keep && ids(pool).iter().any(|id| kept.contains(id)) {
                    (*keep, is_more) = (true, true);
                }
            }
        }
        // The place of a kept pool is the number of kept ones before it.
        let place = |pool: usize| keep[..pool].iter().filter(|&&keep| keep).count();
        let places: Vec<usize> = (0..pools.len()).map(place).collect();
        let moved = |edge: WaitEdge| {
            let moved = |place: ThreadRef| ThreadRef {
                pool: places[place.pool],
                ..place
            };
            WaitEdge {
                from: moved(edge.from),
                to: moved(edge.to),
            }
        };
        let is_kept = |edge: &WaitEdge| keep[edge.from.pool] && keep[edge.to.pool];
        let cycles = cycles
            .into_iter()
            .filter(|cycle| cycle.edges.iter().all(is_kept));
        let cycles = cycles.map(|cycle| WaitCycle {
            edges: cycle.edges.into_iter().map(moved).collect(),
        });
        let (waits, cycles) = (
            waits.iter().copied().filter(is_kept).map(moved).collect(),
            cycles.collect(),
        );
        let pools = pools.into_iter().zip(&keep);
        let pools = pools.filter(|&(_, &keep)| keep).map(|(pool, _)| pool);
        Dump {
            pools: pools.collect(),
            waits,
            cycles,
            callers: Vec::new(),
            is_partial,
        }
    }
}

/// Finds out whether the threads that run the program's code get a processor. Sleeps meanwhile.
fn look(capture: &Capture) -> BTreeMap<u64, SystemState> {
    let threads = capture.dump.threads.iter();
    let running = threads.filter(|thread| thread.does == ThreadState::Running);
    let ids: Vec<u64> = running
        .map(|thread| thread.os_id)
        .filter(|&id| id != 0)
        .collect();
    systems(&ids)
}

/// Finds out whether threads get a processor. The current one does.
pub(crate) fn systems(ids: &[u64]) -> BTreeMap<u64, SystemState> {
    let own = crate::sys::thread::own_id();
    let mut known = BTreeMap::new();
    let mut before: Vec<(u64, Usage)> = Vec::new();
    for &id in ids {
        match usage(id) {
            _ if id == own => drop(known.insert(id, SystemState::Busy)),
            Some(seen) => before.push((id, seen)),
            None => drop(known.insert(id, SystemState::Unknown)),
        }
    }
    for round in 0..=MORE_LOOKS {
        if before.is_empty() {
            break;
        }
        let start = Instant::now();
        std::thread::sleep(PAUSE);
        let passed = start.elapsed();
        before.retain(|&(id, before)| {
            let state = usage(id).map_or(SystemState::Unknown, |now| {
                compare(before, now, passed * (round + 1))
            });
            let is_sure = state != SystemState::Starved || round == MORE_LOOKS;
            if is_sure {
                known.insert(id, state);
            }
            !is_sure
        });
    }
    known
}

/// What a thread did between two looks.
fn compare(before: Usage, now: Usage, passed: Duration) -> SystemState {
    let ran = now.ran_ns.saturating_sub(before.ran_ns);
    let has_run = u128::from(ran) * 50 > passed.as_nanos();
    // The time for which it had waited counts when it gets a processor: it has less than a tenth of one.
    let is_kept_waiting = delay(before, now) > 9 * Duration::from_nanos(ran);
    match now.state {
        b'T' | b't' => SystemState::Stopped,
        _ if has_run && is_kept_waiting => SystemState::Starved,
        _ if has_run => SystemState::Busy,
        b'R' => SystemState::Starved,
        // The thread waited for a processor for most of the time, and sleeps now.
        _ if delay(before, now) * 2 > passed => SystemState::Starved,
        _ => SystemState::Blocked,
    }
}

fn delay(before: Usage, now: Usage) -> Duration {
    let delays = before.delayed_ns.zip(now.delayed_ns);
    Duration::from_nanos(delays.map_or(0, |(before, now)| now.saturating_sub(before)))
}
