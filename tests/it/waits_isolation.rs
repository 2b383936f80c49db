//! A waiting thread runs what it waits for and what descends from that, and no unrelated task.
//!
//! Each closure knows its lineage, the path of waits above it. A thread records the
//! lineage of each wait that it is in; whatever begins on it then must descend from the innermost.

use crate::support::{on_pool, pool_with, spin_until, watched, work};
use heist::ThreadPool;
use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

type Lineage = Vec<u32>;

thread_local! {
    /// The waits that this thread is in, innermost last.
    static WAITS: RefCell<Vec<Lineage>> = const { RefCell::new(Vec::new()) };
}

/// The first violations on all threads.
#[derive(Clone, Default)]
struct Judge(Arc<Mutex<Vec<String>>>);

impl Judge {
    /// Records that a closure of this lineage begins on this thread.
    fn enter(&self, lineage: &[u32]) {
        let violated = WAITS.with_borrow(|waits| {
            waits
                .last()
                .filter(|wait| !lineage.starts_with(wait))
                .cloned()
        });
        if let Some(wait) = violated {
            let mut violations = self.0.lock().unwrap();
            if violations.len() < 5 {
                violations.push(format!("{lineage:?} ran in the wait of {wait:?}"));
            }
        }
    }

    #[track_caller]
    fn acquit(&self) {
        assert_eq!(*self.0.lock().unwrap(), [""; 0]);
    }
}

/// Runs `operation`, which waits, under this lineage.
fn waiting<R>(lineage: &[u32], operation: impl FnOnce() -> R) -> R {
    WAITS.with_borrow_mut(|waits| waits.push(lineage.to_vec()));
    let value = operation();
    WAITS.with_borrow_mut(|waits| waits.pop());
    value
}

fn child(lineage: &[u32], number: u32) -> Lineage {
    let mut child = lineage.to_vec();
    child.push(number);
    child
}

/// A tree of joins, scopes and maps that also spawns unrelated tasks.
struct Forest<'a> {
    pool: &'a ThreadPool,
    judge: &'a Judge,
    unrelated: &'a Arc<AtomicUsize>,
}

impl Forest<'_> {
    fn spawn_unrelated_task(&self) {
        let (judge, unrelated) = (self.judge.clone(), Arc::clone(self.unrelated));
        let number = unrelated.fetch_add(1, Ordering::AcqRel);
        self.pool.spawn(move || {
            judge.enter(&[u32::MAX, number as u32]);
            work(30);
            unrelated.fetch_sub(1, Ordering::AcqRel);
        });
    }

    fn grow(&self, lineage: &[u32], depth: u32) {
        self.judge.enter(lineage);
        work(u64::from(lineage.iter().sum::<u32>() % 7) * 20);
        if depth == 0 {
            return;
        }
        if lineage.len() % 3 == 1 {
            self.spawn_unrelated_task();
        }
        let [join, scope, map] = [0, 1, 2].map(|number| child(lineage, number));
        waiting(&join, || {
            heist::join(
                || self.grow(&child(&join, 0), depth - 1),
                || self.grow(&child(&join, 1), depth - 1),
            );
        });
        waiting(&scope, || {
            heist::scope(|s| {
                for number in 0..3 {
                    let lineage = child(&scope, number);
                    s.spawn(move |s| {
                        self.grow(&lineage, depth - 1);
                        let grandchild = child(&lineage, 9);
                        s.spawn(move |_| self.grow(&grandchild, 0));
                    });
                }
            });
        });
        waiting(&map, || {
            self.pool.for_each(0..4_u32, |number| {
                self.grow(&child(&map, number), depth - 1);
            });
        });
    }
}

#[test]
fn waits_of_joins_scopes_and_maps_run_no_unrelated_task() {
    watched(|| {
        for spares in [0, 2] {
            let pool = pool_with(|b| b.spare_threads(spares));
            let judge = Judge::default();
            let unrelated = Arc::new(AtomicUsize::new(0));
            let forest = Forest {
                pool: &pool,
                judge: &judge,
                unrelated: &unrelated,
            };
            thread::scope(|guests| {
                for guest in 0..2 {
                    guests.spawn({
                        let (forest, pool) = (&forest, &pool);
                        move || {
                            for round in 0..3 {
                                pool.install(|| forest.grow(&[2 * guest, round], 3));
                                pool.run(|| forest.grow(&[2 * guest + 1, round], 3));
                            }
                        }
                    });
                }
            });
            spin_until(|| unrelated.load(Ordering::Acquire) == 0);
            judge.acquit();
        }
    });
}

/// A random program of joins of all shapes, scopes, maps and handles. Its tasks also go to scopes further out. To a thread that waits between
/// them, these tasks are unrelated.
struct Jungle<'a> {
    pool: &'a ThreadPool,
    judge: &'a Judge,
    begun: &'a AtomicUsize,
}

/// A scope and its own path.
#[derive(Clone, Copy)]
struct Outer<'a, 'scope> {
    scope: &'a heist::Scope<'scope>,
    path: &'scope [u32],
}

/// The randomness of a place, so that a program is the same in every run.
fn dice(path: &[u32], salt: u32) -> u32 {
    path.iter()
        .chain([&salt])
        .fold(0x9e37_79b9, |hash: u32, step| {
            (hash.rotate_left(5) ^ step).wrapping_mul(0x2722_0a95)
        })
        >> 7
}

impl<'p> Jungle<'p> {
    fn enter(&self, path: &[u32]) {
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.judge.enter(path);
        // The leaf is short, long, or asleep for a while, so that other threads wait and park.
        match dice(path, 1) % 64 {
            0 => thread::sleep(std::time::Duration::from_micros(100)),
            1..8 => drop(work(3_000)),
            _ => drop(work(30)),
        }
    }

    fn grow<'scope>(&'scope self, path: &[u32], outer: Option<Outer<'_, 'scope>>, depth: u32)
    where
        'p: 'scope,
    {
        self.enter(path);
        if depth == 0 {
            return;
        }
        if let Some(Outer { scope, path: to }) = outer
            && dice(path, 2).is_multiple_of(3)
        {
            let mut lineage = to.to_vec();
            lineage.extend([7, dice(path, 3)]);
            scope.spawn(move |_| self.grow(&lineage, None, 0));
        }
        match dice(path, 4) % 5 {
            0 => waiting(path, || {
                heist::join(
                    || self.grow(&child(path, 0), outer, depth - 1),
                    || self.grow(&child(path, 1), outer, depth - 1),
                );
            }),
            1 => self.chain(path, outer, depth, 6),
            2 => waiting(path, || {
                let inner = path.to_vec();
                heist::scope(|scope| {
                    for number in 0..3 {
                        let (lineage, path) = (child(&inner, number), &inner);
                        scope.spawn(move |scope| {
                            let outer = Outer { scope, path };
                            // The closures of this task live shorter than the scope outside.
                            self.grow(&lineage, Some(outer), depth - 1);
                        });
                    }
                });
            }),
            3 => waiting(path, || {
                self.pool.for_each(0..4_u32, |number| {
                    self.grow(&child(path, number), None, depth - 1);
                });
            }),
            _ => waiting(path, || {
                let judge = self.judge.clone();
                let lineage = child(path, 0);
                let handle = self.pool.submit(move || {
                    // The task runs on a free thread, or on the thread that waits for it.
                    let (a, b) = (child(&lineage, 0), child(&lineage, 1));
                    judge.enter(&lineage);
                    waiting(&lineage, || {
                        heist::join(|| judge.enter(&a), || judge.enter(&b))
                    });
                });
                assert!(handle.join().is_ok());
            }),
        }
    }

    /// A chain of `length` joins, `join(one, rest)`.
    fn chain<'scope>(
        &'scope self,
        path: &[u32],
        outer: Option<Outer<'_, 'scope>>,
        depth: u32,
        length: u32,
    ) where
        'p: 'scope,
    {
        let rest = child(path, 1);
        waiting(path, || {
            heist::join(
                || self.grow(&child(path, 0), outer, depth - 1),
                || {
                    self.enter(&rest);
                    if length > 0 {
                        self.chain(&rest, outer, depth, length - 1);
                    }
                },
            );
        });
    }
}

#[test]
fn whatever_begins_on_a_waiting_thread_descends_from_what_it_waits_for() {
    for threads in [1, 2, 8, 32] {
        for spares in [0, threads] {
            watched(move || {
                let pool = pool_with(|b| b.num_threads(threads).spare_threads(spares));
                let (judge, begun) = (Judge::default(), AtomicUsize::new(0));
                for round in 0..6 {
                    let jungle = Jungle {
                        pool: &pool,
                        judge: &judge,
                        begun: &begun,
                    };
                    pool.install(|| jungle.grow(&[round], None, 5));
                    pool.run(|| jungle.grow(&[round, 0], None, 5));
                }
                judge.acquit();
                assert!(begun.into_inner() > 1_000);
            });
        }
    }
}

/// A pool of two workers without spares: while one waits for the other, no other thread takes what is queued.
fn pair() -> ThreadPool {
    pool_with(|builder| builder.num_threads(2).spare_threads(0))
}

/// Spawns tasks that are unrelated to every wait.
fn spawn_unrelated_tasks(count: u32, judge: &Judge, ran: &Arc<AtomicUsize>) {
    for number in 0..count {
        let (judge, ran) = (judge.clone(), Arc::clone(ran));
        heist::spawn(move || {
            judge.enter(&[9, number]);
            ran.fetch_add(1, Ordering::AcqRel);
        });
    }
}

#[test]
fn a_worker_that_waits_for_a_stolen_b_leaves_unrelated_tasks_queued() {
    watched(|| {
        let pool = pair();
        for _ in 0..50 {
            let judge = Judge::default();
            let (started, ran) = (AtomicBool::new(false), Arc::new(AtomicUsize::new(0)));
            pool.run(|| {
                waiting(&[0], || {
                    heist::join(
                        || {
                            spin_until(|| started.load(Ordering::Acquire));
                            spawn_unrelated_tasks(20, &judge, &ran);
                        },
                        || {
                            judge.enter(&[0, 1]);
                            started.store(true, Ordering::Release);
                            work(20_000);
                        },
                    )
                });
            });
            spin_until(|| ran.load(Ordering::Acquire) == 20);
            judge.acquit();
        }
    });
}

#[test]
fn a_worker_that_waits_for_a_scope_leaves_unrelated_tasks_queued() {
    watched(|| {
        let pool = pair();
        for _ in 0..50 {
            let judge = Judge::default();
            let (started, ran) = (AtomicBool::new(false), Arc::new(AtomicUsize::new(0)));
            pool.run(|| {
                waiting(&[0], || {
                    heist::scope(|s| {
                        s.spawn(|_| {
                            judge.enter(&[0, 1]);
                            started.store(true, Ordering::Release);
                            work(20_000);
                        });
                        spin_until(|| started.load(Ordering::Acquire));
                        spawn_unrelated_tasks(20, &judge, &ran);
                    });
                });
            });
            spin_until(|| ran.load(Ordering::Acquire) == 20);
            judge.acquit();
        }
    });
}

#[test]
fn a_worker_that_waits_for_a_map_leaves_unrelated_tasks_queued() {
    watched(|| {
        let pool = pair();
        for _ in 0..50 {
            let judge = Judge::default();
            let (running, ran) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
            pool.run(|| {
                let own = thread::current().id();
                waiting(&[0], || {
                    pool.for_each(0..2_u32, |number| {
                        judge.enter(&[0, number]);
                        running.fetch_add(1, Ordering::AcqRel);
                        spin_until(|| running.load(Ordering::Acquire) == 2);
                        if thread::current().id() == own {
                            spawn_unrelated_tasks(20, &judge, &ran);
                        } else {
                            work(20_000);
                        }
                    });
                });
            });
            spin_until(|| ran.load(Ordering::Acquire) == 20);
            judge.acquit();
        }
    });
}

#[test]
fn a_scope_waits_for_its_own_tasks_only() {
    on_pool(|pool| {
        let judge = Judge::default();
        let left = Arc::new(AtomicUsize::new(0));
        pool.scope(|outer| {
            for number in 0..30 {
                let (judge, left) = (&judge, &left);
                outer.spawn(move |_| {
                    let lineage = [1, number];
                    judge.enter(&lineage);
                    // While the tasks of this scope wait here, their siblings are unrelated.
                    waiting(&child(&lineage, 0), || {
                        heist::scope(|inner| {
                            for number in 0..5 {
                                let lineage = [1, lineage[1], 0, number];
                                inner.spawn(move |_| {
                                    judge.enter(&lineage);
                                    work(2000);
                                });
                            }
                        });
                    });
                    left.fetch_add(1, Ordering::AcqRel);
                });
            }
        });
        assert_eq!(left.load(Ordering::Acquire), 30);
        judge.acquit();
    });
}

#[test]
fn a_guest_that_waits_runs_no_unrelated_task() {
    watched(|| {
        let pool = pair();
        for _ in 0..50 {
            let judge = Judge::default();
            let (started, ran) = (AtomicBool::new(false), Arc::new(AtomicUsize::new(0)));
            waiting(&[0], || {
                pool.scope(|s| {
                    s.spawn(|_| {
                        judge.enter(&[0, 0]);
                        started.store(true, Ordering::Release);
                        work(20_000);
                    });
                    spin_until(|| started.load(Ordering::Acquire));
                    spawn_unrelated_tasks(20, &judge, &ran);
                });
            });
            spin_until(|| ran.load(Ordering::Acquire) == 20);
            judge.acquit();
        }
    });
}
