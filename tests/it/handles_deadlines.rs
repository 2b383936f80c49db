//! Deadlines of tasks, and where closures of late tasks are dropped.

use crate::support::{
    Gate, Held, LONG, Ledger, SOON, hold, hold_all, on_pool, on_pool_of, pool_with, spin_until,
    threads, watched,
};
use heist::{CancelToken, JoinHandle, ThreadPool, current_token};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

#[test]
fn a_deadline_resolves_a_queued_task_on_time_while_all_workers_are_busy() {
    on_pool(|pool| {
        let held = hold_all(pool);
        let (start, thing) = (Instant::now(), Arc::new(()));
        let kept = Arc::clone(&thing);
        let handle = pool.task().name("late").deadline(SOON).submit(move || {
            drop(kept);
        });
        let token = handle.id();
        let error = handle.join().unwrap_err();
        assert!(error.is_timeout() && !error.is_cancelled() && !error.is_panic());
        assert_eq!((error.id(), error.name()), (token, Some("late")));
        assert!(start.elapsed() >= SOON);
        assert!(start.elapsed() < Duration::from_secs(5), "on time");
        assert_eq!(pool.stats().failed, 1);
        held.open();
        pool.wait_idle();
        spin_until(|| Arc::strong_count(&thing) == 1);
        let stats = pool.stats();
        assert_eq!((stats.failed, stats.cancelled), (1, 0));
        assert_eq!(stats.completed, pool.num_threads() as u64);
    });
}

#[test]
fn a_deadline_resolves_a_running_task_and_its_late_result_is_dropped() {
    on_pool(|pool| {
        let held = Held(Gate::default());
        let (gate, thing) = (held.0.clone(), Arc::new(()));
        let kept = Arc::clone(&thing);
        let handle = pool.task().deadline(SOON).submit(move || {
            let token = current_token();
            spin_until(|| token.is_cancelled());
            gate.pass();
            kept
        });
        assert!(handle.join().unwrap_err().is_timeout());
        assert_eq!(Arc::strong_count(&thing), 2);
        assert_eq!(pool.stats().failed, 1);
        held.open();
        spin_until(|| Arc::strong_count(&thing) == 1);
        pool.submit(|| ()).join().unwrap();
        pool.shutdown();
        let stats = pool.stats();
        assert_eq!((stats.failed, stats.completed, stats.submitted), (1, 1, 2));
    });
}

#[test]
fn a_late_panic_is_counted_once() {
    on_pool(|pool| {
        let handle = pool.task().deadline(SOON).submit(|| {
            spin_until(|| current_token().is_cancelled());
            panic!("too late");
        });
        let handle: JoinHandle<()> = handle;
        assert!(handle.join().unwrap_err().is_timeout());
        pool.shutdown();
        assert_eq!((pool.stats().failed, pool.stats().submitted), (1, 1));
    });
}

#[test]
fn a_task_that_is_in_time_has_its_result() {
    on_pool(|pool| {
        for deadline in [LONG, Duration::MAX] {
            let handle = pool.task().deadline(deadline).submit(|| 5);
            assert_eq!(handle.join().unwrap(), 5);
        }
        let handle = pool.task().deadline(Duration::ZERO).submit(|| 5);
        assert!(handle.join().map_or_else(|e| e.is_timeout(), |n| n == 5));
        let handle = pool.task().deadline(LONG).submit(|| panic!("in time"));
        let handle: JoinHandle<()> = handle;
        assert!(handle.join().unwrap_err().is_panic());
        pool.wait_idle();
        let stats = pool.stats();
        assert_eq!(stats.submitted, stats.completed + stats.failed);
    });
}

#[test]
fn a_deadline_cancels_its_own_tasks_token_only() {
    on_pool(|pool| {
        let token = CancelToken::new();
        let handle = pool.task().token(&token).deadline(SOON).submit(|| {
            spin_until(|| current_token().is_cancelled());
        });
        assert!(handle.join().unwrap_err().is_timeout());
        assert!(!token.is_cancelled());
        // In the other direction, the task sees that its token is cancelled.
        let handle = pool.task().token(&token).deadline(LONG).submit(|| {
            spin_until(|| current_token().is_cancelled());
        });
        spin_until(|| handle.is_running());
        token.cancel();
        handle.join().unwrap();
    });
}

#[test]
fn a_cancelled_task_does_not_miss_its_deadline() {
    on_pool(|pool| {
        let held = hold_all(pool);
        let handle = pool.task().deadline(SOON).submit(|| ());
        if handle.cancel() {
            assert!(handle.is_cancelled());
            assert!(handle.join().unwrap_err().is_cancelled());
            assert_eq!(pool.stats().cancelled, 1);
        }
        drop(held);
    });
}

#[test]
fn deadlines_expire_in_their_order_whatever_the_order_of_submission() {
    on_pool(|pool| {
        let _held = hold_all(pool);
        let millis = [60, 20, 100, 40, 80];
        let handles = millis.map(|m| {
            pool.task()
                .deadline(Duration::from_millis(m))
                .submit(move || m)
        });
        let order: Vec<_> = heist::as_completed(handles)
            .map(|(index, _)| millis[index])
            .collect();
        assert_eq!(order, [20, 40, 60, 80, 100]);
    });
}

#[test]
fn many_deadlines_race_with_runs_and_cancels() {
    on_pool(|pool| {
        let ledger = Ledger::new(2000);
        let handles: Vec<_> = ledger
            .tickets()
            .into_iter()
            .map(|ticket| {
                let micros = (ticket.index() as u64 * 7) % 3000;
                let handle = pool
                    .task()
                    .deadline(Duration::from_micros(micros))
                    .submit(move || ticket);
                if micros.is_multiple_of(5) {
                    handle.cancel();
                }
                handle
            })
            .collect();
        let (mut ok, mut timeout, mut cancelled) = (0, 0, 0);
        for handle in handles {
            match handle.join() {
                Ok(_) => ok += 1,
                Err(error) if error.is_timeout() => timeout += 1,
                Err(error) => {
                    assert!(error.is_cancelled());
                    cancelled += 1;
                }
            }
        }
        pool.wait_idle();
        spin_until(|| ledger.dropped() == 2000);
        ledger.assert_settled();
        let stats = pool.stats();
        assert_eq!(
            (stats.completed, stats.failed, stats.cancelled),
            (ok, timeout, cancelled)
        );
    });
}

#[test]
fn a_slow_callback_below_a_missed_deadline_delays_no_other_deadline() {
    on_pool_of(threads().max(2), |pool| {
        let own = pool.clone();
        let (gate, rest) = (Held(Gate::default()), Held(Gate::default()));
        let (stands, rests) = (gate.0.clone(), rest.0.clone());
        let (sent, sees) = mpsc::channel();
        let others = hold(pool, pool.num_threads() - 1);
        let outer = pool.task().deadline(SOON).submit(move || {
            // This task inherits the token of the task with the deadline, and never runs.
            let mut inner = own.submit(|| ());
            inner.on_finish(move |_| stands.pass());
            sent.send(inner).unwrap();
            rests.pass();
        });
        let inner = sees.recv().unwrap();
        let after = pool.task().deadline(2 * SOON).submit(|| ());
        assert!(inner.join().unwrap_err().is_cancelled());
        let on_time = after.wait_timeout(Duration::from_secs(2));
        gate.open();
        rest.open();
        others.open();
        assert!(outer.join().unwrap_err().is_timeout());
        assert!(on_time, "the other deadline waits for a callback");
    });
}

#[test]
fn wait_idle_waits_for_a_task_that_runs_on_after_its_deadline() {
    on_pool(|pool| {
        let held = Held(Gate::default());
        let gate = held.0.clone();
        let begun = Arc::new(AtomicBool::new(false));
        let ended = Arc::new(AtomicBool::new(false));
        // On a busy machine a task may miss its deadline before it begins.
        while !begun.load(Ordering::Acquire) {
            let (gate, begins, ends) = (gate.clone(), Arc::clone(&begun), Arc::clone(&ended));
            let handle = pool.task().deadline(SOON).submit(move || {
                begins.store(true, Ordering::Release);
                spin_until(|| current_token().is_cancelled());
                gate.pass();
                ends.store(true, Ordering::Release);
            });
            assert!(handle.join().unwrap_err().is_timeout());
        }
        let own = pool.clone();
        let waiter = std::thread::spawn(move || {
            own.wait_idle();
            ended.load(Ordering::Acquire)
        });
        // The sleep only makes visible a wait that is too short.
        std::thread::sleep(SOON);
        held.open();
        assert!(waiter.join().unwrap(), "idle while a task runs");
    });
}

/// Checks late tasks that are submitted from outside, by a guest, and on the worker itself. `submit` submits two tasks that are late before
/// they begin.
fn late(submit: impl Fn(&ThreadPool, Arc<()>) -> JoinHandle<()> + Send + Copy + 'static) {
    watched(move || {
        let pool = pool_with(|b| b.num_threads(1).spare_threads(0));
        let drops = move |pool: &ThreadPool| {
            let thing = Arc::new(());
            let kept = submit(pool, Arc::clone(&thing));
            let gone = submit(pool, Arc::clone(&thing));
            drop(gone);
            assert!(kept.wait_timeout(LONG));
            // The only worker is still held.
            spin_until(|| Arc::strong_count(&thing) == 1);
            assert!(kept.join().is_err());
        };
        let held = hold_all(&pool);
        drops(&pool);
        pool.install(|| drops(&pool));
        held.open();
        let own = pool.clone();
        pool.submit(move || drops(&own)).join().unwrap();
    });
}

#[test]
fn the_closure_of_a_late_task_is_dropped_while_all_workers_are_busy() {
    late(|pool, thing| {
        let task = pool.task().deadline(SOON);
        task.submit(move || drop(thing))
    });
}

#[test]
fn the_closure_of_a_late_task_with_a_priority_is_dropped_while_all_workers_are_busy() {
    for priority in [heist::Priority::High, heist::Priority::Low] {
        late(move |pool, thing| {
            let task = pool.task().priority(priority).deadline(SOON);
            task.submit(move || drop(thing))
        });
    }
}

/// A task inherits the token of a task that is late.
#[test]
fn the_closure_of_a_task_below_a_late_one_is_dropped_while_all_workers_are_busy() {
    on_pool_of(2, |pool| {
        let held = hold(pool, 1);
        let thing = Arc::new(());
        let (own, kept) = (pool.clone(), Arc::clone(&thing));
        let (sent, sees) = mpsc::channel();
        let gate = held.0.clone();
        let outer = pool.task().deadline(SOON).submit(move || {
            sent.send(own.submit(move || drop(kept))).unwrap();
            gate.pass();
        });
        // On a busy machine the outer task may be late before it begins.
        if let Ok(inner) = sees.recv() {
            assert!(inner.join().unwrap_err().is_cancelled());
        }
        spin_until(|| Arc::strong_count(&thing) == 1);
        assert!(outer.join().unwrap_err().is_timeout());
        held.open();
    });
}

/// A value whose destructor takes some time, and then reports.
struct Slow(Arc<AtomicUsize>);

impl Drop for Slow {
    fn drop(&mut self) {
        // The sleep only makes visible a wait that is too short.
        std::thread::sleep(SOON);
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn every_end_of_a_pool_waits_for_the_destructors_of_late_closures() {
    watched(|| {
        type End = (&'static str, fn(ThreadPool));
        let ends: [End; 5] = [
            ("drop", |pool| drop(pool)),
            ("shutdown", |pool| pool.shutdown()),
            ("shutdown_now", |pool| {
                pool.shutdown_now();
            }),
            ("shutdown_timeout", |pool| {
                pool.shutdown_timeout(LONG).unwrap()
            }),
            ("wait_idle", |pool| pool.wait_idle()),
        ];
        for (name, end) in ends {
            let pool = pool_with(|b| b);
            let held = hold_all(&pool);
            let dropped = Arc::new(AtomicUsize::new(0));
            let handles: Vec<_> = (0..5)
                .map(|_| {
                    let slow = Slow(Arc::clone(&dropped));
                    pool.task().deadline(SOON).submit(move || drop(slow))
                })
                .collect();
            for handle in handles {
                assert!(handle.join().unwrap_err().is_timeout());
            }
            held.open();
            end(pool);
            assert_eq!(dropped.load(Ordering::Relaxed), 5, "{name}");
        }
    });
}

#[test]
fn a_shutdown_with_a_time_limit_does_not_wait_longer_for_a_late_closure() {
    struct Stands(Gate);
    impl Drop for Stands {
        fn drop(&mut self) {
            self.0.pass();
        }
    }
    watched(|| {
        let pool = pool_with(|b| b);
        let (held, gate) = (hold_all(&pool), Held(Gate::default()));
        let stands = Stands(gate.0.clone());
        let late = pool.task().deadline(SOON).submit(move || drop(stands));
        assert!(late.join().unwrap_err().is_timeout());
        held.open();
        let error = pool.shutdown_timeout(SOON).unwrap_err();
        assert_eq!(error.queued(), 0);
        gate.open();
        pool.shutdown_timeout(LONG).unwrap();
    });
}

#[test]
fn a_late_closure_may_hold_the_last_handle_of_its_pool() {
    watched(|| {
        let (pool, names) = crate::support::named_pool(|b| b);
        let held = hold_all(&pool);
        let last = pool.clone();
        let late = pool.task().deadline(SOON).submit(move || drop(last));
        drop(pool);
        assert!(late.join().unwrap_err().is_timeout());
        held.open();
        spin_until(|| crate::support::threads_named(&names) == 0);
    });
}

#[test]
fn the_destructor_of_a_late_closure_that_panics_or_waits_for_its_pool_is_told_of() {
    struct Bad(Option<ThreadPool>);
    impl Drop for Bad {
        fn drop(&mut self) {
            match self.0.take() {
                Some(pool) => pool.wait_idle(),
                None => panic!("in the destructor"),
            }
        }
    }
    watched(|| {
        let texts = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&texts);
        let pool = pool_with(|b| {
            b.panic_handler(move |payload| {
                let text = crate::support::payload_text(&*payload);
                told.lock().unwrap().push(text);
            })
        });
        let held = hold_all(&pool);
        for bad in [Bad(None), Bad(Some(pool.clone()))] {
            let late = pool.task().deadline(SOON).submit(move || drop(bad));
            assert!(late.join().unwrap_err().is_timeout());
        }
        held.open();
        pool.wait_idle();
        let mut texts = texts.lock().unwrap().clone();
        texts.sort();
        assert_eq!(texts.len(), 2);
        assert!(texts[0].contains("wait_idle inside a task") && texts[1] == "in the destructor");
        assert_eq!(pool.submit(|| 1).join().unwrap(), 1);
    });
}

#[test]
fn a_late_closure_whose_destructor_stands_holds_up_no_crowd_of_others() {
    struct Stands(Gate, Arc<[AtomicUsize; 2]>);
    impl Drop for Stands {
        fn drop(&mut self) {
            let [begun, dropped] = &*self.1;
            begun.fetch_add(1, Ordering::Relaxed);
            self.0.pass();
            dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
    on_pool(|pool| {
        let (held, gate) = (hold_all(pool), Held(Gate::default()));
        let counts = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
        let [begun, dropped] = &*counts;
        let open = Gate::default();
        open.open();
        let submit = |gate: Gate| {
            let stands = Stands(gate, Arc::clone(&counts));
            pool.task().deadline(SOON).submit(move || drop(stands))
        };
        // The first destructor must hold up its thread before the others arrive.
        let first = submit(gate.0.clone());
        assert!(first.join().unwrap_err().is_timeout());
        spin_until(|| begun.load(Ordering::Relaxed) == 1);
        let late: Vec<_> = (0..500).map(|_| submit(open.clone())).collect();
        for handle in late {
            assert!(handle.join().unwrap_err().is_timeout());
        }
        spin_until(|| dropped.load(Ordering::Relaxed) == 500);
        gate.open();
        held.open();
        pool.wait_idle();
        assert_eq!(dropped.load(Ordering::Relaxed), 501);
    });
}
