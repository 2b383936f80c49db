//! Loom models of whole pools: the registry, its threads and the sleep protocol as they ship.
//!
//! A lost wake-up leaves all threads blocked, which loom reports as a deadlock. Dropping a pool wakes its threads, so each
//! model waits for what it is about before it drops the pool.

use super::{ThreadPool, Waits, context, worker};
use crate::barrier::{self, Flavour};
use crate::latch::Latch;
use crate::sleep::Parker;
use crate::sync::Arc;
use crate::testing::{self, Place, Seen};
use loom::thread;
// Tallies are no part of what is modelled.
use std::sync::atomic::{AtomicUsize as Tally, Ordering::Relaxed};

/// Runs `body` as the model's first thread, with rings of this flavour.
pub(crate) fn model(flavour: Flavour, body: impl Fn() + Sync + Send + 'static) {
    testing::model(move || {
        barrier::set_flavour(flavour);
        body();
    });
}

/// The same for a small model, with a bound of 3.
pub(crate) fn small_model(flavour: Flavour, body: impl Fn() + Sync + Send + 'static) {
    testing::small_model(move || {
        barrier::set_flavour(flavour);
        body();
    });
}

/// Both flavours of each model.
macro_rules! both_flavours {
    ($($(#[$doc:meta])* $name:ident: $model:ident, $body:expr;)*) => {
        mod strict { use super::*; $( $(#[$doc])* #[test] fn $name() {
            $model(Flavour::Strict, $body);
        } )* }
        mod paired { use super::*; $( $(#[$doc])* #[test] fn $name() {
            $model(Flavour::Paired, $body);
        } )* }
    };
}
pub(crate) use both_flavours;

/// A lazy pool.
pub(crate) fn pool(workers: usize, spares: usize) -> ThreadPool {
    ThreadPool::builder()
        .num_threads(workers)
        .spare_threads(spares)
        .build()
        .expect("a pool of few threads")
}

/// As [`pool`], but only workers below `startable` ever get a thread.
pub(crate) fn pool_that_cannot_start(workers: usize, startable: usize) -> ThreadPool {
    ThreadPool::builder()
        .num_threads(workers)
        .spare_threads(0)
        .thread_name(move |index| if index < startable { "worker" } else { "" }.to_owned())
        .build()
        .expect("a pool of few threads")
}

/// A thread from outside, which may be a guest in its turn. Several need different numbers.
pub(crate) fn outsider(number: usize, f: impl FnOnce() + Send + 'static) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let _interrupted = barrier::enter_owner(16 + number);
        f();
    })
}

/// The model's first thread takes part in pools meanwhile.
pub(crate) fn as_owner<R>(f: impl FnOnce() -> R) -> R {
    let _interrupted = barrier::enter_owner(0);
    f()
}

/// Something that threads wait for outside of any pool's knowledge, as for a lock or a channel.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<Parker>);

impl Gate {
    pub(crate) fn open(&self) {
        self.0.unpark();
    }

    /// For one thread.
    pub(crate) fn pass(&self) {
        self.0.park();
    }
}

/// Tasks that open a gate together.
#[derive(Clone)]
struct Party {
    missing: Arc<Tally>,
    gate: Gate,
}

impl Party {
    fn of(tasks: usize) -> Self {
        Party {
            missing: Arc::new(Tally::new(tasks)),
            gate: Gate::default(),
        }
    }

    fn arrive(&self) {
        if self.missing.fetch_sub(1, Relaxed) == 1 {
            self.gate.open();
        }
    }
}

/// A pool that nobody uses starts nothing; one whose handle goes while its first task is queued runs it, and its thread
/// ends.
#[test]
fn a_pool_dropped_at_once_runs_its_task() {
    small_model(Flavour::Strict, || {
        drop(pool(1, 0));
        let ran = Arc::new(Place::default());
        let pool = pool(1, 0);
        let task = Arc::clone(&ran);
        pool.spawn(move || task.set(true));
        drop(pool);
        assert!(ran.get());
    });
}

/// A handle that is dropped on the pool's own thread: the drop returns, and the thread ends.
#[test]
fn a_pool_dropped_by_its_own_task() {
    small_model(Flavour::Strict, || {
        let over = Gate::default();
        let exit = over.clone();
        let pool = ThreadPool::builder()
            .num_threads(1)
            .spare_threads(0)
            .on_thread_exit(move |_| exit.open())
            .build()
            .expect("a pool of one thread");
        let handle = pool.clone();
        pool.spawn(move || drop(handle));
        drop(pool);
        // Nobody joins the thread if the last handle was its own.
        over.pass();
    });
}

/// Two tasks from outside, one worker that parks when it finds nothing: the second one is not left in the queue.
#[test]
fn tasks_from_outside_against_the_last_look() {
    small_model(Flavour::Strict, || {
        let pool = pool(1, 0);
        let party = Party::of(2);
        for _ in 0..2 {
            let party = party.clone();
            pool.spawn(move || party.arrive());
        }
        party.gate.pass();
        drop(pool);
    });
}

/// A worker waits, parked, for something that a task from outside brings about. The task is published while that worker
/// is awake and takes the only place, or later: a spare must run it.
#[test]
fn a_parked_waiter_leaves_a_vacancy() {
    model(Flavour::Strict, || {
        let pool = pool(1, 1);
        let latch = Latch::new(1);
        let over = Gate::default();
        let (waiting, after) = (latch.clone(), over.clone());
        pool.spawn(move || {
            let slot = context::slot().expect("on a worker");
            worker::wait(slot, &waiting, false);
            after.open();
        });
        pool.spawn(move || latch.count_down());
        over.pass();
        drop(pool);
    });
}

/// A lazy pool of one thread, whose waits run anything.
fn open_pool() -> ThreadPool {
    ThreadPool::builder()
        .num_threads(1)
        .spare_threads(0)
        .waits(Waits::Any)
        .build()
        .expect("a pool of one thread")
}

/// As in `a_parked_waiter_leaves_a_vacancy`, but there are no spares, and the waiter may run anything: it wakes up and runs the
/// task itself.
#[test]
fn a_parked_waiter_runs_anything() {
    model(Flavour::Strict, || {
        let pool = open_pool();
        let latch = Latch::new(1);
        let over = Gate::default();
        let (waiting, after) = (latch.clone(), over.clone());
        pool.spawn(move || {
            let slot = context::slot().expect("on a worker");
            worker::wait(slot, &waiting, false);
            after.open();
        });
        pool.spawn(move || latch.count_down());
        over.pass();
        drop(pool);
    });
}

/// A waiter that may run anything is woken for a task at the moment when its wait ends: the task is not lost, whoever gets to it.
#[test]
fn a_waiter_is_recruited_when_its_wait_is_over() {
    model(Flavour::Strict, || {
        let pool = open_pool();
        let latch = Latch::new(1);
        let party = Party::of(2);
        let (waiting, after, task) = (latch.clone(), party.clone(), party.clone());
        pool.spawn(move || {
            let slot = context::slot().expect("on a worker");
            worker::wait(slot, &waiting, false);
            after.arrive();
        });
        latch.count_down();
        pool.spawn(move || task.arrive());
        party.gate.pass();
        drop(pool);
    });
}

/// A worker's own task lies in its deque when it parks in a wait for that task, and a guest, which blocks on the same thing, takes
/// the only place: a detached task is nobody's to help with, so a spare must run it all the same.
#[test]
fn a_waiters_own_tasks_need_a_worker_whatever_the_guests_do() {
    model(Flavour::Strict, || {
        let pool = Arc::new(pool(1, 1));
        let latch = Latch::new(1);
        let over = Gate::default();
        let (handle, waiting, after) = (Arc::clone(&pool), latch.clone(), over.clone());
        pool.spawn(move || {
            handle.spawn(move || latch.count_down());
            let slot = context::slot().expect("on a worker");
            drop(handle);
            worker::wait(slot, &waiting, false);
            after.open();
        });
        pool.install(|| over.pass());
        drop(pool);
    });
}

/// The closure of a broadcast reaches a worker that is parking.
#[test]
fn a_letter_against_park() {
    model(Flavour::Strict, || {
        let pool = pool(1, 0);
        pool.spawn(|| ());
        assert_eq!(pool.broadcast(|index| index + 7), [7]);
        drop(pool);
    });
}

/// No worker can be started: the caller of `spawn` runs its task itself.
#[test]
fn without_threads_tasks_run_all_the_same() {
    model(Flavour::Strict, || {
        let pool = Arc::new(pool_that_cannot_start(1, 0));
        let party = Party::of(2);
        let publish = {
            let (pool, party) = (Arc::clone(&pool), party.clone());
            move || pool.spawn(move || party.arrive())
        };
        let other = thread::spawn(publish.clone());
        publish();
        party.gate.pass();
        other.join().unwrap();
        drop(pool);
    });
}

/// Two threads from outside use the same guest slot one after the other: the second sees its ring, deque and cells as the
/// first left them.
#[test]
fn a_guest_slot_changes_hands() {
    let seen = Seen::default();
    let marks = seen.clone();
    model(Flavour::Strict, move || {
        let pool = Arc::new(pool_that_cannot_start(1, 0));
        let use_slot = {
            let pool = Arc::clone(&pool);
            move || {
                pool.install(|| {
                    pool.join(|| (), || ());
                    let slot = context::slot().expect("a guest");
                    // The last touch of the owner's side, after all fences.
                    slot.set_role(slot.role());
                    slot.id
                })
            }
        };
        let other = thread::spawn(use_slot.clone());
        let first = use_slot();
        let second = other.join().unwrap();
        marks.mark(if first == second { "one slot" } else { "two" });
        drop(pool);
    });
    seen.check(&["one slot", "two"]);
}

/// The pool becomes larger while a task from outside is queued behind one that waits for it: whoever comes second gets a worker.
#[test]
fn a_larger_pool_against_a_submit() {
    model(Flavour::Strict, || {
        loom::stop_exploring();
        let pool = Arc::new(pool(1, 0));
        let (begun, gate, over) = (Gate::default(), Gate::default(), Gate::default());
        let (begin, pass, after) = (begun.clone(), gate.clone(), over.clone());
        pool.spawn(move || {
            begin.open();
            pass.pass();
            after.open();
        });
        begun.pass();
        loom::explore();
        let handle = Arc::clone(&pool);
        let other = thread::spawn(move || {
            assert_eq!(handle.set_num_threads(2), 1);
        });
        pool.spawn(move || gate.open());
        over.pass();
        loom::stop_exploring();
        other.join().unwrap();
        drop(pool);
    });
}

/// A worker that is one too many ends with a task in its deque, while the other one, which counts on it, parks.
#[test]
fn a_smaller_pool_against_a_submit() {
    model(Flavour::Strict, || {
        loom::stop_exploring();
        let pool = Arc::new(pool(2, 0));
        let over = Gate::default();
        // Both workers are in a task.
        let [first, second] = [false, true].map(|submits| {
            let (begun, gate) = (Gate::default(), Gate::default());
            let (begin, pass, after) = (begun.clone(), gate.clone(), over.clone());
            let handle = submits.then(|| Arc::clone(&pool));
            pool.spawn(move || {
                begin.open();
                pass.pass();
                if let Some(pool) = handle {
                    pool.spawn(move || after.open());
                }
            });
            begun.pass();
            gate
        });
        loom::explore();
        first.open();
        assert_eq!(pool.set_num_threads(1), 2);
        second.open();
        over.pass();
        loom::stop_exploring();
        drop(pool);
    });
}

/// A task's publisher starts a worker that cannot be started. The other worker, which is done with its task, has parked without a look
/// meanwhile: it counted on that one.
#[test]
fn a_start_that_fails_leaves_no_task_behind() {
    small_model(Flavour::Strict, || {
        let pool = pool_that_cannot_start(2, 1);
        let party = Party::of(2);
        for _ in 0..2 {
            let party = party.clone();
            pool.spawn(move || party.arrive());
        }
        party.gate.pass();
        drop(pool);
    });
}

/// A letter is posted to a worker whose thread is being started, and cannot be: one of the two reads it.
#[test]
fn a_letter_against_a_start_that_fails() {
    small_model(Flavour::Strict, || {
        let pool = Arc::new(pool_that_cannot_start(1, 0));
        let handle = Arc::clone(&pool);
        let other = thread::spawn(move || handle.spawn(|| ()));
        assert_eq!(pool.broadcast(|index| index + 7), [7]);
        other.join().unwrap();
        drop(pool);
    });
}

/// A thread that has begun is in its hook until a task has run, whose publisher may have relied on it.
#[test]
fn a_hook_against_a_submit() {
    model(Flavour::Strict, || {
        let (gate, over) = (Gate::default(), Gate::default());
        let (hook, after) = (gate.clone(), over.clone());
        let pool = ThreadPool::builder()
            .num_threads(2)
            .spare_threads(0)
            .on_thread_start(move |index| {
                if index == 0 {
                    hook.pass();
                    after.open();
                }
            })
            .build()
            .expect("a pool of few threads");
        pool.spawn(|| ());
        pool.spawn(move || gate.open());
        over.pass();
        drop(pool);
    });
}

/// A task is in no queue while the lanes are swept. The worker finds nothing then, and parks.
#[test]
fn a_sweep_of_the_lanes_against_park() {
    small_model(Flavour::Strict, || {
        let pool = pool(1, 0);
        let over = Gate::default();
        let after = over.clone();
        pool.spawn(move || after.open());
        pool.registry().sweep_lanes(|_| false);
        over.pass();
        drop(pool);
    });
}
