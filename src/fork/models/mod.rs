//! Loom models of `join`, `scope` and `run` in whole pools: a guest and one or two workers run the code that ships.
//!
//! The closures write to plain [`Place`]s, so loom also checks that results are published.

use super::{current_thread_index, join, scope, yield_now};
use crate::barrier::{self, Flavour};
use crate::latch::Latch;
use crate::pool::models::{
    Gate, as_owner, both_flavours, end, exhaust_budget, leave_a_free_slot, model, outsider, pool,
    pool_that_cannot_start, small_model,
};
use crate::pool::{ThreadPool, Waits, context, worker};
use crate::sync::Arc;
use crate::testing::{Place, Seen};
use loom::thread;
use std::cell::Cell;

/// Returns where the current closure runs.
fn here() -> &'static str {
    match current_thread_index() {
        Some(_) => "on a worker",
        None => "on the guest",
    }
}

/// Blocks a thread of a pool until a fork or a task sets the latch. The wait parks and helps nobody, as the wait for a closure of another pool does.
fn wait_for(latch: &Latch) {
    let member = context::member().expect("a thread that takes part in a pool");
    worker::wait(member, latch, false);
}

mod joins {
    use super::*;

    /// Starts a guest, which has entered the pool when this function returns, and leaves at any later time.
    fn guest_for_a_while(pool: &Arc<ThreadPool>) -> thread::JoinHandle<()> {
        loom::stop_exploring();
        let entered = Gate::default();
        let (pool, enter) = (Arc::clone(pool), entered.clone());
        let guest = outsider(0, move || {
            pool.install(|| {
                enter.open();
                thread::yield_now();
            });
        });
        entered.pass();
        loom::explore();
        guest
    }

    /// A guest forks and blocks until its fork has run, while another guest is in the pool and leaves at some time.
    fn leave_a_fork_behind(pool: ThreadPool) {
        let pool = Arc::new(pool);
        let gate = Gate::default();
        let open = gate.clone();
        let other = guest_for_a_while(&pool);
        as_owner(|| pool.join(|| gate.pass(), || open.open()));
        other.join().unwrap();
        end(pool);
    }

    both_flavours! {
        /// Both halves run once, on either thread, and what they have written is visible.
        a_worker_may_take_the_second_half: model, || {
            let pool = pool(2, 0);
            let (a, b) = (Place::default(), Place::default());
            let (one, two) = as_owner(|| pool.join(
                || { a.set(1); 10 },
                || { b.set(2); 20 },
            ));
            assert_eq!((one, two, a.get(), b.get()), (10, 20, 1, 2));
            end(pool);
        };

        /// The owner blocks until its last fork has run, which it has never made public. Therefore a thief takes the fork by force. The
        /// thief can be about to park when that fork is pushed.
        an_owner_that_stands_still: model, || {
            let pool = pool(2, 0);
            let gate = Gate::default();
            let open = gate.clone();
            as_owner(|| pool.join(
                || join(|| gate.pass(), || open.open()),
                || (),
            ));
            end(pool);
        };

        /// A guest forks while another guest uses up the pool's capacity. When the other one leaves, a worker must be started.
        a_guest_leaves_a_fork_behind: model, || leave_a_fork_behind(pool(2, 0));

        /// A guest forks while another one uses up the capacity, and guests have used up their budget of heavy fences. When the other one leaves, a
        /// worker must be started.
        a_guest_beyond_the_budget_leaves_a_fork_behind: model, || {
            let pool = pool(2, 0);
            exhaust_budget(&pool);
            leave_a_fork_behind(pool);
        };

        /// Two guests that use up the capacity leave at the same time. The first one makes room, and the second one relies on it. So a worker must be
        /// started for the fork of a guest that enters later.
        two_guests_leave_at_once: model, || {
            loom::stop_exploring();
            let pool = Arc::new(pool(2, 0));
            let gates = [0, 1].map(|number| {
                let gates = [(); 4].map(|()| Gate::default());
                let [entered, go, forked, leave] = gates.clone();
                let own = Arc::clone(&pool);
                let guest = outsider(number, move || own.install(|| {
                    entered.open();
                    go.pass();
                    join(|| (), || ());
                    forked.open();
                    leave.pass();
                }));
                gates[0].pass();
                (gates, guest)
            });
            while pool.registry().sleep.counts().workers > 0 {
                thread::yield_now();
            }
            for (gates, _) in &gates {
                gates[1].open();
                gates[2].pass();
            }
            loom::explore();
            for (gates, _) in &gates {
                gates[3].open();
            }
            for (_, guest) in gates {
                guest.join().unwrap();
            }
            let gate = Gate::default();
            let open = gate.clone();
            as_owner(|| pool.join(|| gate.pass(), || open.open()));
            end(pool);
        };

        /// The pool becomes larger while a guest, which uses up the capacity, blocks until its fork has run. A worker must be started, and steals the fork.
        a_larger_pool_steals_a_fork: model, || {
            let pool = Arc::new(pool(1, 0));
            let gate = Gate::default();
            let open = gate.clone();
            let handle = Arc::clone(&pool);
            let other = thread::spawn(move || {
                handle.set_num_threads(2);
            });
            as_owner(|| pool.join(|| gate.pass(), || open.open()));
            other.join().unwrap();
            end(pool);
        };

        /// A guest takes a slot that was out of use, and forks, while a worker parks. The fork wakes the worker, or the worker's look finds it.
        a_slot_comes_into_use_against_park: model, || {
            loom::stop_exploring();
            let pool = pool_that_cannot_start(2, 1);
            leave_a_free_slot(&pool);
            let [begun, end_task, gate] = [(); 3].map(|()| Gate::default());
            let (begin, wait, open) = (begun.clone(), end_task.clone(), gate.clone());
            pool.spawn(move || {
                begin.open();
                wait.pass();
            });
            begun.pass();
            loom::explore();
            end_task.open();
            as_owner(|| pool.join(|| gate.pass(), || open.open()));
            end(pool);
        };

        /// The pool becomes smaller while a worker steals. The stolen fork runs, and its result comes back.
        a_smaller_pool_against_a_thief: model, || {
            let pool = pool(2, 0);
            let place = Place::default();
            as_owner(|| pool.join(|| { pool.set_num_threads(1); }, || place.set(1)));
            assert_eq!(place.get(), 1);
            end(pool);
        };

        /// A guest forks, and parks in a wait that needs the fork. Another guest, the last thread awake, leaves: a worker must be started.
        the_last_guest_leaves_a_fork_behind: model, || {
            let pool = Arc::new(pool(1, 0));
            let latch = Latch::new(1);
            let other = guest_for_a_while(&pool);
            as_owner(|| pool.join(|| wait_for(&latch), || latch.count_down()));
            other.join().unwrap();
            end(pool);
        };
    }

    /// The second half runs on a worker in some executions, and on the guest in others.
    #[test]
    fn the_second_half_runs_here_and_there() {
        let seen = Seen::default();
        let marks = seen.clone();
        model(Flavour::Paired, move || {
            let pool = pool(2, 0);
            as_owner(|| pool.join(|| (), || marks.mark(here())));
            end(pool);
        });
        seen.check(&["on a worker", "on the guest"]);
    }

    /// While the owner waits for its stolen half, it may run what that half forks.
    #[test]
    fn the_owner_helps_its_thief() {
        let seen = Seen::default();
        let marks = seen.clone();
        model(Flavour::Paired, move || {
            let pool = pool(2, 0);
            let place = Place::default();
            as_owner(|| {
                pool.install(|| {
                    join(
                        || (),
                        || {
                            let outer = here();
                            join(
                                || (),
                                || {
                                    place.set(1);
                                    if outer == "on a worker" {
                                        marks.mark(here());
                                    }
                                },
                            )
                        },
                    );
                    loom::skip_branch();
                });
            });
            assert_eq!(place.get(), 1);
            end(pool);
        });
        seen.check(&["on a worker", "on the guest"]);
    }

    /// A pool closes while one of its tasks forks and blocks until the fork has run. The worker that is about to leave takes the fork first.
    #[test]
    fn a_closing_pool_finishes_its_forks() {
        model(Flavour::Paired, || {
            loom::stop_exploring();
            let pool = pool(2, 0);
            let (begun, gate) = (Gate::default(), Gate::default());
            let (begin, open) = (begun.clone(), gate.clone());
            pool.spawn(move || {
                begin.open();
                join(|| gate.pass(), || open.open());
            });
            pool.spawn(|| ());
            begun.pass();
            loom::explore();
            drop(pool);
        });
    }
}

mod scopes {
    use super::*;

    both_flavours! {
        /// A worker takes the task or the owner runs it: the last count-down against an owner that parks.
        a_worker_may_take_the_task: small_model, || {
            let pool = pool(2, 0);
            let place = Place::default();
            // The assertion comes before the guest leaves, because the fences of leaving would order the write too.
            as_owner(|| pool.install(|| {
                scope(|s| s.spawn(|_| place.set(1)));
                assert_eq!(place.get(), 1);
            }));
            end(pool);
        };

        /// Two tasks, which can end on different threads at the same time.
        two_tasks: model, || {
            let pool = pool(2, 0);
            let places = [Place::default(), Place::default()];
            as_owner(|| pool.scope(|s| {
                for place in &places {
                    s.spawn(|_| place.set(1));
                }
            }));
            assert_eq!((places[0].get(), places[1].get()), (1, 1));
            end(pool);
        };

        /// A task spawns another one and blocks until that has run. No other thread is free, so the scope's owner must run the second task. If
        /// the owner is about to park, it must see the task or be woken.
        the_owner_runs_what_its_tasks_spawn: model, || {
            let pool = Arc::new(pool_that_cannot_start(1, 0));
            let (begun, gate) = (Gate::default(), Gate::default());
            let places = [Place::default(), Place::default()];
            let handle = Arc::clone(&pool);
            let helper = outsider(0, move || handle.install(|| {
                while !yield_now() {
                    barrier::light();
                    thread::yield_now();
                }
            }));
            as_owner(|| pool.scope(|s| {
                let (begin, open) = (begun.clone(), gate.clone());
                let places = &places;
                s.spawn(move |s| {
                    begin.open();
                    let gate = open.clone();
                    s.spawn(move |_| {
                        places[1].set(1);
                        open.open();
                    });
                    gate.pass();
                    places[0].set(1);
                });
                // Now the helper has taken the task.
                begun.pass();
            }));
            assert_eq!((places[0].get(), places[1].get()), (1, 1));
            helper.join().unwrap();
            end(pool);
        };
    }

    /// The task runs on a worker in some executions, and on the guest in others.
    #[test]
    fn a_task_runs_here_and_there() {
        let seen = Seen::default();
        let marks = seen.clone();
        model(Flavour::Paired, move || {
            let pool = pool(2, 0);
            as_owner(|| pool.scope(|s| s.spawn(|_| marks.mark(here()))));
            end(pool);
        });
        seen.check(&["on a worker", "on the guest"]);
    }

    /// A waiter that may not run a scope's task has taken it from its deque, where the scope's owner looks for it, and queues it again. No other thread is
    /// free, so the owner must be woken if it has parked.
    #[test]
    fn a_task_queued_again_against_its_owner_that_parks() {
        model(Flavour::Strict, || {
            loom::stop_exploring();
            let pool = Arc::new(pool_that_cannot_start(1, 0));
            let (begun, gate) = (Gate::default(), Gate::default());
            let handle = Arc::clone(&pool);
            let helper = outsider(0, move || {
                handle.install(|| {
                    while !yield_now() {
                        thread::yield_now();
                    }
                })
            });
            let handle = Arc::clone(&pool);
            as_owner(|| {
                pool.scope(|s| {
                    let (begin, open) = (begun.clone(), gate.clone());
                    s.spawn(move |s| {
                        let gate = open.clone();
                        s.spawn(move |_| open.open());
                        begin.open();
                        gate.pass();
                    });
                    let (inside, look) = (Gate::default(), Gate::default());
                    let (enters, looks) = (inside.clone(), look.clone());
                    let waiter = outsider(1, move || {
                        handle.install(|| {
                            enters.open();
                            looks.pass();
                            let member = context::member().expect("a guest");
                            let found = worker::find_task(member, |_| false, |_| true, usize::MAX);
                            assert!(found.is_none());
                        })
                    });
                    // Now the helper has taken the task, which has spawned the second one, and the waiter takes part in the pool.
                    begun.pass();
                    inside.pass();
                    loom::explore();
                    look.open();
                    drop(waiter);
                })
            });
            helper.join().unwrap();
            end(pool);
        });
    }

    /// A worker holds a lock across a scope. Another worker takes an unrelated task, which wants the lock, and may take the scope's task too. The owner of the
    /// scope must find its task in any case.
    #[test]
    fn a_stolen_unrelated_task_hides_no_task_from_its_scope() {
        model(Flavour::Strict, || {
            let pool = Arc::new(pool(2, 0));
            let (lock, over) = (Gate::default(), Gate::default());
            let (handle, after) = (Arc::clone(&pool), over.clone());
            pool.spawn(move || {
                let wanted = lock.clone();
                handle.spawn(move || wanted.pass());
                drop(handle);
                scope(|s| s.spawn(|_| ()));
                lock.open();
                after.open();
            });
            over.pass();
            end(pool);
        });
    }
}

mod credits;
mod helpers;

/// Waits of the only worker under [`Waits::Any`]. A wait must take everything that its final re-check counts as work. Otherwise it would look forever, or
/// sleep beside the work that ends it.
mod anything {
    use super::*;

    fn pool() -> ThreadPool {
        ThreadPool::builder()
            .num_threads(1)
            .spare_threads(0)
            .waits(Waits::Any)
            .build()
            .expect("a pool of one thread")
    }

    /// Runs `make` on the worker. It waits for `latch`, which the work sets that it creates around the wait.
    fn assert_taken(make: fn(&ThreadPool, &Latch)) {
        small_model(Flavour::Strict, move || {
            let pool = pool();
            let latch = Latch::new(1);
            pool.run(|| make(&pool, &latch));
            end(pool);
        });
    }

    #[test]
    fn a_wait_takes_the_fork_of_its_own_thread() {
        assert_taken(|_, latch| {
            join(|| wait_for(latch), || latch.count_down());
        });
    }

    #[test]
    fn a_wait_takes_an_older_fork_of_its_own_thread() {
        assert_taken(|_, latch| {
            join(|| join(|| wait_for(latch), || ()), || latch.count_down());
        });
    }

    #[test]
    fn a_wait_takes_a_task_of_a_scope_around_it() {
        assert_taken(|_, latch| {
            scope(|s| {
                s.spawn(|_| latch.count_down());
                scope(|_| wait_for(latch));
            });
        });
    }

    #[test]
    fn a_wait_takes_a_task_that_its_own_thread_has_queued() {
        assert_taken(|pool, latch| {
            let latch = latch.clone();
            let waited = latch.clone();
            pool.spawn(move || latch.count_down());
            wait_for(&waited);
        });
    }

    /// A wait takes a task from the pool's injector.
    #[test]
    fn a_wait_takes_a_task_from_outside() {
        small_model(Flavour::Strict, || {
            let pool = pool();
            let (latch, over) = (Latch::new(1), Gate::default());
            let (waited, after) = (latch.clone(), over.clone());
            pool.spawn(move || {
                wait_for(&waited);
                after.open();
            });
            pool.spawn(move || latch.count_down());
            over.pass();
            end(pool);
        });
    }

    /// A worker owns a scope, whose task runs on a guest, spawns another task and blocks until that has run. There is no idle capacity, so no thread is woken
    /// for the second task. The owner finds it before it sleeps, or the spawn wakes the owner.
    #[test]
    fn a_scopes_owner_finds_what_its_task_spawns() {
        model(Flavour::Strict, || {
            loom::stop_exploring();
            let pool = pool();
            let (begun, spawned) = (Gate::default(), Gate::default());
            let (gate, over) = (Gate::default(), Gate::default());
            let (begin, there) = (begun.clone(), spawned.clone());
            let after = over.clone();
            pool.spawn(move || {
                scope(|s| {
                    s.spawn(move |s| {
                        begin.open();
                        let open = gate.clone();
                        loom::explore();
                        s.spawn(move |_| {
                            loom::stop_exploring();
                            open.open();
                        });
                        gate.pass();
                    });
                    there.open();
                    // Now the guest has taken the task.
                    begun.pass();
                });
                after.open();
            });
            spawned.pass();
            as_owner(|| {
                pool.install(|| {
                    while !yield_now() {
                        barrier::light();
                        thread::yield_now();
                    }
                })
            });
            over.pass();
            end(pool);
        });
    }
}

/// A closure runs on a worker while its caller sleeps. Its result comes back, and what it has written is visible.
#[test]
fn run_from_outside() {
    small_model(Flavour::Strict, || {
        let pool = pool(1, 0);
        let place = Place::default();
        let result = pool.run(|| {
            place.set(1);
            2
        });
        assert_eq!((place.get(), result), (1, 2));
        end(pool);
    });
}

/// A guest, which uses up the pool's capacity, blocks until a task of a scope from outside has run. A worker must run the task nevertheless.
#[test]
fn a_scope_from_outside_beside_a_guest() {
    model(Flavour::Strict, || {
        let pool = Arc::new(pool(1, 0));
        let (inside, gate) = (Gate::default(), Gate::default());
        let (own, enters, stands) = (Arc::clone(&pool), inside.clone(), gate.clone());
        let guest = outsider(1, move || {
            own.install(|| {
                enters.open();
                stands.pass();
            });
        });
        inside.pass();
        pool.scope_on_workers(|s| s.spawn(|_| gate.open()));
        guest.join().unwrap();
        end(pool);
    });
}
