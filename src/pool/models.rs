//! Loom models of whole pools: the registry, its threads and the sleep protocol as they ship.
//!
//! A lost wake-up leaves all threads blocked, which loom reports as a deadlock. Dropping a pool wakes its threads, so that each model waits for its
//! result before it drops the pool.

use super::slot::{Role, Slot};
use super::slots::SlotTable;
use super::{ThreadPool, Waits, context, worker};
use crate::barrier::{self, Flavour};
use crate::latch::Latch;
use crate::sleep::Parker;
use crate::sync::Arc;
use crate::testing::{self, Place, Seen};
use loom::thread;
// The tallies are not a part of what is modelled.
use std::sync::atomic::{AtomicUsize as Tally, Ordering::Relaxed};

/// Runs `body` as the model's first thread, with rings of this flavour.
pub(crate) fn model(flavour: Flavour, body: impl Fn() + Sync + Send + 'static) {
    testing::model(move || {
        barrier::set_flavour(flavour);
        body();
    });
}

/// Runs `body` as the first thread of a small model, with rings of this flavour and a bound of 3.
pub(crate) fn small_model(flavour: Flavour, body: impl Fn() + Sync + Send + 'static) {
    testing::small_model(move || {
        barrier::set_flavour(flavour);
        body();
    });
}

/// Declares each model in both flavours.
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

/// A lazy pool without spares, in which only workers with an index below `startable` ever get a thread.
pub(crate) fn pool_that_cannot_start(workers: usize, startable: usize) -> ThreadPool {
    ThreadPool::builder()
        .num_threads(workers)
        .spare_threads(0)
        .thread_name(move |index| if index < startable { "worker" } else { "" }.to_owned())
        .build()
        .expect("a pool of few threads")
}

/// Ends a model that is not about the end of a pool: the pool's last handle is dropped, and the threads end, in one order only.
pub(crate) fn end(pool: impl Sized) {
    loom::skip_branch();
    drop(pool);
}

/// Lets the pool have no guest slot in use, and one that was used before.
pub(crate) fn leave_a_free_slot(pool: &ThreadPool) {
    let registry = pool.registry();
    let [_, used] = [(); 2].map(|()| registry.acquire_guest());
    used.ring.share();
    registry.release(used);
}

/// Leaves nothing in the budget of heavy fences that guests have when they leave.
pub(crate) fn exhaust_budget(pool: &ThreadPool) {
    pool.registry().exits.exhaust();
}

/// Starts a thread from outside, which may become a guest. Several such threads need different numbers.
pub(crate) fn outsider<R: 'static>(
    number: usize,
    f: impl FnOnce() -> R + Send + 'static,
) -> thread::JoinHandle<R> {
    thread::spawn(move || {
        let _interrupted = barrier::enter_owner(16 + number);
        f()
    })
}

/// Runs `f`, in which the model's first thread may take part in pools.
pub(crate) fn as_owner<R>(f: impl FnOnce() -> R) -> R {
    let _interrupted = barrier::enter_owner(0);
    f()
}

/// Something for which a thread waits without the knowledge of any pool, as it does for a lock or a channel.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<Parker>);

impl Gate {
    pub(crate) fn open(&self) {
        self.0.unpark();
    }

    /// Waits until the gate is open. Only one thread may do so.
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

/// An unused pool starts no thread. A pool whose handle is dropped while its first task is queued runs the task, and its thread ends.
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

/// The last handle is dropped on the pool's own thread. The drop returns, and the thread ends.
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
        // No thread joins the worker if the last handle was its own.
        over.pass();
    });
}

/// Both threads of a pool search when two tasks are spawned, of which one waits for the other, and the pool is dropped. Both stay for the tasks, though either can
/// have looked before they were queued.
#[test]
fn a_pool_dropped_at_once_keeps_its_threads_for_its_tasks() {
    model(Flavour::Strict, || {
        loom::stop_exploring();
        let pool = pool(2, 0);
        let gates = [(); 2].map(|()| {
            let (begun, gate) = (Gate::default(), Gate::default());
            let (begin, pass) = (begun.clone(), gate.clone());
            pool.spawn(move || {
                begin.open();
                pass.pass();
            });
            begun.pass();
            gate
        });
        let gate = Gate::default();
        let open = gate.clone();
        loom::explore();
        gates.iter().for_each(Gate::open);
        pool.spawn(move || gate.pass());
        pool.spawn(move || {
            open.open();
            // What follows is the end of the pool.
            loom::skip_branch();
        });
        drop(pool);
    });
}

/// Two tasks from outside meet one worker that parks when it finds nothing. The second task is not left in the queue.
#[test]
fn tasks_from_outside_against_the_final_recheck() {
    small_model(Flavour::Strict, || {
        let pool = pool(1, 0);
        let party = Party::of(2);
        for _ in 0..2 {
            let party = party.clone();
            pool.spawn(move || party.arrive());
        }
        party.gate.pass();
        end(pool);
    });
}

/// A guest was woken to help and counts as searching, so that a thread that queues a task relies on it. The guest takes up the only room and may not
/// run the task, so that it must wake a worker.
#[test]
fn a_guest_that_searches_against_a_submit() {
    small_model(Flavour::Strict, || {
        loom::stop_exploring();
        let pool = Arc::new(pool(1, 0));
        let sleep = &pool.registry().sleep;
        // The worker has a thread, which sleeps. Without one the submitting thread would run the task.
        pool.spawn(|| ());
        while sleep.counts().workers > 0 {
            thread::yield_now();
        }
        loom::explore();
        // As if another thread had found the guest among the helpers, and claimed it.
        sleep.register_helper();
        assert!(sleep.claim_helper(true));
        sleep.unregister_helper();
        let over = Gate::default();
        let (handle, open) = (Arc::clone(&pool), over.clone());
        let task = move || {
            loom::stop_exploring();
            open.open();
        };
        let other = outsider(0, move || handle.spawn(task));
        as_owner(|| pool.registry().hand_off_search());
        over.pass();
        let _ = sleep.leave_guest();
        other.join().unwrap();
        end(pool);
    });
}

/// A worker parks in a wait for something that a task from outside brings about. The task is published while the worker is awake and takes up the
/// only room, or later. A spare must run it.
#[test]
fn a_parked_waiter_leaves_idle_capacity() {
    model(Flavour::Strict, || {
        let pool = pool(1, 1);
        let latch = Latch::new(1);
        let over = Gate::default();
        let (waiting, after) = (latch.clone(), over.clone());
        pool.spawn(move || {
            let member = context::member().expect("on a worker");
            worker::wait(member, &waiting, false);
            after.open();
        });
        pool.spawn(move || latch.count_down());
        over.pass();
        end(pool);
    });
}

/// A lazy pool of one thread whose waits run anything.
fn open_pool() -> ThreadPool {
    ThreadPool::builder()
        .num_threads(1)
        .spare_threads(0)
        .waits(Waits::Any)
        .build()
        .expect("a pool of one thread")
}

/// A worker parks in a wait for something that a task from outside brings about. There are no spares, and the waiter may run anything: it wakes up
/// and runs the task itself.
#[test]
fn a_parked_waiter_runs_anything() {
    model(Flavour::Strict, || {
        let pool = open_pool();
        let latch = Latch::new(1);
        let over = Gate::default();
        let (waiting, after) = (latch.clone(), over.clone());
        pool.spawn(move || {
            let member = context::member().expect("on a worker");
            worker::wait(member, &waiting, false);
            after.open();
        });
        pool.spawn(move || latch.count_down());
        over.pass();
        end(pool);
    });
}

/// A waiter that may run anything is woken for a task at the moment when its wait ends. The task runs all the same.
#[test]
fn a_waiter_is_claimed_when_its_wait_is_over() {
    model(Flavour::Strict, || {
        let pool = open_pool();
        let latch = Latch::new(1);
        let party = Party::of(2);
        let (waiting, after, task) = (latch.clone(), party.clone(), party.clone());
        pool.spawn(move || {
            let member = context::member().expect("on a worker");
            worker::wait(member, &waiting, false);
            after.arrive();
        });
        latch.count_down();
        pool.spawn(move || task.arrive());
        party.gate.pass();
        end(pool);
    });
}

/// A worker parks in a wait for a detached task of its own deque, and a guest that blocks on the task takes up the only room. A waiting thread
/// may not run detached tasks, so that a spare must run it.
#[test]
fn a_waiters_own_tasks_need_a_worker_whatever_the_guests_do() {
    model(Flavour::Strict, || {
        let pool = Arc::new(pool(1, 1));
        let latch = Latch::new(1);
        let over = Gate::default();
        let (handle, waiting, after) = (Arc::clone(&pool), latch.clone(), over.clone());
        pool.spawn(move || {
            handle.spawn(move || latch.count_down());
            let member = context::member().expect("on a worker");
            drop(handle);
            worker::wait(member, &waiting, false);
            after.open();
        });
        pool.install(|| over.pass());
        end(pool);
    });
}

/// A broadcast task reaches a worker that is parking.
#[test]
fn a_broadcast_against_park() {
    model(Flavour::Strict, || {
        let pool = pool(1, 0);
        pool.spawn(|| ());
        assert_eq!(pool.broadcast(|index| index + 7), [7]);
        end(pool);
    });
}

/// A worker that is called for a broadcast task, asleep or not, does not miss a task that is submitted in the meantime.
#[test]
fn a_broadcast_against_a_submit() {
    model(Flavour::Strict, || {
        let (pool, gate) = (pool(1, 0), Gate::default());
        let over = gate.clone();
        pool.spawn_broadcast(|_| ());
        pool.spawn(move || over.open());
        gate.pass();
        end(pool);
    });
}

/// No worker can be started, so that the caller of `spawn` runs its task itself.
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
        end(pool);
    });
}

/// Two threads from outside use a guest slot one after the other. The second thread sees the ring, deque and cells as the first one left them.
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
                    // The last access to the owner's part, after all fences.
                    slot.set_role(slot.role());
                    slot.id
                })
            }
        };
        let other = thread::spawn(use_slot.clone());
        let first = use_slot();
        let second = other.join().unwrap();
        marks.mark(if first == second { "one slot" } else { "two" });
        end(pool);
    });
    seen.check(&["one slot", "two"]);
}

/// The pool becomes larger while a task from outside is queued behind one that waits for it. The later of the two events starts a worker.
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
        end(pool);
    });
}

/// A surplus worker ends with a task in its deque, while the other worker, which relies on it, parks.
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
        end(pool);
    });
}

/// The publisher of a task starts a worker, which fails. The other worker, which has finished its task, has parked without a look in the meantime,
/// because it relied on the first one.
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
        end(pool);
    });
}

/// A broadcast task is posted to a worker whose thread is being started, which fails. One of the two threads runs the task.
#[test]
fn a_broadcast_against_a_start_that_fails() {
    small_model(Flavour::Strict, || {
        let pool = Arc::new(pool_that_cannot_start(1, 0));
        let handle = Arc::clone(&pool);
        let other = thread::spawn(move || handle.spawn(|| ()));
        assert_eq!(pool.broadcast(|index| index + 7), [7]);
        other.join().unwrap();
        end(pool);
    });
}

/// A new thread is in its start hook until a task has run, whose publisher may have relied on that thread.
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
        end(pool);
    });
}

/// A task is in no queue while the injector is swept. The worker finds nothing at that moment, and parks.
#[test]
fn a_sweep_of_the_injector_against_park() {
    small_model(Flavour::Strict, || {
        let pool = pool(1, 0);
        let over = Gate::default();
        let after = over.clone();
        pool.spawn(move || after.open());
        pool.registry().sweep_injector(|_| false);
        over.pass();
        end(pool);
    });
}

/// A slot goes out of use, and another one comes into use, while a thread reads the set. If it has read the same version before and after, it has read
/// the set that belongs to the version.
#[test]
fn the_set_of_slots_in_use_against_its_version() {
    loom::model(|| {
        let table = Arc::new(SlotTable::default());
        let ids = [(); 2].map(|()| table.push(|id| Slot::new(id, Role::Guest)));
        table.set_used(ids[0], true);
        let reader = {
            let table = Arc::clone(&table);
            thread::spawn(move || {
                let before = table.version();
                let set = Vec::from_iter(table.used(0).map(|slot| slot.id));
                let Some(version) = before.filter(|_| table.version() == before) else {
                    return;
                };
                let expected: &[usize] = match version {
                    2 => &[0],
                    4 => &[],
                    _ => &[1],
                };
                assert_eq!(set, expected);
            })
        };
        table.set_used(ids[0], false);
        table.set_used(ids[1], true);
        reader.join().unwrap();
    });
}
