//! Models of helpers: threads that wait, and may run what other threads create later.
//!
//! No other thread is free to run it. Each of these programs therefore stops if the helper is not woken, or does not find the work.

use super::*;

both_flavours! {
    /// A guest waits for a fork, which forks in turn and blocks until the new fork has run. The guest must run the new fork, whenever it parks.
    a_fork_below_a_fork: model, || {
        let pool = pool_that_cannot_start(2, 1);
        let gate = Gate::default();
        let open = gate.clone();
        as_owner(|| pool.join(
            || (),
            || join(|| gate.pass(), || open.open()),
        ));
        end(pool);
    };

    /// A guest waits for a fork, which opens a scope and blocks until a task of that scope has run. The guest must run the task, whenever it parks.
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
        end(pool);
    };

    /// A guest waits for a scope, a task of which forks and blocks until its fork has run. The guest must run the fork.
    a_fork_below_a_scope: model, || {
        let pool = pool_that_cannot_start(2, 1);
        let gate = Gate::default();
        let open = gate.clone();
        as_owner(|| pool.scope(|s| {
            s.spawn(|_| {
                join(|| gate.pass(), || open.open());
            });
        }));
        end(pool);
    };
}

/// A helper is claimed while what it waits for ends. No thread may remain counted as searching, or the next task would not run.
#[test]
fn a_helper_is_claimed_when_its_wait_is_over() {
    model(Flavour::Strict, || {
        let pool = pool_that_cannot_start(2, 1);
        as_owner(|| pool.join(|| (), || join(|| (), || ())));
        loom::skip_branch();
        let gate = Gate::default();
        let open = gate.clone();
        pool.spawn(move || open.open());
        gate.pass();
        end(pool);
    });
}

/// Starts another guest, which steals one fork, runs it, and leaves.
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

/// The first guest waits for a stolen fork. That fork forks in turn, and a third thread steals the new fork, which creates the last one. The first guest
/// must find the last fork, or be woken for it, although its own thief does not hold it.
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
                            // The thief in the middle blocks too.
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
        end(pool);
    });
}

/// A thread parks, which creates idle capacity, and then finds work in its final re-check. Meanwhile a second thread parks and relies on that re-check. The
/// second waits for a task that neither of them may run, so a worker must be started.
#[test]
fn a_parker_that_finds_work_owes_a_look() {
    model(Flavour::Strict, || {
        loom::stop_exploring();
        let pool = ThreadPool::builder()
            .num_threads(2)
            .spare_threads(0)
            .thread_name(|index| {
                if index == 1 {
                    // The worker has started: the model ends here.
                    loom::stop_exploring();
                }
                "worker".to_owned()
            })
            .build()
            .expect("a pool of two threads");
        let stolen = Gate::default();
        let begin = stolen.clone();
        let latch = Latch::new(1);
        as_owner(|| {
            pool.join(
                || stolen.pass(),
                || {
                    begin.open();
                    let waited = latch.clone();
                    pool.spawn(move || latch.count_down());
                    loom::explore();
                    thread::yield_now();
                    join(
                        || {
                            thread::yield_now();
                            wait_for(&waited);
                        },
                        || (),
                    );
                },
            )
        });
        end(pool);
    });
}

/// A wait for a fork meets tasks that it may not run. It moves at most as many of them to the scope injector as it is told to, and looks at no more in the
/// scope injector.
#[test]
fn a_look_for_tasks_has_an_end() {
    model(Flavour::Strict, || {
        loom::stop_exploring();
        let pool = Arc::new(pool_that_cannot_start(1, 0));
        let handle = Arc::clone(&pool);
        as_owner(|| {
            pool.scope(|s| {
                for _ in 0..5 {
                    s.spawn(|_| ());
                }
                let looks = outsider(0, move || {
                    handle.install(|| {
                        let member = context::member().expect("a guest");
                        let seen = [(); 4].map(|()| {
                            let seen = Cell::new(0);
                            let wanted = |_: &_| {
                                seen.set(seen.get() + 1);
                                false
                            };
                            let found = worker::find_task(member, wanted, |_| true, 2);
                            assert!(found.is_none());
                            seen.get()
                        });
                        // Tasks in the deque, then in the scope injector.
                        assert_eq!(seen, [2 + 2, 2 + 2, 1 + 2, 2]);
                    })
                });
                looks.join().unwrap();
            })
        });
        end(pool);
    });
}
