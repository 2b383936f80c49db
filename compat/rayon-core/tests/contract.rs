//! A short test of the behaviour that programs with rayon rely on. `.ci/rayon` runs rayon's own suites.

use rayon_core::{
    FnContext, ThreadPool, ThreadPoolBuilder, Yield, broadcast, current_num_threads,
    current_thread_index, join, join_context, scope, scope_fifo, spawn, spawn_broadcast,
    spawn_fifo,
};
use std::cell::RefCell;
use std::error::Error;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::Duration;

/// Ends the process if `body` hangs.
fn watched<R: Send>(body: impl FnOnce() -> R + Send) -> R {
    let (done, over) = channel::<()>();
    let watchdog = thread::spawn(move || {
        if over.recv_timeout(Duration::from_secs(100))
            == Err(std::sync::mpsc::RecvTimeoutError::Timeout)
        {
            eprintln!("a test hangs");
            std::process::abort();
        }
    });
    let result = body();
    drop(done);
    watchdog.join().unwrap();
    result
}

fn pool(threads: usize) -> ThreadPool {
    let builder = ThreadPoolBuilder::new().num_threads(threads);
    builder.build().unwrap()
}

fn panics<R>(body: impl FnOnce() -> R) -> Option<&'static str> {
    let payload = catch_unwind(AssertUnwindSafe(body)).err()?;
    payload.downcast_ref::<&str>().copied()
}

fn sorted(receiver: Receiver<usize>) -> Vec<usize> {
    let mut all: Vec<_> = receiver.into_iter().collect();
    all.sort_unstable();
    all
}

#[test]
fn calls_from_outside_run_on_threads_of_the_pool() {
    watched(|| {
        assert_eq!(current_thread_index(), None);
        assert_eq!(rayon_core::yield_now(), None);
        assert_eq!(rayon_core::current_thread_has_pending_tasks(), None);
        let pool = pool(3);
        assert_eq!(pool.current_thread_index(), None);
        let index = pool.install(|| (current_thread_index(), pool.current_thread_index()));
        assert!(index.0 < Some(3) && index.0 == index.1);
        assert!(join(current_thread_index, || ()).0.is_some());
        assert!(scope(|_| current_thread_index()).is_some());
        assert!(pool.join(current_thread_index, || ()).0.is_some());
        assert_eq!(pool.install(current_num_threads), 3);
        assert_eq!(pool.install(rayon_core::yield_local), Some(Yield::Idle));
        assert_eq!(pool.yield_now(), None);
    });
}

#[test]
fn in_place_bodies_run_here_and_their_tasks_there() {
    watched(|| {
        let pool = pool(1);
        let here = thread::current().id();
        pool.in_place_scope(|s| {
            assert_eq!(thread::current().id(), here);
            assert_eq!(current_thread_index(), None);
            let (sender, receiver) = channel();
            s.spawn(move |_| sender.send(current_thread_index()).unwrap());
            assert_eq!(receiver.recv(), Ok(Some(0)));
        });
        pool.in_place_scope_fifo(|s| {
            let (sender, receiver) = channel();
            s.spawn_fifo(move |_| sender.send(current_thread_index()).unwrap());
            assert_eq!(receiver.recv(), Ok(Some(0)));
        });
        rayon_core::in_place_scope(|s| s.spawn(|_| assert!(current_thread_index().is_some())));
        rayon_core::in_place_scope_fifo(|s| {
            s.spawn_fifo(|_| assert!(current_thread_index().is_some()))
        });
    });
}

#[test]
fn migration_is_what_happened() {
    watched(|| {
        let both = || join_context(|a| a.migrated(), |b: FnContext| b.migrated());
        assert_eq!(both(), (true, true), "both came from outside");
        assert_eq!(pool(1).install(both), (false, false));
        let meeting = Barrier::new(2);
        let apart = || {
            let meet = |context: FnContext| (meeting.wait(), context.migrated()).1;
            join_context(meet, meet)
        };
        assert_eq!(pool(2).install(apart), (false, true));
    });
}

#[test]
fn both_closures_run_whatever_panics() {
    watched(|| {
        for threads in [1, 2] {
            let pool = pool(threads);
            let mut ran = false;
            assert_eq!(
                panics(|| pool.join(|| panic!("a"), || ran = true)),
                Some("a")
            );
            assert!(ran);
            assert_eq!(
                panics(|| pool.join(|| panic!("a"), || panic!("b"))),
                Some("a")
            );
            assert_eq!(panics(|| pool.join(|| (), || panic!("b"))), Some("b"));
            assert_eq!(
                panics(|| pool.scope(|s| s.spawn(|_| panic!("s")))),
                Some("s")
            );
        }
    });
}

/// Returns the order in which ten tasks of each of ten tasks run on one thread.
macro_rules! order {
    ($outer:ident, $inner:ident) => {{
        let (sender, receiver) = channel();
        pool(1).install(|| {
            for n in 0..10 {
                let sender = sender.clone();
                $outer(move || {
                    for m in 0..10 {
                        let sender = sender.clone();
                        $inner(move || sender.send(n * 10 + m).unwrap());
                    }
                });
            }
        });
        drop(sender);
        receiver.into_iter().collect::<Vec<i32>>()
    }};
}

#[test]
fn spawned_tasks_run_newest_first_or_oldest_first() {
    watched(|| {
        assert!(order!(spawn, spawn).into_iter().eq((0..100).rev()));
        assert!(order!(spawn_fifo, spawn_fifo).into_iter().eq(0..100));
        let tens = |n: i32| n * 10..n * 10 + 10;
        assert!(
            order!(spawn, spawn_fifo)
                .into_iter()
                .eq((0..10).rev().flat_map(tens))
        );
        let back = |n: i32| tens(n).rev();
        assert!(
            order!(spawn_fifo, spawn)
                .into_iter()
                .eq((0..10).flat_map(back))
        );
    });
}

#[test]
fn tasks_of_scopes_run_newest_first_or_oldest_first() {
    watched(|| {
        let order = Mutex::new(Vec::new());
        let push = |n: i32| order.lock().unwrap().push(n);
        let push = &push;
        // The end of an inner scope also runs the tasks that were pushed after its own.
        pool(1).install(|| {
            scope(|outer| {
                outer.spawn(move |_| push(0));
                scope_fifo(|inner| {
                    for n in 1..4 {
                        inner.spawn_fifo(move |_| push(-n));
                        outer.spawn(move |_| push(n));
                    }
                });
            });
        });
        assert_eq!(order.into_inner().unwrap(), [3, -1, 2, -2, 1, -3, 0]);
    });
}

#[test]
fn a_broadcast_reaches_each_thread() {
    watched(|| {
        assert!(
            broadcast(|context| context.index())
                .into_iter()
                .eq(0..current_num_threads())
        );
        let pool = pool(5);
        assert_eq!(pool.broadcast(|context| context.num_threads()), [5; 5]);
        assert_eq!(
            pool.install(|| broadcast(|context| context.index())),
            [0, 1, 2, 3, 4]
        );
        let (sender, receiver) = channel();
        pool.spawn_broadcast(move |context| sender.send(context.index()).unwrap());
        assert_eq!(sorted(receiver), [0, 1, 2, 3, 4]);
        let (sender, receiver) = channel();
        spawn_broadcast(move |context| sender.send(context.index()).unwrap());
        assert!(sorted(receiver).into_iter().eq(0..current_num_threads()));
        let sum = AtomicUsize::new(0);
        let add = |n| {
            sum.fetch_add(n, Ordering::Relaxed);
        };
        pool.scope(|s| s.spawn_broadcast(|_, context| add(context.index())));
        pool.scope_fifo(|s| s.spawn_broadcast(|_, context| add(context.index())));
        assert_eq!(sum.into_inner(), 20);
    });
}

#[test]
fn a_broadcast_comes_after_what_its_thread_has_queued() {
    watched(|| {
        let (sender, receiver) = channel();
        pool(1).scope(|s| {
            s.spawn(move |_| sender.send(7).unwrap());
            let receiver = Mutex::new(receiver);
            s.spawn_broadcast(move |_, _| assert_eq!(receiver.lock().unwrap().recv(), Ok(7)));
        });
    });
}

#[test]
fn lost_panics_go_to_the_handler() {
    watched(|| {
        let (sender, receiver) = channel();
        let handler = move |payload: Box<dyn std::any::Any + Send>| {
            sender
                .send(*payload.downcast_ref::<&str>().unwrap())
                .unwrap();
        };
        let builder = ThreadPoolBuilder::new()
            .num_threads(2)
            .panic_handler(handler);
        let pool = builder
            .start_handler(|_| panic!("start"))
            .exit_handler(|_| panic!("exit"))
            .build()
            .unwrap();
        pool.spawn(|| panic!("spawn"));
        pool.spawn_broadcast(|_| panic!("broadcast"));
        drop(pool);
        let mut lost: Vec<_> = receiver.into_iter().collect();
        lost.sort_unstable();
        assert_eq!(
            lost,
            [
                "broadcast",
                "broadcast",
                "exit",
                "exit",
                "spawn",
                "start",
                "start"
            ]
        );
    });
}

#[test]
fn a_dropped_pool_works_for_its_tasks_and_ends() {
    watched(|| {
        let (go, gate) = channel::<()>();
        let (sender, results) = channel();
        let threads = Arc::new(());
        let pool = {
            let threads = Arc::clone(&threads);
            let builder = ThreadPoolBuilder::new().num_threads(4);
            builder
                .exit_handler(move |_| drop(Arc::clone(&threads)))
                .build()
                .unwrap()
        };
        pool.spawn(move || {
            gate.recv().unwrap();
            let count = broadcast(|_| 1).len();
            spawn(move || sender.send(count).unwrap());
        });
        drop(pool);
        go.send(()).unwrap();
        assert_eq!(results.recv(), Ok(4));
        while Arc::strong_count(&threads) > 1 {
            thread::yield_now();
        }
    });
}

#[test]
fn thread_handlers_are_inside_the_pool() {
    watched(|| {
        let (sender, told) = channel();
        let started = Mutex::new(sender.clone());
        let ended = Mutex::new(sender);
        let tell = |sender: &Mutex<std::sync::mpsc::Sender<_>>, index| {
            assert_eq!(join(|| 1, || 2), (1, 2));
            let here = (index, current_thread_index(), current_num_threads());
            sender.lock().unwrap().send(here).unwrap();
        };
        let pool = ThreadPoolBuilder::new()
            .num_threads(1)
            .start_handler(move |index| tell(&started, index))
            .exit_handler(move |index| tell(&ended, index))
            .build()
            .unwrap();
        drop(pool);
        assert_eq!(told.iter().collect::<Vec<_>>(), [(0, Some(0), 1); 2]);
    });
}

#[test]
fn pools_of_one_may_wait_for_each_other() {
    watched(|| {
        let (one, two) = (pool(1), pool(1));
        let pause = || thread::sleep(Duration::from_millis(20));
        let deep = one.install(|| {
            two.install(|| {
                pause();
                one.install(|| {
                    pause();
                    two.install(|| one.broadcast(|_| two.join(|| 1, || 2).1)[0])
                })
            })
        });
        assert_eq!(deep, 2);
    });
}

#[test]
fn thread_locals_of_the_current_thread_may_spawn_at_its_end() {
    struct AtEnd(Sender<()>);
    impl Drop for AtEnd {
        fn drop(&mut self) {
            let sender = self.0.clone();
            spawn_fifo(move || sender.send(()).unwrap());
        }
    }
    thread_local!(static LAST: RefCell<Option<AtEnd>> = const { RefCell::new(None) });

    watched(|| {
        let (sender, receiver) = channel();
        let user = thread::spawn(move || {
            // In the present std, the thread-local that was used first is dropped last.
            LAST.set(Some(AtEnd(sender)));
            let builder = ThreadPoolBuilder::new().num_threads(2).use_current_thread();
            let pool = builder.build().unwrap();
            spawn_fifo(|| ());
            mem::forget(pool);
        });
        user.join().unwrap();
        assert_eq!(receiver.recv(), Ok(()));
    });
}

#[test]
fn destructors_that_unwind_may_wait_for_other_pools() {
    struct AtEnd<F: Fn()>(F);
    impl<F: Fn()> Drop for AtEnd<F> {
        fn drop(&mut self) {
            (self.0)();
        }
    }

    watched(|| {
        let (one, two) = (pool(1), pool(1));
        let message = panics(|| {
            one.install(|| {
                let _last = AtEnd(|| {
                    assert_eq!(two.install(|| one.install(|| 1)), 1);
                    two.in_place_scope(|s| s.spawn(|_| one.install(|| ())));
                });
                panic!("unwinds")
            })
        });
        assert_eq!(message, Some("unwinds"));
    });
}

#[test]
fn threads_are_started_as_the_user_wishes() {
    watched(|| {
        let names = ThreadPoolBuilder::new()
            .num_threads(2)
            .thread_name(|n| format!("n{n}"));
        let name =
            |_: rayon_core::BroadcastContext<'_>| thread::current().name().map(str::to_owned);
        let broadcast = |pool: &ThreadPool| pool.broadcast(name).into_iter().flatten().collect();
        let found: Vec<_> = broadcast(&names.build().unwrap());
        assert_eq!(found, ["n0", "n1"]);
        let found: Vec<_> = broadcast(&pool(2));
        assert!(found.is_empty(), "{found:?}");
        let started = AtomicUsize::new(0);
        let wrapper = |builder: rayon_core::ThreadBuilder| {
            assert_eq!(
                (builder.name(), builder.stack_size()),
                (Some("s"), Some(1 << 20))
            );
            started.fetch_add(1 + builder.index(), Ordering::Relaxed);
            builder.run();
            assert_eq!(current_thread_index(), None);
        };
        let builder = ThreadPoolBuilder::new()
            .num_threads(3)
            .thread_name(|_| "s".to_owned());
        let count = builder
            .stack_size(1 << 20)
            .build_scoped(wrapper, |pool| pool.broadcast(|_| ()).len());
        assert_eq!((count.unwrap(), started.into_inner()), (3, 6));
    });
}

#[test]
fn errors_at_build_say_why() {
    watched(|| {
        let refuse = |_| Err(std::io::Error::other("no threads today"));
        let error = ThreadPoolBuilder::new()
            .spawn_handler(refuse)
            .build()
            .unwrap_err();
        assert_eq!(error.to_string(), "no threads today");
        assert!(error.source().is_some());
        let huge = ThreadPoolBuilder::new()
            .num_threads(2)
            .stack_size(isize::MAX as usize);
        assert!(huge.build().is_err());
        let unnamed = ThreadPoolBuilder::new().num_threads(3);
        let unnamed = unnamed.thread_name(|n| {
            if n == 2 {
                panic!("nameless")
            } else {
                String::new()
            }
        });
        assert_eq!(panics(|| unnamed.build()), Some("nameless"));
        let inside = pool(1).install(|| {
            let again = ThreadPoolBuilder::new().use_current_thread().build();
            again.unwrap_err().to_string()
        });
        assert!(
            inside.contains("already part of another thread pool"),
            "{inside}"
        );
        let most = rayon_core::max_num_threads();
        assert!(most >= 1000);
    });
}

#[test]
#[expect(deprecated, reason = "rayon-core still exports it")]
fn the_old_names_work() {
    watched(|| {
        let old = rayon_core::Configuration::new()
            .num_threads(2)
            .breadth_first()
            .stack_size(1 << 20)
            .thread_name(|n| n.to_string())
            .panic_handler(|_| ())
            .start_handler(|_| ())
            .exit_handler(|_| ());
        assert!(format!("{old:?}").contains("breadth_first: true"));
        assert_eq!(ThreadPool::new(old).unwrap().current_num_threads(), 2);
    });
}

#[test]
fn a_yield_runs_what_is_pending() {
    watched(|| {
        let pool = pool(1);
        pool.install(|| {
            let done = AtomicUsize::new(0);
            join(
                || {
                    assert_eq!(rayon_core::current_thread_has_pending_tasks(), Some(true));
                    assert_eq!(pool.yield_local(), Some(Yield::Executed));
                    assert_eq!(done.load(Ordering::Relaxed), 1);
                    assert_eq!(pool.yield_now(), Some(Yield::Idle));
                },
                || done.fetch_add(1, Ordering::Relaxed),
            );
            assert_eq!(pool.current_thread_has_pending_tasks(), Some(false));
        });
    });
}

#[test]
fn a_yield_runs_the_newest_task_and_broadcast_tasks_last() {
    watched(|| {
        let pool = pool(1);
        pool.install(|| {
            let (sender, receiver) = channel();
            let task = |n| {
                let sender = sender.clone();
                move || sender.send(n).unwrap()
            };
            let broadcast_task = task(0);
            spawn_broadcast(move |_| broadcast_task());
            for n in 1..5 {
                spawn(task(n));
            }
            assert_eq!(rayon_core::yield_local(), Some(Yield::Executed));
            assert_eq!(rayon_core::yield_now(), Some(Yield::Executed));
            assert_eq!(receiver.try_iter().collect::<Vec<_>>(), [4, 3]);
            while rayon_core::yield_local() == Some(Yield::Executed) {}
            assert_eq!(receiver.try_iter().collect::<Vec<_>>(), [2, 1, 0]);
        });
    });
}

#[test]
#[expect(deprecated, reason = "rayon-core still has it")]
fn breadth_first_begins_what_a_worker_spawns_in_order() {
    let pool = ThreadPoolBuilder::new()
        .num_threads(1)
        .breadth_first()
        .build()
        .unwrap();
    let order = Arc::new(Mutex::new(Vec::new()));
    pool.install(|| {
        for n in 0..5 {
            let order = Arc::clone(&order);
            rayon_core::spawn(move || order.lock().unwrap().push(n));
        }
        for n in 5..10 {
            let order = Arc::clone(&order);
            pool.spawn(move || order.lock().unwrap().push(n));
        }
    });
    // The only worker runs it after everything that it had queued before.
    pool.broadcast(|_| ());
    pool.scope(|s| {
        for n in 10..15 {
            let order = &order;
            s.spawn(move |_| order.lock().unwrap().push(n));
        }
    });
    assert!(order.lock().unwrap().iter().copied().eq(0..15));
}
