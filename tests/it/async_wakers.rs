//! Wakers: who may call them, from where, how often, and how long.

use crate::support::{
    Door, Gate, Ledger, SOON, assert_balanced, hold_all, on_pool, on_pool_of, pool_with,
    spin_until, suspended, threads, watched,
};
use heist::{JoinHandle, ThreadPool};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

/// Opens the door when it is called, in any way that a waker can be called.
fn call(waker: Waker, way: usize) {
    match way % 4 {
        0 => waker.wake(),
        1 => waker.wake_by_ref(),
        2 => {
            let clone = waker.clone();
            drop(waker);
            clone.wake();
        }
        _ => {
            let clone = waker.clone();
            waker.wake_by_ref();
            clone.wake();
            waker.wake();
        }
    }
}

#[test]
fn each_way_to_call_a_waker() {
    on_pool(|pool| {
        for way in 0..4 {
            let door = Door::default();
            let handle = suspended(pool, &door);
            let waker = door.waker();
            let polls = door.polls();
            call(waker, way);
            spin_until(|| door.polls() > polls);
            door.open();
            handle.join().unwrap();
            pool.wait_idle();
            spin_until(|| pool.stats().suspended == 0);
        }
        assert_balanced(pool);
    });
}

#[test]
fn wakers_of_one_task_are_equal_and_those_of_others_are_not() {
    on_pool(|pool| {
        let doors = [Door::default(), Door::default()];
        let handles: Vec<_> = doors.iter().map(|door| suspended(pool, door)).collect();
        let [one, other] = [doors[0].waker(), doors[1].waker()];
        assert!(one.will_wake(&one.clone()) && !one.will_wake(&other));
        doors[0].waker().wake();
        spin_until(|| doors[0].polls() == 2);
        assert!(one.will_wake(&doors[0].waker()));
        doors.iter().for_each(Door::open);
        for handle in handles {
            handle.join().unwrap();
        }
    });
}

#[test]
fn a_waker_is_called_on_a_thread_that_knows_no_pool() {
    on_pool(|pool| {
        let door = Door::default();
        let handle = suspended(pool, &door);
        let opener = door.clone();
        std::thread::spawn(move || opener.open()).join().unwrap();
        handle.join().unwrap();
    });
}

#[test]
fn a_waker_is_called_while_its_thread_ends() {
    // In the destructor of a thread-local, which perhaps runs after those of the crate.
    struct AtEnd(Option<Waker>);
    impl Drop for AtEnd {
        fn drop(&mut self) {
            if let Some(waker) = self.0.take() {
                waker.wake();
            }
        }
    }
    thread_local! {
        static LAST: Mutex<AtEnd> = const { Mutex::new(AtEnd(None)) };
    }
    on_pool(|pool| {
        for uses_pool in [false, true] {
            let door = Door::default();
            let handle = suspended(pool, &door);
            let polls = door.polls();
            let (waker, own) = (door.waker(), pool.clone());
            std::thread::spawn(move || {
                LAST.with(|last| last.lock().unwrap().0 = Some(waker));
                if uses_pool {
                    own.join(|| (), || ());
                }
            })
            .join()
            .unwrap();
            spin_until(|| door.polls() > polls);
            door.open();
            handle.join().unwrap();
        }
    });
}

#[test]
fn a_waker_is_called_on_workers_and_guests_of_this_pool_and_of_another() {
    on_pool(|pool| {
        let other = pool_with(|b| b.num_threads(1));
        for round in 0..40 {
            let door = Door::default();
            let handle = suspended(pool, &door);
            let opener = door.clone();
            match round % 5 {
                0 => pool.submit(move || opener.open()).join().unwrap(),
                1 => other.submit(move || opener.open()).join().unwrap(),
                2 => pool.install(move || opener.open()),
                3 => other.install(move || opener.open()),
                _ => {
                    let own = pool.clone();
                    // A worker of the other pool, as a guest of this one.
                    other
                        .submit(move || own.install(move || opener.open()))
                        .join()
                        .unwrap();
                }
            }
            handle.join().unwrap();
        }
        assert_balanced(pool);
        spin_until(|| pool.stats().suspended == 0);
    });
}

#[test]
fn a_waker_that_is_called_in_the_poll_leads_to_another_poll() {
    on_pool(|pool| {
        for way in 0..4 {
            let mut polls = 0;
            let handle = pool.submit_async(poll_fn(move |context| {
                polls += 1;
                if polls == 500 {
                    return Poll::Ready(polls);
                }
                call(context.waker().clone(), way);
                Poll::Pending
            }));
            assert_eq!(handle.join().unwrap(), 500);
        }
        // By another thread, before the poll ends.
        let handle = pool.submit_async({
            let mut polls = 0;
            poll_fn(move |context| {
                polls += 1;
                if polls == 50 {
                    return Poll::Ready(());
                }
                let waker = context.waker().clone();
                std::thread::spawn(move || waker.wake()).join().unwrap();
                Poll::Pending
            })
        });
        handle.join().unwrap();
        assert_balanced(pool);
    });
}

#[test]
fn a_waker_that_is_called_in_the_last_poll_does_nothing() {
    on_pool(|pool| {
        for detached in [false, true] {
            let kept = Arc::new(Mutex::new(None));
            let (keeper, polls) = (Arc::clone(&kept), Arc::new(AtomicUsize::new(0)));
            let count = Arc::clone(&polls);
            let future = poll_fn(move |context| {
                count.fetch_add(1, Ordering::SeqCst);
                context.waker().wake_by_ref();
                *keeper.lock().unwrap() = Some(context.waker().clone());
                Poll::Ready(())
            });
            if detached {
                pool.spawn_async(future);
            } else {
                pool.submit_async(future).join().unwrap();
            }
            pool.wait_idle();
            kept.lock().unwrap().take().unwrap().wake();
            pool.wait_idle();
            assert_eq!(polls.load(Ordering::SeqCst), 1);
            assert_balanced(pool);
        }
    });
}

/// Calls its waker when it is dropped.
struct WakesInDrop(Door, Option<Waker>, usize);

impl Future for WakesInDrop {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.1 = Some(context.waker().clone());
        let mut passage = self.0.pass();
        Pin::new(&mut passage).poll(context)
    }
}

impl Drop for WakesInDrop {
    fn drop(&mut self) {
        if let Some(waker) = self.1.take() {
            call(waker, self.2);
        }
    }
}

#[test]
fn a_waker_that_is_called_in_the_drop_of_the_future_does_nothing() {
    on_pool(|pool| {
        for way in 0..4 {
            for end in 0..4 {
                let door = Door::default();
                let future = WakesInDrop(door.clone(), None, way);
                let handle = match end {
                    0 => pool.task().deadline(SOON).submit_async(future),
                    _ => pool.submit_async(future),
                };
                // On a busy machine the deadline passes before the first poll.
                spin_until(|| door.polls() == 1 || (end == 0 && handle.is_finished()));
                match end {
                    0 => assert!(handle.join().unwrap_err().is_timeout()),
                    1 => {
                        assert!(handle.cancel());
                        assert!(handle.join().unwrap_err().is_cancelled());
                    }
                    2 => {
                        door.open();
                        handle.join().unwrap();
                    }
                    _ => {
                        drop(handle);
                        door.open();
                    }
                }
                pool.wait_idle();
                let polls = door.polls();
                assert!(polls == 1 + usize::from(end >= 2) || (end == 0 && polls == 0));
                assert_balanced(pool);
            }
        }
        spin_until(|| pool.stats().suspended == 0);
    });
}

#[test]
fn a_waker_is_called_in_the_drop_at_the_end_of_a_pool() {
    watched(|| {
        for way in 0..4 {
            let pool = pool_with(|b| b);
            let door = Door::default();
            let handle = pool.submit_async(WakesInDrop(door.clone(), None, way));
            spin_until(|| pool.stats().suspended == 1);
            if way % 2 == 0 {
                assert_eq!(pool.shutdown_now(), 1);
            } else {
                assert_eq!(pool.close_now(), 1);
            }
            assert!(handle.join().unwrap_err().is_cancelled());
            drop(pool);
            door.take_wakers().into_iter().for_each(Waker::wake);
        }
    });
}

#[test]
fn wakers_outlive_their_task() {
    on_pool(|pool| {
        let mut wakers = Vec::new();
        for end in 0..4 {
            let ledger = Ledger::new(1);
            let (door, ticket) = (Door::default(), ledger.ticket(0));
            let passage = door.pass();
            let future = async move {
                passage.await;
                assert!(end != 3, "at the end");
                drop(ticket);
            };
            let handle = match end {
                0 => pool.task().deadline(SOON).submit_async(future),
                _ => pool.submit_async(future),
            };
            if end == 0 {
                // On a busy machine the deadline passes before the first poll.
                spin_until(|| handle.is_finished());
                wakers.extend(door.take_wakers());
            } else {
                wakers.push(door.waker());
            }
            match end {
                0 => {}
                1 => assert!(handle.cancel()),
                _ => door.open(),
            }
            assert_eq!(handle.join().is_ok(), end == 2);
            pool.wait_idle();
            // Neither the future nor its result is kept by a waker.
            ledger.assert_settled();
        }
        for (way, waker) in wakers.into_iter().enumerate() {
            call(waker.clone(), way);
            call(waker, way + 1);
        }
        pool.wait_idle();
        assert_balanced(pool);
    });
}

#[test]
fn wakers_outlive_their_pool() {
    watched(|| {
        for way in 0..4 {
            let pool = pool_with(|b| b);
            let (finished, never) = (Door::default(), Door::default());
            let first = suspended(&pool, &finished);
            let last = suspended(&pool, &never);
            let wakers = [finished.waker(), never.waker()];
            finished.open();
            first.join().unwrap();
            pool.shutdown_now();
            drop(pool);
            let names = never.dropped_on();
            assert!(
                names.len() == 1 && names[0].starts_with("heist-"),
                "{names:?}"
            );
            for waker in wakers {
                call(waker.clone(), way);
                std::thread::spawn(move || call(waker, way)).join().unwrap();
            }
            // The handle also outlives the pool.
            assert!(last.join().unwrap_err().is_cancelled());
        }
    });
}

#[test]
fn a_waker_does_not_keep_its_pool_alive() {
    watched(|| {
        let exits = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&exits);
        let pool = pool_with(|b| {
            b.on_thread_exit(move |_| {
                count.fetch_add(1, Ordering::SeqCst);
            })
        });
        let door = Door::default();
        let handle = suspended(&pool, &door);
        let waker = door.waker();
        door.open();
        handle.join().unwrap();
        drop(pool);
        assert!(exits.load(Ordering::SeqCst) > 0);
        assert_eq!(Arc::strong_count(&exits), 1, "the pool's hooks are gone");
        drop(waker);
    });
}

#[test]
fn a_million_clones_on_several_threads() {
    on_pool(|pool| {
        let door = Door::default();
        let handle = suspended(pool, &door);
        let waker = door.waker();
        std::thread::scope(|s| {
            for _ in 0..4 {
                let waker = waker.clone();
                s.spawn(move || {
                    let clones: Vec<_> = (0..250_000).map(|_| waker.clone()).collect();
                    for (n, clone) in clones.into_iter().enumerate() {
                        if n % 50_000 == 0 {
                            clone.wake();
                        }
                    }
                });
            }
        });
        door.open();
        handle.join().unwrap();
    });
}

#[test]
fn wakes_race_with_polls_and_none_is_lost() {
    on_pool(|pool| {
        // Each wake-up adds one before it wakes. The future ends when it has seen all.
        const EACH: usize = 20_000;
        let added = Arc::new(AtomicUsize::new(0));
        let waker = Arc::new(Mutex::new(None::<Waker>));
        let (seen, shown) = (Arc::clone(&added), Arc::clone(&waker));
        let handle = pool.submit_async(poll_fn(move |context| {
            *shown.lock().unwrap() = Some(context.waker().clone());
            if seen.load(Ordering::SeqCst) == 3 * EACH {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        }));
        spin_until(|| waker.lock().unwrap().is_some());
        let waker = waker.lock().unwrap().clone().unwrap();
        std::thread::scope(|s| {
            for way in 0..3 {
                let (waker, added) = (waker.clone(), &added);
                s.spawn(move || {
                    for _ in 0..EACH {
                        added.fetch_add(1, Ordering::SeqCst);
                        call(waker.clone(), way);
                    }
                });
            }
        });
        handle.join().unwrap();
        pool.wait_idle();
        spin_until(|| pool.stats().suspended == 0);
        assert_balanced(pool);
    });
}

#[test]
fn wakes_race_with_cancels_deadlines_and_drops() {
    on_pool(|pool| {
        let ledger = Ledger::new(2_000);
        for n in 0..2_000 {
            let (door, ticket) = (Door::default(), ledger.ticket(n));
            let passage = door.pass();
            let future = async move {
                passage.await;
                ticket
            };
            let handle = match n % 5 {
                0 => pool
                    .task()
                    .deadline(std::time::Duration::from_micros(50))
                    .submit_async(future),
                _ => pool.submit_async(future),
            };
            spin_until(|| door.polls() > 0 || handle.is_finished());
            let opener = door.clone();
            let wakes = pool.submit(move || opener.open());
            match n % 5 {
                1 | 2 => drop(handle.cancel()),
                3 => drop(handle),
                _ => drop(handle.join()),
            }
            wakes.join().unwrap();
        }
        pool.wait_idle();
        ledger.assert_settled();
        assert_eq!(ledger.dropped(), 2_000);
        spin_until(|| pool.stats().suspended == 0);
        assert_balanced(pool);
    });
}

#[test]
fn a_poll_is_never_entered_twice() {
    on_pool(|pool| {
        let busy = Arc::new(AtomicBool::new(false));
        let twice = Arc::new(AtomicBool::new(false));
        let kept = Arc::new(Mutex::new(None::<Waker>));
        let (flag, seen, shown) = (Arc::clone(&busy), Arc::clone(&twice), Arc::clone(&kept));
        let mut polls = 0;
        let handle = pool.submit_async(poll_fn(move |context| {
            if flag.swap(true, Ordering::SeqCst) {
                seen.store(true, Ordering::SeqCst);
            }
            *shown.lock().unwrap() = Some(context.waker().clone());
            polls += 1;
            std::thread::yield_now();
            flag.store(false, Ordering::SeqCst);
            if polls < 200 {
                Poll::Pending
            } else {
                Poll::Ready(())
            }
        }));
        std::thread::scope(|s| {
            for _ in 0..3 {
                s.spawn(|| {
                    spin_until(|| {
                        let waker = kept.lock().unwrap().clone();
                        if let Some(waker) = waker {
                            waker.wake();
                        }
                        handle.is_finished()
                    });
                });
            }
        });
        handle.join().unwrap();
        assert!(!twice.load(Ordering::SeqCst));
    });
}

#[test]
fn a_waker_of_a_scope_outlives_the_scope() {
    on_pool(|pool| {
        let mut kept = Vec::new();
        for _ in 0..100 {
            let door = Door::default();
            let text = String::from("borrowed");
            // The body occupies the only thread of a small pool, so another thread opens the door.
            let opener = door.clone();
            let opening = std::thread::spawn(move || {
                let waker = opener.waker();
                opener.open();
                waker
            });
            pool.scope(|s| {
                let handle = s.submit_async(async {
                    door.pass().await;
                    text.len()
                });
                assert_eq!(handle.join().unwrap(), 8);
            });
            kept.push(opening.join().unwrap());
        }
        for (way, waker) in kept.into_iter().enumerate() {
            call(waker, way);
        }
        pool.wait_idle();
        assert_balanced(pool);
    });
}

#[test]
fn a_scoped_future_is_cancelled_while_it_is_woken() {
    // One thread polls while the body of the scope runs on another.
    on_pool_of(threads().max(2), |pool| {
        for _ in 0..500 {
            let door = Door::default();
            pool.scope(|s| {
                let handle = s.submit_async(door.pass());
                let waker = door.waker();
                std::thread::scope(|t| {
                    t.spawn(move || waker.wake());
                    assert!(handle.cancel());
                });
                assert!(handle.join().unwrap_err().is_cancelled());
            });
        }
        pool.wait_idle();
        spin_until(|| pool.stats().queued == 0);
        assert_balanced(pool);
    });
}

#[test]
fn woken_tasks_do_not_starve_what_is_queued() {
    on_pool_of(1, |pool| {
        // A ring of tasks that wake each other, and one that wakes itself.
        let stop = Arc::new(AtomicBool::new(false));
        let ring: Arc<Vec<Mutex<Option<Waker>>>> =
            Arc::new((0..5).map(|_| Mutex::new(None)).collect());
        let mut handles: Vec<JoinHandle<()>> = Vec::new();
        for me in 0..5 {
            let (ring, stop) = (Arc::clone(&ring), Arc::clone(&stop));
            handles.push(pool.submit_async(poll_fn(move |context| {
                *ring[me].lock().unwrap() = Some(context.waker().clone());
                let next = ring[(me + 1) % 5].lock().unwrap().clone();
                if let Some(next) = next {
                    next.wake();
                }
                if stop.load(Ordering::SeqCst) {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                }
            })));
        }
        let halt = Arc::clone(&stop);
        handles.push(pool.submit_async(async move {
            while !halt.load(Ordering::SeqCst) {
                heist::yield_async().await;
            }
        }));
        for n in 0..200 {
            assert_eq!(pool.submit(move || n).join().unwrap(), n);
            assert_eq!(pool.submit_async(async move { n }).join().unwrap(), n);
        }
        stop.store(true, Ordering::SeqCst);
        spin_until(|| {
            ring.iter()
                .filter_map(|waker| waker.lock().unwrap().clone())
                .for_each(Waker::wake);
            handles.iter().all(JoinHandle::is_finished)
        });
    });
}

#[test]
fn a_wake_up_starts_the_threads_of_a_pool_that_sleeps() {
    on_pool(|pool| {
        let doors: Vec<_> = (0..50).map(|_| Door::default()).collect();
        let handles: Vec<_> = doors.iter().map(|door| suspended(pool, door)).collect();
        spin_until(|| pool.stats().active == 0);
        doors.iter().for_each(Door::open);
        heist::try_join_all(handles).unwrap();
    });
}

#[test]
fn a_wake_up_while_every_worker_is_held() {
    on_pool(|pool| {
        let door = Door::default();
        let handle = suspended(pool, &door);
        let held = hold_all(pool);
        door.open();
        assert!(handle.is_running() && !handle.is_finished());
        assert_eq!(pool.stats().queued, 1);
        held.open();
        handle.join().unwrap();
        assert!(threads() > 0);
    });
}

#[test]
fn a_pool_that_became_smaller_polls_what_is_woken() {
    on_pool_of(4, |pool: &ThreadPool| {
        let doors: Vec<_> = (0..20).map(|_| Door::default()).collect();
        let handles: Vec<_> = doors.iter().map(|door| suspended(pool, door)).collect();
        pool.set_num_threads(1);
        doors.iter().for_each(Door::open);
        heist::try_join_all(handles).unwrap();
        let (begun, go) = (Gate::default(), Gate::default());
        let (first, gate) = (begun.clone(), go.clone());
        let handle = pool.submit_async(async move {
            first.open();
            gate.pass();
            heist::yield_async().await;
        });
        begun.pass();
        pool.set_num_threads(3);
        go.open();
        handle.join().unwrap();
    });
}

#[test]
fn a_future_may_want_a_lock_that_is_held_across_a_map() {
    on_pool(|pool| {
        let (lock, over) = (
            Arc::new(Mutex::new(0_u64)),
            Arc::new(AtomicBool::new(false)),
        );
        let shared = (Arc::clone(&lock), Arc::clone(&over));
        // Wakes itself by way of the injector, so that it is ready nearly all the time.
        let future = poll_fn(move |context| {
            *shared.0.lock().unwrap() += 1;
            if shared.1.load(Ordering::Relaxed) {
                return Poll::Ready(());
            }
            let waker = context.waker().clone();
            thread::spawn(move || waker.wake());
            Poll::Pending
        });
        let handle = pool.submit_async(future);
        // Two maps in one another, each part of which can be stolen. Each item of the outer one holds the lock while its thread waits in the inner one.
        for _ in 0..20 {
            pool.for_each(0..8_u32, |_| {
                let mut held = lock.lock().unwrap();
                pool.for_each(0..64_u32, |_| {
                    let start = Instant::now();
                    while start.elapsed() < Duration::from_micros(5) {}
                });
                *held += 1;
            });
        }
        over.store(true, Ordering::Relaxed);
        handle.join().unwrap();
        assert!(*lock.lock().unwrap() >= 160);
    });
}
