//! The watch over stalls: what takes longer than the program expects is described to a hook of the program.
//!
//! The watch of a pool is *armed* while something runs or waits there. Then the timer's thread looks four times in the given time, and a thread of its own
//! takes the dump and calls the hook. A pool in which nothing happens has no timer: the watch ends at the first look that finds nothing, and a thread that
//! begins to be busy or to wait arms it.

use crate::clock;
use crate::dump::{self, Dump, SystemState, ThreadDump, ThreadRef, ThreadRole, WaitCycle};
use crate::executor::timer::{self, deadline_after};
use crate::pool::{self, Looks, Registry, Role, Signature, Slot, ThreadPoolBuilder, Watcher};
use crate::sleep::Waited;
use crate::unwind;
use std::collections::HashMap;
use std::fmt;
// From std in models too, in which nothing stalls.
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Wake, Waker};
use std::time::Duration;

/// Something in a pool that has taken longer than
/// [`stall_after`](crate::ThreadPoolBuilder::stall_after) allows.
///
/// A report prints itself in words, with the dump.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct StallReport {
    /// What has happened.
    pub kind: StallKind,
    /// For how long it has lasted, at least.
    pub lasts: Duration,
    /// The thread that stands still, if it is one. Of a deadlock, one of them.
    pub thread: Option<ThreadRef>,
    /// What the pool's threads do.
    pub dump: Dump,
}

/// What has happened in a pool. Part of [`StallReport`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum StallKind {
    /// A thread runs code of the program and neither returns nor forks. Where the system does not say whether it
    /// runs, it may be blocked.
    Busy,
    /// A thread sleeps in code of the program: in a lock, a system call or the like. Waits in
    /// [`blocking`](crate::blocking()) do not count.
    Blocked,
    /// A thread is ready to run, but gets no processor or is stopped.
    Starved,
    /// Threads wait for each other in a circle.
    Deadlock,
    /// All of the pool's threads wait, and something is queued.
    AllWait,
    /// Something has been queued for that long, although nothing else has stalled.
    Queue,
}

impl ThreadPoolBuilder {
    /// Sets a closure that is told of what takes longer than `limit`: a thread that runs or blocks in the program's
    /// code, threads that wait for each other, tasks that stay in a queue. The default is that nobody watches.
    ///
    /// The closure is called on a thread of its own. It is called once for each thing that stands still, and again after
    /// twice the time, four times the time and so on while it still does. `limit` is exact to a quarter, and at least
    /// 10 ms.
    ///
    /// A thread counts as standing still if it is in the same task, and has neither forked nor spawned, at each of
    /// several looks. So a long task that uses `join`, scopes or maps is not reported.
    ///
    /// While nothing runs or waits in the pool, there is no timer. A panic of the closure is dropped.
    ///
    /// ```
    /// use std::sync::mpsc;
    /// use std::time::Duration;
    /// let (report, reports) = mpsc::channel();
    /// let pool = heist::ThreadPool::builder()
    ///     .stall_after(Duration::from_millis(50), move |stall| drop(report.send(stall.clone())))
    ///     .build()?;
    /// let (go, gate) = mpsc::channel::<()>();
    /// pool.spawn(move || drop(gate.recv()));
    /// let stall = reports.recv().unwrap();
    /// println!("{stall}");
    /// drop(go);
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn stall_after<F>(self, limit: Duration, hook: F) -> Self
    where
        F: Fn(&StallReport) + Send + Sync + 'static,
    {
        self.watcher(Watch::new(limit, Box::new(hook)))
    }
}

type Hook = Box<dyn Fn(&StallReport) + Send + Sync>;

/// The shortest limit: two looks at the system's figures take as long.
const LEAST: Duration = Duration::from_millis(10);

/// So many looks are made within the limit.
const LOOKS: u32 = 4;

/// The watch of one pool.
struct Watch {
    this: Weak<Watch>,
    limit: Duration,
    hook: Hook,
    /// The number of the pool, which is set when the watch is first armed.
    pool: AtomicU64,
    /// The timer has an entry for the watch, or a look goes on.
    is_armed: AtomicBool,
    /// A thread describes a stall to the hook.
    is_reporting: AtomicBool,
    state: Mutex<State>,
}

/// What the looks have seen. Used by the timer's thread, and by that which reports.
#[derive(Default)]
struct State {
    looks: Looks,
    /// For how long all threads wait, at the index 0.
    all_wait: Looks,
    /// When what stands still is next reported.
    next: HashMap<Key, Duration>,
    /// When a circle of threads is next reported.
    next_of_cycles: HashMap<Vec<u64>, Duration>,
}

/// What stands still.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Key {
    /// The thread of a slot runs.
    Runs(usize, Signature),
    /// The thread of a slot waits.
    Waits(usize, Signature),
    AllWait,
    Queue,
}

/// What has stood still for long enough to be reported.
struct Due {
    key: Key,
    lasts: Duration,
    /// The system's number of the thread.
    thread: u64,
}

impl Watch {
    fn new(limit: Duration, hook: Hook) -> Arc<Self> {
        Arc::new_cyclic(|this| Watch {
            this: this.clone(),
            limit: limit.max(LEAST),
            hook,
            pool: AtomicU64::new(0),
            is_armed: AtomicBool::new(false),
            is_reporting: AtomicBool::new(false),
            state: Mutex::default(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks again in a while.
    fn schedule(&self) {
        let (this, deadline) = (self.this.upgrade(), deadline_after(self.limit / LOOKS));
        if let (Some(this), Some(deadline)) = (this, deadline) {
            timer::add_waker(deadline, None, Waker::from(this));
        }
    }

    /// Called on the timer's thread.
    fn look(&self) {
        let registry = pool::pool(self.pool.load(Ordering::Relaxed));
        let Some(registry) = registry.filter(|registry| !registry.forked()) else {
            return self.is_armed.store(false, Ordering::Relaxed);
        };
        if !self.is_reporting.load(Ordering::Acquire) {
            let due = self.state().look(&registry, self.limit);
            if !due.is_empty() {
                self.begin_report(&registry, due);
            }
        }
        if is_at_work(&registry) {
            return self.schedule();
        }
        self.is_armed.store(false, Ordering::Relaxed);
        // Store-load pair: {not armed; fence; busy} here, {busy; fence; armed} in a thread that begins to be busy.
        fence(Ordering::SeqCst);
        if is_at_work(&registry) {
            self.arm(registry.id);
        }
    }

    /// Starts a thread that reports. If that fails, the next looks try again after twice the time.
    fn begin_report(&self, registry: &Arc<Registry>, due: Vec<Due>) {
        let Some(this) = self.this.upgrade() else {
            return;
        };
        self.is_reporting.store(true, Ordering::Relaxed);
        let registry = Arc::clone(registry);
        let report = move || {
            this.report(&registry, due);
            this.is_reporting.store(false, Ordering::Release);
        };
        let thread = std::thread::Builder::new().name("heist-stall".to_owned());
        if thread.spawn(report).is_err() {
            self.is_reporting.store(false, Ordering::Relaxed);
        }
    }

    fn report(&self, registry: &Registry, due: Vec<Due>) {
        let dump = dump::dump(registry, true);
        for due in due {
            let found = match due.key {
                Key::Runs(slot, signature) => runs(registry, &dump, &due, slot, signature),
                Key::Waits(..) => self.deadlock(&dump, due.thread),
                Key::AllWait => {
                    dump.cycles
                        .is_empty()
                        .then_some((StallKind::AllWait, None, due.lasts))
                }
                Key::Queue => Some((StallKind::Queue, None, due.lasts)),
            };
            if let Some((kind, thread, lasts)) = found {
                let report = StallReport {
                    kind,
                    lasts,
                    thread,
                    dump: dump.clone(),
                };
                let called = unwind::catch(|| (self.hook)(&report));
                called.unwrap_or_else(unwind::drop_quietly);
            }
        }
    }

    /// The circle in which the thread is, unless it was reported lately.
    fn deadlock(
        &self,
        dump: &Dump,
        thread: u64,
    ) -> Option<(StallKind, Option<ThreadRef>, Duration)> {
        let waits = |cycle: &&WaitCycle| {
            cycle
                .edges
                .iter()
                .any(|edge| dump.thread(edge.from).os_id == thread)
        };
        let cycle = dump.cycles.iter().find(waits)?;
        let threads = || cycle.edges.iter().map(|edge| dump.thread(edge.from));
        let mut ids: Vec<u64> = threads().map(|thread| thread.os_id).collect();
        ids.extend(threads().filter_map(|thread| Some(thread.task.as_ref()?.id)));
        ids.sort_unstable();
        let lasts = threads().map(|thread| thread.since_at_least).min()?;
        let mut state = self.state();
        let next = state.next_of_cycles.entry(ids).or_insert(self.limit);
        if lasts < *next {
            return None;
        }
        while *next <= lasts {
            *next = next.saturating_mul(2).max(Duration::from_nanos(1));
        }
        Some((
            StallKind::Deadlock,
            cycle.edges.first().map(|edge| edge.from),
            lasts,
        ))
    }
}

impl Watcher for Watch {
    fn arm(&self, pool: u64) {
        if !self.is_armed.load(Ordering::Relaxed) && !self.is_armed.swap(true, Ordering::Relaxed) {
            self.pool.store(pool, Ordering::Relaxed);
            self.schedule();
        }
    }
}

impl Wake for Watch {
    fn wake(self: Arc<Self>) {
        self.look();
    }
}

/// What a look makes of a thread that stood still in the program's code.
fn runs(
    registry: &Registry,
    dump: &Dump,
    due: &Due,
    slot: usize,
    signature: Signature,
) -> Option<(StallKind, Option<ThreadRef>, Duration)> {
    // The thread may have gone on meanwhile.
    if signature_of(registry.slot(slot)) != signature {
        return None;
    }
    let threads = dump.pools.first()?.threads.iter();
    let is_it =
        |thread: &ThreadDump| thread.os_id == due.thread && thread.role != ThreadRole::Guest;
    let (thread, found) = threads.enumerate().find(|(_, thread)| is_it(thread))?;
    let kind = match found.system {
        SystemState::Blocked => StallKind::Blocked,
        SystemState::Starved | SystemState::Stopped => StallKind::Starved,
        _ => StallKind::Busy,
    };
    Some((kind, Some(ThreadRef { pool: 0, thread }), due.lasts))
}

/// What changes if the thread of a slot goes on.
fn signature_of(slot: &Slot) -> Signature {
    let forks = (slot.ring.depth() as u64) << 32 | slot.ring.top() as u64;
    let waited = slot.activity.see().waited.map_or(0, Waited::word);
    [
        slot.running.id(),
        slot.counters.executed.get(),
        forks ^ (slot.tasks.len() as u64) << 48,
        waited ^ slot.counters.parks.get(),
    ]
}

/// Whether the thread of a slot runs code of the program.
fn runs_code(slot: &Slot) -> bool {
    slot.counters.busy_since_ns.get() != 0 || slot.running.is_some()
}

/// Whether a thread sleeps until another one does something.
fn is_wait(waited: Waited) -> bool {
    waited != Waited::WORK && waited != Waited::BLOCKING
}

/// Whether anything runs, waits or is queued in the pool.
fn is_at_work(registry: &Registry) -> bool {
    let at_work = |slot: &Slot| {
        let waits = slot.activity.see().waited.is_some_and(is_wait);
        waits || runs_code(slot)
    };
    registry.all_slots().any(at_work) || registry.try_queued() > 0
}

impl State {
    /// Returns what is to be reported now.
    fn look(&mut self, registry: &Registry, limit: Duration) -> Vec<Due> {
        let now_ns = clock::now_ns();
        let mut found = Vec::new();
        let (mut threads, mut waiting) = (0, 0);
        for slot in registry.all_slots() {
            let (seen, signature) = (slot.activity.see(), signature_of(slot));
            let same_ns = self.looks.same_for(slot.id, signature, now_ns);
            let is_own = !matches!(slot.kind, Role::Guest) && seen.thread != 0;
            threads += usize::from(is_own);
            let key = match seen.waited {
                Some(waited) if is_wait(waited) => {
                    waiting += usize::from(is_own);
                    Key::Waits(slot.id, signature)
                }
                None if is_own && runs_code(slot) => Key::Runs(slot.id, signature),
                _ => continue,
            };
            let lasts_ns = match key {
                Key::Waits(..) => now_ns.saturating_sub(seen.since_ns),
                _ => same_ns,
            };
            found.push(Due {
                key,
                lasts: Duration::from_nanos(lasts_ns),
                thread: seen.thread,
            });
        }
        let queued = registry.try_queued();
        let runs = registry.runs();
        let all_wait =
            threads > 0 && waiting == threads && queued + registry.scope_injector.len() > 0;
        let all_wait_ns = self
            .all_wait
            .same_for(0, [u64::from(all_wait), runs, 0, 0], now_ns);
        let queued_ns = self.looks.queued_for(queued, runs, now_ns);
        let stands = |due: &Due| matches!(due.key, Key::Runs(..)) && due.lasts >= limit / 2;
        let pool_wide = |key, lasts_ns| Due {
            key,
            lasts: Duration::from_nanos(lasts_ns),
            thread: 0,
        };
        if all_wait {
            found.push(pool_wide(Key::AllWait, all_wait_ns));
        } else if !found.iter().any(stands) {
            found.push(pool_wide(Key::Queue, queued_ns));
        }
        self.next
            .retain(|key, _| found.iter().any(|due| due.key == *key));
        found.retain(|due| {
            let next = self.next.entry(due.key).or_insert(limit);
            if due.key == Key::Queue && due.lasts < limit {
                // The next entry that waits for long is another thing.
                *next = limit;
            }
            let is_due = due.lasts >= *next;
            while *next <= due.lasts {
                *next = next.saturating_mul(2);
            }
            is_due
        });
        found
    }
}

impl fmt::Display for StallReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stalled for {:.1} s: ", self.lasts.as_secs_f64())?;
        let thread = self.thread.map(|place| self.dump.thread(place));
        let who = thread.map_or_else(String::new, |thread| thread.role.to_string());
        match self.kind {
            StallKind::Busy => write!(f, "{who} is busy in the program's code")?,
            StallKind::Blocked => write!(f, "{who} is blocked in the program's code")?,
            StallKind::Starved => write!(f, "{who} is ready to run but gets no processor")?,
            StallKind::Deadlock => write!(f, "threads wait for each other")?,
            StallKind::AllWait => write!(f, "all threads wait, and something is queued")?,
            StallKind::Queue => write!(f, "something stays in a queue")?,
        }
        if let (Some(task), true) = (
            thread.and_then(|t| t.task.as_ref()),
            self.kind != StallKind::Deadlock,
        ) {
            write!(f, ", in {task}")?;
        }
        write!(f, "\n{}", self.dump)
    }
}
