//! `spawn`, `yield_now` and `broadcast`.

use crate::support::{
    Ledger, fib, on_pool, on_pool_of, pool, pool_with, serial_fib, spin_until, watched, work,
};
use heist::{ThreadPool, Waits};
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;

#[test]
fn a_spawned_task_runs_once() {
    on_pool(|pool| {
        let counts: Arc<[AtomicUsize]> = (0..2000).map(|_| AtomicUsize::new(0)).collect();
        for number in 0..counts.len() {
            let counts = Arc::clone(&counts);
            pool.spawn(move || {
                counts[number].fetch_add(1, Ordering::AcqRel);
            });
        }
        spin_until(|| counts.iter().all(|c| c.load(Ordering::Acquire) > 0));
        pool.broadcast(|_| ());
        assert!(counts.iter().all(|c| c.load(Ordering::Acquire) == 1));
    });
}

#[test]
fn a_spawned_task_runs_on_a_worker() {
    on_pool(|pool| {
        let (send, receive) = mpsc::channel();
        let sender = thread::current().id();
        for _ in 0..100 {
            let send = send.clone();
            pool.spawn(move || {
                let _ = send.send((thread::current().id(), heist::current_thread_index()));
            });
        }
        drop(send);
        for (thread, index) in receive {
            assert_ne!(thread, sender);
            assert!(index.unwrap() < pool.num_threads());
        }
    });
}

#[test]
fn spawners_that_race_for_the_first_thread_run_nothing_themselves() {
    watched(|| {
        for _ in 0..400 {
            let pool = pool();
            let start = Barrier::new(4);
            let (send, receive) = mpsc::channel();
            thread::scope(|threads| {
                for _ in 0..4 {
                    threads.spawn(|| {
                        start.wait();
                        let (spawner, send) = (thread::current().id(), send.clone());
                        pool.spawn(move || send.send(spawner != thread::current().id()).unwrap());
                    });
                }
            });
            drop(send);
            assert_eq!(receive.iter().collect::<Vec<_>>(), [true; 4]);
        }
    });
}

#[test]
fn a_spawned_task_drops_its_captures_once() {
    on_pool(|pool| {
        let ledger = Ledger::new(1000);
        for ticket in ledger.tickets() {
            pool.spawn(move || {
                work(ticket.index() as u64 % 10);
            });
        }
        spin_until(|| ledger.dropped() == 1000);
        ledger.assert_settled();
    });
}

#[test]
fn spawned_tasks_spawn() {
    fn below(depth: u32, ran: &Arc<AtomicUsize>) {
        ran.fetch_add(1, Ordering::AcqRel);
        if depth > 0 {
            for _ in 0..2 {
                let ran = Arc::clone(ran);
                heist::spawn(move || below(depth - 1, &ran));
            }
        }
    }
    on_pool(|pool| {
        let ran = Arc::new(AtomicUsize::new(0));
        let root = Arc::clone(&ran);
        pool.spawn(move || below(11, &root));
        spin_until(|| ran.load(Ordering::Acquire) == (1 << 12) - 1);
    });
}

#[test]
fn as_many_tasks_as_workers_run_at_once() {
    on_pool(|pool| {
        let together = Arc::new(Barrier::new(pool.num_threads() + 1));
        for _ in 0..20 {
            for _ in 0..pool.num_threads() {
                let together = Arc::clone(&together);
                pool.spawn(move || {
                    together.wait();
                });
            }
            together.wait();
        }
    });
}

#[test]
fn many_threads_spawn_at_once() {
    on_pool(|pool| {
        let ran = Arc::new(AtomicUsize::new(0));
        thread::scope(|threads| {
            for _ in 0..8 {
                threads.spawn(|| {
                    for _ in 0..2000 {
                        let ran = Arc::clone(&ran);
                        pool.spawn(move || {
                            ran.fetch_add(1, Ordering::AcqRel);
                        });
                    }
                });
            }
        });
        spin_until(|| ran.load(Ordering::Acquire) == 16_000);
    });
}

#[test]
fn a_task_that_comes_after_a_pause_runs() {
    on_pool(|pool| {
        let (send, receive) = mpsc::channel();
        for round in 0..300 {
            // In each round the workers may be searching, falling asleep, or asleep.
            work(20 * round);
            let send = send.clone();
            pool.spawn(move || send.send(round).unwrap());
            assert_eq!(receive.recv(), Ok(round));
        }
    });
}

#[test]
fn a_task_that_spawns_itself_forever_starves_nobody() {
    fn again(stop: Arc<AtomicBool>) {
        if !stop.load(Ordering::Acquire) {
            heist::spawn(move || again(stop));
        }
    }
    on_pool(|pool| {
        let stop = Arc::new(AtomicBool::new(false));
        for _ in 0..pool.num_threads() {
            let stop = Arc::clone(&stop);
            pool.spawn(move || again(stop));
        }
        let (send, receive) = mpsc::channel();
        pool.spawn(move || send.send(()).unwrap());
        receive.recv().unwrap();
        stop.store(true, Ordering::Release);
    });
}

#[test]
fn joins_scopes_and_maps_run_inside_spawned_tasks() {
    on_pool(|pool| {
        let (send, receive) = mpsc::channel();
        for _ in 0..50 {
            let send = send.clone();
            pool.spawn(move || {
                let pool = ThreadPool::current().expect("a worker has a pool");
                let ran = AtomicUsize::new(0);
                heist::scope(|s| {
                    for _ in 0..10 {
                        s.spawn(|_| {
                            ran.fetch_add(1, Ordering::Relaxed);
                        });
                    }
                });
                let mapped = pool.map(0..100, |x| x).len();
                // This handle is dropped first, so that it is not the last one.
                drop(pool);
                let _ = send.send((fib(9), ran.into_inner(), mapped));
            });
        }
        drop(send);
        let answers: Vec<_> = receive.iter().collect();
        assert_eq!(answers, vec![(serial_fib(9), 10, 100); 50]);
    });
}

#[test]
fn yield_now_runs_one_pending_task() {
    on_pool_of(1, |pool| {
        let ran = Arc::new(AtomicUsize::new(0));
        pool.run(|| {
            assert!(!heist::yield_now(), "nothing is pending");
            for _ in 0..3 {
                let ran = Arc::clone(&ran);
                heist::spawn(move || {
                    ran.fetch_add(1, Ordering::AcqRel);
                });
            }
            for count in 1..=3 {
                assert!(heist::yield_now());
                assert_eq!(ran.load(Ordering::Acquire), count);
            }
            assert!(!heist::yield_now(), "nothing is pending any more");
        });
    });
}

#[test]
fn yield_now_runs_a_task_from_outside() {
    on_pool_of(1, |pool| {
        let (inside, outside) = (AtomicBool::new(false), AtomicBool::new(false));
        let ran = Arc::new(AtomicBool::new(false));
        thread::scope(|threads| {
            threads.spawn(|| {
                spin_until(|| inside.load(Ordering::Acquire));
                let ran = Arc::clone(&ran);
                pool.spawn(move || ran.store(true, Ordering::Release));
                outside.store(true, Ordering::Release);
            });
            pool.run(|| {
                inside.store(true, Ordering::Release);
                spin_until(|| outside.load(Ordering::Acquire));
                assert!(heist::yield_now());
                assert!(ran.load(Ordering::Acquire));
            });
        });
    });
}

#[test]
fn a_loop_of_yield_now_waits_for_any_task() {
    on_pool(|pool| {
        pool.run(|| {
            let done = Arc::new(AtomicBool::new(false));
            let flag = Arc::clone(&done);
            heist::spawn(move || {
                heist::spawn(move || flag.store(true, Ordering::Release));
            });
            spin_until(|| heist::yield_now() || done.load(Ordering::Acquire));
            spin_until(|| {
                heist::yield_now();
                done.load(Ordering::Acquire)
            });
        });
    });
}

#[test]
fn a_task_run_by_yield_now_may_panic() {
    on_pool_of(1, |pool| {
        pool.run(|| {
            heist::spawn(|| panic!("not the yielder's panic"));
            assert!(heist::yield_now());
        });
        spin_until(|| pool.stats().failed == 1);
    });
}

#[test]
fn a_broadcast_runs_once_on_each_worker() {
    on_pool(|pool| {
        for _ in 0..20 {
            let answers = pool.broadcast(|index| {
                assert_eq!(heist::current_thread_index(), Some(index));
                (index, thread::current().id())
            });
            let indices: Vec<usize> = answers.iter().map(|(index, _)| *index).collect();
            assert_eq!(indices, (0..pool.num_threads()).collect::<Vec<_>>());
            let threads: HashSet<_> = answers.iter().map(|(_, thread)| thread).collect();
            assert_eq!(threads.len(), pool.num_threads());
            assert!(!threads.contains(&thread::current().id()));
        }
    });
}

#[test]
fn a_broadcast_reaches_the_same_threads_each_time() {
    on_pool(|pool| {
        let first = pool.broadcast(|_| thread::current().id());
        pool.install(|| fib(15));
        assert_eq!(pool.broadcast(|_| thread::current().id()), first);
    });
}

#[test]
fn a_broadcast_borrows_and_waits() {
    on_pool(|pool| {
        let counts: Vec<AtomicUsize> = (0..pool.num_threads())
            .map(|_| AtomicUsize::new(0))
            .collect();
        pool.broadcast(|index| {
            work(1000);
            counts[index].fetch_add(1, Ordering::Relaxed);
        });
        assert!(counts.iter().all(|c| c.load(Ordering::Relaxed) == 1));
    });
}

#[test]
fn a_broadcast_from_a_worker_includes_that_worker() {
    on_pool(|pool| {
        let own = pool.run(|| {
            let answers = pool.broadcast(|_| thread::current().id());
            assert!(answers.contains(&thread::current().id()));
            answers
        });
        assert_eq!(own, pool.broadcast(|_| thread::current().id()));
    });
}

#[test]
fn a_broadcast_drops_its_results_once() {
    on_pool(|pool| {
        let ledger = Ledger::new(pool.num_threads());
        let tickets = pool.broadcast(|index| ledger.ticket(index));
        assert_eq!(ledger.dropped(), 0);
        drop(tickets);
        ledger.assert_settled();
    });
}

#[test]
fn a_broadcast_comes_through_while_the_pool_is_busy() {
    on_pool(|pool| {
        let stop = AtomicBool::new(false);
        thread::scope(|threads| {
            for _ in 0..3 {
                threads.spawn(|| {
                    while !stop.load(Ordering::Acquire) {
                        assert_eq!(pool.install(|| fib(10)), serial_fib(10));
                    }
                });
            }
            for _ in 0..20 {
                assert_eq!(pool.broadcast(|index| index).len(), pool.num_threads());
            }
            stop.store(true, Ordering::Release);
        });
    });
}

#[test]
fn what_a_guest_leaves_undone_after_a_yield_still_runs() {
    watched(|| {
        let pool = pool_with(|builder| builder.num_threads(1));
        for _ in 0..200 {
            let done = Arc::new(AtomicUsize::new(0));
            pool.install(|| {
                for _ in 0..8 {
                    let done = Arc::clone(&done);
                    pool.spawn(move || {
                        done.fetch_add(1, Ordering::Release);
                    });
                }
                heist::yield_now();
            });
            spin_until(|| done.load(Ordering::Acquire) == 8);
        }
    });
}

#[test]
fn a_scope_finds_its_tasks_after_yields_that_ran_older_ones() {
    watched(|| {
        for waits in [Waits::Own, Waits::Any] {
            let pool = pool_with(|builder| builder.num_threads(1).spare_threads(0).waits(waits));
            pool.run(|| {
                pool.spawn(|| ());
                pool.spawn(|| ());
                let mut ran = false;
                heist::scope(|s| {
                    while heist::yield_now() {}
                    s.spawn(|_| ran = true);
                });
                assert!(ran);
            });
        }
    });
}

#[test]
fn a_broadcast_that_nobody_waits_for_runs_before_the_pool_ends() {
    watched(|| {
        for wait in [true, false] {
            let (sender, receiver) = mpsc::channel();
            let (lost, losses) = mpsc::channel();
            let pool = pool_with(|b| {
                b.num_threads(3)
                    .wait_on_drop(wait)
                    .panic_handler(move |_| lost.send(()).unwrap())
            });
            pool.spawn_broadcast(move |index| {
                sender.send(index).unwrap();
                assert!(index != 2, "lost");
            });
            drop(pool);
            let mut indices: Vec<_> = receiver.iter().collect();
            indices.sort_unstable();
            assert_eq!(indices, [0, 1, 2]);
            assert_eq!(losses.iter().count(), 1);
        }
    });
}
