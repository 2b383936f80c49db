//! Loom models of `join`, `scope` and `run` in whole pools: a guest and one or two workers, as they ship.
//!
//! What closures write goes to plain [`Place`]s, so loom also checks that the results are published.

use super::{current_thread_index, join, scope, yield_now};
use crate::barrier::{self, Flavour};
use crate::latch::Latch;
use crate::pool::models::{
    Gate, as_owner, both_flavours, model, outsider, pool, pool_that_cannot_start, small_model,
};
use crate::pool::{ThreadPool, context, worker};
use crate::sync::Arc;
use crate::testing::{Place, Seen};
use loom::thread;

/// Where the current closure runs.
fn here() -> &'static str {
    match current_thread_index() {
        Some(_) => "on a worker",
        None => "on the guest",
    }
}

/// Blocks a thread that takes part in a pool on something that only a fork or a task brings about: a wait that is parked,
/// as that for another pool's closure.
fn wait_for(latch: &Latch) {
    let slot = context::slot().expect("takes part in a pool");
    worker::wait(slot, latch, false);
}

mod joins {
    use super::*;

    /// Another thread that takes part in the pool when this returns, and leaves at some time.
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

    both_flavours! {
        /// Both halves run once, here or there, and what they wrote is seen.
        a_worker_may_take_the_second_half: small_model, || {
            let pool = pool(2, 0);
            let (a, b) = (Place::default(), Place::default());
            let (one, two) = as_owner(|| pool.join(
                || { a.set(1); 10 },
                || { b.set(2); 20 },
            ));
            assert_eq!((one, two, a.get(), b.get()), (10, 20, 1, 2));
            drop(pool);
        };

        /// The owner stands still until its last fork has run, which it never made public: a thief takes it by force. The
        /// thief may just be parking when that fork is pushed.
        an_owner_that_stands_still: small_model, || {
            let pool = pool(2, 0);
            let gate = Gate::default();
            let open = gate.clone();
            as_owner(|| pool.join(
                || join(|| gate.pass(), || open.open()),
                || (),
            ));
            drop(pool);
        };

        /// A guest forks while another one takes the last place. That one leaves: a worker must be got.
        a_guest_leaves_a_fork_behind: model, || {
            let pool = Arc::new(pool(2, 0));
            let gate = Gate::default();
            let open = gate.clone();
            let other = guest_for_a_while(&pool);
            as_owner(|| pool.join(|| gate.pass(), || open.open()));
            other.join().unwrap();
            drop(pool);
        };

        /// The pool becomes larger while a guest, which takes the only place, stands still over a fork: a worker must be got, and steals it.
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
            drop(pool);
        };

        /// The pool becomes smaller while a worker steals: what it has stolen is run, and its result comes back.
        a_smaller_pool_against_a_thief: model, || {
            let pool = pool(2, 0);
            let place = Place::default();
            as_owner(|| pool.join(|| { pool.set_num_threads(1); }, || place.set(1)));
            assert_eq!(place.get(), 1);
            drop(pool);
        };

        /// The same, but the guest that forked is parked in a wait that needs the fork: the other is the last one awake.
        the_last_guest_leaves_a_fork_behind: model, || {
            let pool = Arc::new(pool(1, 0));
            let latch = Latch::new(1);
            let other = guest_for_a_while(&pool);
            as_owner(|| pool.join(|| wait_for(&latch), || latch.count_down()));
            other.join().unwrap();
            drop(pool);
        };
    }

    /// All that can become of the second half does.
    #[test]
    fn the_second_half_runs_here_and_there() {
        let seen = Seen::default();
        let marks = seen.clone();
        model(Flavour::Paired, move || {
            let pool = pool(2, 0);
            as_owner(|| pool.join(|| (), || marks.mark(here())));
            drop(pool);
        });
        seen.check(&["on a worker", "on the guest"]);
    }

    /// While it waits for its stolen half the owner runs what that half forks.
    #[test]
    fn the_owner_helps_its_thief() {
        let seen = Seen::default();
        let marks = seen.clone();
        model(Flavour::Paired, move || {
            let pool = pool(2, 0);
            let place = Place::default();
            as_owner(|| {
                pool.join(
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
                )
            });
            assert_eq!(place.get(), 1);
            drop(pool);
        });
        seen.check(&["on a worker", "on the guest"]);
    }

    /// A pool closes while a task of it forks and stands still: the worker that was to leave takes the fork first.
    #[test]
    fn a_closing_pool_finishes_its_forks() {
        model(Flavour::Paired, || {
            let pool = pool(2, 0);
            let gate = Gate::default();
            let open = gate.clone();
            pool.spawn(move || {
                join(|| gate.pass(), || open.open());
            });
            pool.spawn(|| ());
            drop(pool);
        });
    }
}

mod scopes {
    use super::*;

    both_flavours! {
        /// One task, taken by a worker or run by the owner: the last count against the owner's parking.
        a_worker_may_take_the_task: small_model, || {
            let pool = pool(2, 0);
            let place = Place::default();
            // Before the guest leaves, whose fences would order this too.
            as_owner(|| pool.install(|| {
                scope(|s| s.spawn(|_| place.set(1)));
                assert_eq!(place.get(), 1);
            }));
            drop(pool);
        };

        /// Two tasks, which may end on different threads at the same time.
        two_tasks: model, || {
            let pool = pool(2, 0);
            let places = [Place::default(), Place::default()];
            as_owner(|| pool.scope(|s| {
                for place in &places {
                    s.spawn(|_| place.set(1));
                }
            }));
            assert_eq!((places[0].get(), places[1].get()), (1, 1));
            drop(pool);
        };

        /// A task spawns another and stands still until that has run. Nobody else is there: the scope's owner must run it, and
        /// if it is just parking it must see it, or be woken.
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
                // The helper has taken the task.
                begun.pass();
            }));
            assert_eq!((places[0].get(), places[1].get()), (1, 1));
            helper.join().unwrap();
            drop(pool);
        };
    }

    /// All that can become of a task does.
    #[test]
    fn a_task_runs_here_and_there() {
        let seen = Seen::default();
        let marks = seen.clone();
        model(Flavour::Paired, move || {
            let pool = pool(2, 0);
            as_owner(|| pool.scope(|s| s.spawn(|_| marks.mark(here()))));
            drop(pool);
        });
        seen.check(&["on a worker", "on the guest"]);
    }

    /// A task is spawned where its scope's owner looks for it, but another waiter, whose it is not, has it in its hands. That one queues it
    /// again: the owner, if it has parked, must be woken, for nobody else is there.
    #[test]
    fn a_stray_against_its_owner_that_parks() {
        model(Flavour::Strict, || {
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
                    // The helper has taken the task, and its task is there.
                    begun.pass();
                    let waiter = outsider(1, move || {
                        handle.install(|| {
                            let slot = context::slot().expect("a guest");
                            let found = worker::find_task(slot, |_| false, |_| true, usize::MAX);
                            assert!(found.is_none());
                        })
                    });
                    drop(waiter);
                })
            });
            helper.join().unwrap();
            drop(pool);
        });
    }

    /// A worker holds a lock over a scope; another one takes a stranger's task, which wants the lock, and may take the scope's
    /// task too. The scope's owner must find its task in any case.
    #[test]
    fn a_stolen_stranger_hides_no_task_from_its_scope() {
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
            drop(pool);
        });
    }
}

/// Threads that wait, and may run what others make later. Nobody else is free to run it, so that each of these programs stands still if the one
/// who may is not told, or does not find it.
mod helpers {
    use super::*;

    both_flavours! {
        /// The fork that a guest waits for makes another one, and stands still until that has run: the guest must run it, whenever it parks.
        a_fork_below_a_fork: model, || {
            let pool = pool_that_cannot_start(2, 1);
            let gate = Gate::default();
            let open = gate.clone();
            as_owner(|| pool.join(
                || (),
                || join(|| gate.pass(), || open.open()),
            ));
            drop(pool);
        };

        /// The fork that a guest waits for opens a scope, and stands still until a task of that has run: the guest must run it, whenever it parks.
        a_scope_below_a_fork: model, || {
            let pool = pool_that_cannot_start(2, 1);
            let gate = Gate::default();
            let open = gate.clone();
            as_owner(|| pool.join(
                || (),
                || scope(|s| {
                    s.spawn(|_| open.open());
                    gate.pass();
                }),
            ));
            drop(pool);
        };

        /// A task of the scope that a guest waits for forks, and stands still until its fork has run.
        a_fork_below_a_scope: model, || {
            let pool = pool_that_cannot_start(2, 1);
            let gate = Gate::default();
            let open = gate.clone();
            as_owner(|| pool.scope(|s| {
                s.spawn(|_| {
                    join(|| gate.pass(), || open.open());
                });
            }));
            drop(pool);
        };
    }

    /// A helper is claimed while what it waits for ends: nobody is left counted as searching, so that the task that comes next is run.
    #[test]
    fn a_helper_is_claimed_when_its_wait_is_over() {
        model(Flavour::Strict, || {
            let pool = pool_that_cannot_start(2, 1);
            as_owner(|| pool.join(|| (), || join(|| (), || ())));
            let gate = Gate::default();
            let open = gate.clone();
            pool.spawn(move || open.open());
            gate.pass();
            drop(pool);
        });
    }

    /// Another guest takes part for as long as it takes to steal one fork, and to run it.
    fn guest_that_steals(number: usize, pool: &Arc<ThreadPool>) -> thread::JoinHandle<()> {
        let pool = Arc::clone(pool);
        outsider(number, move || {
            pool.install(|| {
                while !yield_now() {
                    barrier::light();
                    thread::yield_now();
                }
            });
        })
    }

    /// The fork that the first guest waits for was stolen, and its fork again by a third thread, which makes the last one: the
    /// first guest must find it there, or be woken, though it is not its own thief's.
    #[test]
    fn a_fork_two_steals_away() {
        model(Flavour::Strict, || {
            loom::stop_exploring();
            let pool = Arc::new(pool_that_cannot_start(3, 0));
            let (again, last) = (Gate::default(), Gate::default());
            let twice = Gate::default();
            let begin = [twice.clone(), again.clone()];
            let open = last.clone();
            let helpers: Vec<_> = (0..2).map(|n| guest_that_steals(n, &pool)).collect();
            let second = Gate::default();
            let (both, pass) = (second.clone(), second.clone());
            as_owner(|| {
                pool.join(
                    || twice.pass(),
                    || {
                        join(
                            || {
                                again.pass();
                                // The one between stands still, too.
                                pass.pass();
                            },
                            || {
                                for gate in &begin {
                                    gate.open();
                                }
                                loom::explore();
                                join(
                                    || last.pass(),
                                    || {
                                        open.open();
                                        both.open();
                                    },
                                );
                                loom::stop_exploring();
                            },
                        );
                    },
                )
            });
            for helper in helpers {
                helper.join().unwrap();
            }
            drop(pool);
        });
    }
}

/// A closure sent to a worker, its caller asleep: its result and what it wrote come back.
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
        drop(pool);
    });
}
