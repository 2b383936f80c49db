//! The threads of a pool: threads that the caller provides, the current thread, and a drop that does not wait.

use crate::support::{fib, outcome, pool_with, serial_fib, spin_until, watched};
use heist::{PoolThread, ThreadPool, Waits};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::{io, thread};

#[test]
fn a_pool_runs_on_threads_of_the_callers() {
    watched(|| {
        let mut threads = Vec::new();
        let pool = ThreadPool::builder().num_threads(3).build_on(|worker| {
            let name = format!("mine-{}", worker.index());
            let thread = thread::Builder::new().name(name);
            threads.push(thread.spawn(move || {
                worker.run();
                assert_eq!(heist::current_thread_index(), None);
                assert!(!heist::in_pool());
            })?);
            Ok(())
        });
        let pool = pool.unwrap();
        assert_eq!(pool.num_threads(), 3);
        let name = |_| thread::current().name().map(str::to_owned);
        let names: Vec<_> = pool.broadcast(name).into_iter().flatten().collect();
        assert_eq!(names, ["mine-0", "mine-1", "mine-2"]);
        assert_eq!(pool.install(|| fib(15)), serial_fib(15));
        assert_eq!(pool.set_num_threads(8), 3, "its size is the caller's");
        assert_eq!(pool.num_threads(), 3);
        drop(pool);
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

#[test]
fn scoped_threads_serve_a_pool() {
    watched(|| {
        let data = vec![1, 2, 3];
        thread::scope(|scope| {
            let pool = ThreadPool::builder().num_threads(2).build_on(|worker| {
                let data = &data;
                scope.spawn(move || {
                    assert_eq!(data.len(), 3);
                    worker.run();
                });
                Ok(())
            });
            assert_eq!(pool.unwrap().join(|| 1, || 2), (1, 2));
        });
    });
}

#[test]
fn threads_that_begun_end_when_a_later_one_cannot() {
    watched(|| {
        let mut threads = Vec::new();
        let built = ThreadPool::builder().num_threads(4).build_on(|worker| {
            if worker.index() == 2 {
                return Err(io::Error::other("no more"));
            }
            threads.push(thread::spawn(|| worker.run()));
            Ok(())
        });
        let error = built.unwrap_err();
        assert!(error.to_string().contains("no more"), "{error}");
        assert_eq!(io::Error::from(error).to_string(), "no more");
        assert_eq!(threads.len(), 2);
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn a_panic_while_threads_are_started_ends_those_that_were() {
    watched(|| {
        let (sender, receiver) = mpsc::channel();
        let build = || {
            ThreadPool::builder().num_threads(4).build_on(|worker| {
                assert!(worker.index() < 3, "enough");
                let sender = sender.clone();
                thread::spawn(move || {
                    worker.run();
                    sender.send(()).unwrap();
                });
                Ok(())
            })
        };
        assert!(outcome(build).is_err());
        for _ in 0..3 {
            receiver.recv().unwrap();
        }
    });
}

#[test]
fn a_pool_does_without_workers_that_nobody_runs() {
    watched(|| {
        let mut kept: Vec<PoolThread> = Vec::new();
        let mut threads = Vec::new();
        let pool = ThreadPool::builder().num_threads(3).build_on(|worker| {
            match worker.index() {
                0 => drop(worker),
                1 => kept.push(worker),
                _ => threads.push(thread::spawn(|| worker.run())),
            }
            Ok(())
        });
        let pool = pool.unwrap();
        assert_eq!(pool.run(|| fib(12)), serial_fib(12));
        kept.clear();
        // The callers run the parts of workers that do not exist.
        assert_eq!(pool.broadcast(|index| index), [0, 1, 2]);
        assert_eq!(pool.run(|| fib(12)), serial_fib(12));
        drop(pool);
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn a_worker_does_not_run_inside_another_pool() {
    watched(|| {
        let mut worker = None;
        let pool = ThreadPool::builder().num_threads(1).build_on(|thread| {
            worker = Some(thread);
            Ok(())
        });
        let pool = pool.unwrap();
        let other = pool_with(|b| b.num_threads(1));
        assert!(outcome(|| other.install(|| worker.take().map(PoolThread::run))).is_err());
        // Guests run what the thread could have run.
        assert_eq!(pool.join(|| 1, || 2), (1, 2));
    });
}

#[test]
fn the_current_thread_can_be_worker_0() {
    watched(|| {
        for count in [1, 2, 4] {
            let user = thread::spawn(move || {
                let pool = pool_with(|b| b.num_threads(count).use_current_thread(true));
                assert_eq!(heist::current_thread_index(), Some(0));
                assert_eq!(pool.current_thread_index(), Some(0));
                assert_eq!(heist::current_num_threads(), Some(count));
                let again = ThreadPool::builder().use_current_thread(true).build();
                assert!(again.unwrap_err().to_string().contains("already"));
                assert_eq!(heist::join(|| fib(12), || fib(11)).0, serial_fib(12));
                assert_eq!(pool.run(heist::current_thread_index), Some(0));
                let all: Vec<_> = (0..count).collect();
                assert_eq!(pool.broadcast(|index| index), all);
                let (sender, receiver) = mpsc::channel();
                pool.spawn(move || sender.send(heist::current_thread_index()).unwrap());
                let index = loop {
                    match receiver.try_recv() {
                        Ok(index) => break index,
                        Err(_) => heist::yield_now(),
                    };
                };
                assert!(index < Some(count), "{index:?}");
            });
            user.join().unwrap();
        }
    });
}

#[test]
fn another_thread_runs_what_worker_0_leaves_lying() {
    watched(|| {
        let user = thread::spawn(|| {
            let pool = pool_with(|b| b.num_threads(2).use_current_thread(true));
            let (sender, receiver) = mpsc::channel();
            pool.spawn(move || sender.send(heist::current_thread_index()).unwrap());
            // The thread blocks without the pool's knowledge.
            assert_eq!(receiver.recv(), Ok(Some(1)));
        });
        user.join().unwrap();
    });
}

#[test]
fn what_is_left_for_worker_0_runs_there_though_it_sleeps() {
    watched(|| {
        let user = thread::spawn(|| {
            let pool = pool_with(|b| b.num_threads(1).spare_threads(0).use_current_thread(true));
            let other = pool_with(|b| b.num_threads(1));
            let (sender, receiver) = mpsc::channel();
            let parks = || -> u64 { pool.stats().workers.iter().map(|worker| worker.parks).sum() };
            other.run(|| {
                spin_until(|| parks() > 0);
                pool.spawn(move || sender.send(thread::current().id()).unwrap());
            });
            while heist::yield_now() {}
            assert_eq!(receiver.recv(), Ok(thread::current().id()));
        });
        user.join().unwrap();
    });
}

#[test]
fn another_thread_ends_a_pool_of_the_current_thread_only() {
    watched(|| {
        for shut_down in [true, false] {
            let user = thread::spawn(move || {
                let pool =
                    pool_with(|b| b.num_threads(1).spare_threads(0).use_current_thread(true));
                let ran = Arc::new(AtomicUsize::new(0));
                let task = |ran: &Arc<AtomicUsize>| {
                    let ran = Arc::clone(ran);
                    move || {
                        ran.fetch_add(1, Ordering::Relaxed);
                    }
                };
                pool.spawn(task(&ran));
                let from_there = task(&ran);
                let other = thread::spawn(move || {
                    pool.spawn(from_there);
                    if shut_down {
                        pool.shutdown();
                    }
                });
                other.join().unwrap();
                // A shutdown runs what is queued. A drop leaves it to this thread.
                assert_eq!(ran.load(Ordering::Relaxed), if shut_down { 2 } else { 0 });
                while heist::yield_now() {}
                assert_eq!(ran.load(Ordering::Relaxed), 2);
            });
            user.join().unwrap();
        }
    });
}

#[test]
fn a_drop_can_leave_the_rest_to_the_pool() {
    watched(|| {
        let exits = Arc::new(Barrier::new(4));
        let (go, gate) = mpsc::channel::<()>();
        let (sender, results) = mpsc::channel();
        let pool = {
            let exits = Arc::clone(&exits);
            pool_with(|b| {
                b.num_threads(3)
                    .start(heist::Start::Eager)
                    .wait_on_drop(false)
                    .on_thread_exit(move |_| {
                        exits.wait();
                    })
            })
        };
        pool.spawn(move || {
            // The last handle is dropped. The pool still runs its tasks, with all its threads.
            gate.recv().unwrap();
            let meeting = Barrier::new(3);
            heist::scope(|s| {
                s.spawn_broadcast(|_, _| {
                    meeting.wait();
                })
            });
            heist::spawn(move || sender.send(fib(10)).unwrap());
        });
        drop(pool);
        go.send(()).unwrap();
        assert_eq!(results.recv(), Ok(serial_fib(10)));
        // Afterwards the threads end.
        exits.wait();
    });
}

#[test]
fn a_drop_that_does_not_wait_frees_the_pool_in_the_end() {
    watched(|| {
        for waits in [Waits::Own, Waits::Any] {
            let (ran, marker) = (Arc::new(AtomicUsize::new(0)), Arc::new(()));
            for _ in 0..100 {
                let held = Arc::clone(&marker);
                let pool = pool_with(|b| {
                    b.num_threads(2)
                        .waits(waits)
                        .wait_on_drop(false)
                        .on_thread_start(move |_| drop(Arc::clone(&held)))
                });
                for _ in 0..10 {
                    let ran = Arc::clone(&ran);
                    pool.spawn(move || {
                        ran.fetch_add(1, Ordering::Relaxed);
                    });
                }
            }
            spin_until(|| ran.load(Ordering::Relaxed) == 1000);
            spin_until(|| Arc::strong_count(&marker) == 1);
        }
    });
}

/// Hooks of caller-provided threads run on those threads, and what they spawn runs on the pool.
#[test]
fn hooks_of_the_callers_threads_are_inside_the_pool() {
    watched(|| {
        let (sender, told) = mpsc::channel();
        let builder = ThreadPool::builder().num_threads(2);
        let builder = [true, false].into_iter().fold(builder, |builder, start| {
            let sender = sender.clone();
            let hook = move |index| {
                assert_eq!(heist::current_thread_index(), Some(index));
                let sum = heist::join(|| 1, || 2);
                assert_eq!(sum, (1, 2));
                let sender = sender.clone();
                heist::spawn(move || {
                    let here = heist::current_thread_index().is_some();
                    sender.send(here).unwrap();
                });
            };
            if start {
                builder.on_thread_start(hook)
            } else {
                builder.on_thread_exit(hook)
            }
        });
        drop(sender);
        let mut threads = Vec::new();
        let pool = builder.build_on(|worker| {
            threads.push(thread::spawn(|| worker.run()));
            Ok(())
        });
        drop(pool);
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        assert_eq!(told.iter().collect::<Vec<_>>(), [true; 4]);
    });
}

/// A thread that is in its hook does not search. A publisher must not rely on it.
#[test]
fn a_hook_that_takes_long_keeps_nobody_from_being_woken() {
    watched(|| {
        let (go, gate) = mpsc::channel::<()>();
        let gate = std::sync::Mutex::new(gate);
        let builder = ThreadPool::builder().num_threads(2);
        let builder = builder.on_thread_start(move |index| {
            if index == 0 {
                gate.lock().unwrap().recv().unwrap();
            }
        });
        let mut threads = Vec::new();
        let built = builder.build_on(|worker| {
            threads.push(thread::spawn(|| worker.run()));
            Ok(())
        });
        let pool = built.unwrap();
        spin_until(|| pool.stats().parks > 0);
        pool.spawn(move || go.send(()).unwrap());
        drop(pool);
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
    });
}
