//! What CPython pins in `executor.py`, `test_thread_pool.py`, `test_shutdown.py` and `test_init.py`. The lists of cases are in `handles_python`.

use crate::support::{
    Gate, Held, SOON, hold_all, named_pool, on_pool, on_pool_of, pool_with, running, spin_until,
    threads, threads_named, watched,
};
use heist::JoinHandle;
use std::cell::Cell;
use std::panic::resume_unwind;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

#[test]
fn submit() {
    on_pool(|pool| assert_eq!(pool.submit(|| 2_u32.pow(8)).join().unwrap(), 256));
}

#[test]
fn map() {
    on_pool(|pool| {
        let expected: Vec<u64> = (0..10).map(|n: u64| n.pow(n as u32)).collect();
        let pow = |(base, exponent): (u64, u32)| base.pow(exponent);
        for chunk in [1, 3] {
            let results = pool.imap((0..10).zip(0..10), pow).chunk(chunk);
            assert!(results.map(Result::unwrap).eq(expected.iter().copied()));
        }
        let input: Vec<(u64, u32)> = (0..10).zip(0..10).collect();
        assert_eq!(pool.map(input, pow), expected);
    });
}

#[test]
fn map_exception() {
    on_pool(|pool| {
        let divmod = |(a, b): (u32, u32)| (a / b, a % b);
        let mut results = pool.imap([(1, 2), (1, 3), (1, 0), (1, 5)], divmod);
        assert_eq!(results.next().unwrap().unwrap(), (0, 1));
        assert_eq!(results.next().unwrap().unwrap(), (0, 1));
        assert!(results.next().unwrap().unwrap_err().is_panic());
        assert_eq!(results.next().unwrap().unwrap(), (0, 1));
        assert!(results.next().is_none());
    });
}

#[test]
fn map_timeout() {
    on_pool(|pool| {
        let held = Held(Gate::default());
        let gate = held.0.clone();
        let f = move |slow| {
            if slow {
                gate.pass();
            }
        };
        // This is far longer than two empty calls take.
        let limit = Duration::from_millis(500);
        let results = pool.imap([false, false, true], f).timeout(limit);
        let results: Vec<_> = results
            .map(|result| result.map_err(|e| e.is_timeout()))
            .collect();
        assert_eq!(results, [Ok(()), Ok(()), Err(true)]);
    });
}

#[test]
fn shutdown_race_issue12456() {
    watched(|| {
        for _ in 0..50 {
            let pool = pool_with(|b| b);
            drop(pool.submit_many((0..threads() + 1).map(|_| || 2.to_string())));
            pool.shutdown();
            assert_eq!(pool.stats().completed as usize, threads() + 1);
        }
    });
}

#[test]
fn no_stale_references() {
    on_pool(|pool| {
        let object = Arc::new(());
        let weak = Arc::downgrade(&object);
        pool.submit(move || drop(Arc::clone(&object))).detach();
        spin_until(|| weak.strong_count() == 0);
    });
}

#[test]
fn free_reference() {
    on_pool(|pool| {
        for result in pool.imap(0..10, Arc::new) {
            let weak = Arc::downgrade(&result.unwrap());
            assert!(weak.upgrade().is_none());
        }
    });
}

#[test]
fn map_buffersize() {
    on_pool(|pool| {
        for size in [1, 2, 4, 8] {
            let results = pool.imap(0..4, |n| n.to_string()).window(size);
            assert!(results.map(Result::unwrap).eq(["0", "1", "2", "3"]));
        }
    });
}

#[test]
fn map_buffersize_on_empty_iterable() {
    on_pool(|pool| assert!(pool.imap(0..0, |n| n).window(4).next().is_none()));
}

#[test]
fn map_buffersize_on_infinite_iterable() {
    on_pool(|pool| {
        let mut results = pool.imap(0_u64.., |n| n.to_string()).window(4);
        for expected in ["0", "1", "2"] {
            assert_eq!(results.next().unwrap().unwrap(), expected);
        }
    });
}

#[test]
fn map_buffersize_when_buffer_is_full() {
    on_pool(|pool| {
        let taken = Cell::new(0);
        let input = (0..8).inspect(|_| taken.set(taken.get() + 1));
        let held = hold_all(pool);
        let gate = Held(Gate::default());
        let stands = gate.0.clone();
        let f = move |n| {
            if n > 0 {
                stands.pass();
            }
            n
        };
        let mut results = pool.imap(input, f).window(4);
        assert_eq!(taken.get(), 0);
        // No item has finished before the buffer is full. One more item is pulled for each that is returned.
        assert_eq!(results.next().unwrap().unwrap(), 0);
        assert_eq!(taken.get(), 4);
        held.open();
        gate.open();
        for given in 1..8 {
            assert_eq!(results.next().unwrap().unwrap(), given);
            assert!(taken.get() <= (given + 4).min(8));
        }
        assert!(results.next().is_none());
        assert_eq!(taken.get(), 8);
    });
}

#[test]
fn saturation() {
    watched(|| {
        let (pool, name) = named_pool(|b| b.num_threads(4).spare_threads(0));
        let held = Held(Gate::default());
        for _ in 0..15 * 4 {
            let gate = held.0.clone();
            pool.spawn(move || gate.pass());
        }
        // Each thread that starts lets the next one start.
        spin_until(|| threads_named(&name) == 4);
        held.open();
        pool.shutdown();
        assert_eq!(pool.stats().completed, 15 * 4);
    });
}

#[test]
fn idle_thread_reuse() {
    watched(|| {
        let (pool, name) = named_pool(|b| b.num_threads(8));
        for (a, b) in [(21, 2), (6, 7), (3, 14)] {
            assert_eq!(pool.submit(move || a * b).join().unwrap(), 42);
            spin_until(|| pool.stats().active == 0);
        }
        assert_eq!(threads_named(&name), 1);
    });
}

#[test]
fn executor_map_current_future_cancel() {
    on_pool_of(1, |pool| {
        let log = Arc::new(Mutex::new(Vec::new()));
        let (first, gate) = running(pool);
        let sink = Arc::clone(&log);
        let mut results = pool
            .imap(["second", "third"], move |name| {
                sink.lock().unwrap().push(name)
            })
            .timeout(Duration::ZERO);
        assert!(results.next().unwrap().unwrap_err().is_timeout());
        drop(results);
        gate.open();
        assert_eq!(first.join().unwrap(), 1);
        pool.wait_idle();
        assert!(log.lock().unwrap().is_empty());
    });
}

#[test]
fn run_after_shutdown() {
    on_pool(|pool| {
        pool.shutdown();
        assert!(pool.submit(|| 32).join().unwrap_err().is_cancelled());
        let back = pool.try_submit(|| 32).unwrap_err();
        assert!(!back.is_full());
        assert_eq!((back.into_inner())(), 32);
    });
}

#[test]
fn hang_issue12364() {
    on_pool(|pool| {
        let held = hold_all(pool);
        let handles: Vec<_> = (0..50).map(|n| pool.submit(move || n)).collect();
        // The shutdown comes while all tasks are queued.
        let own = pool.clone();
        let ending = thread::spawn(move || own.shutdown());
        spin_until(|| pool.try_submit(|| ()).is_err());
        assert!(handles.iter().all(|handle| !handle.is_finished()));
        held.open();
        ending.join().unwrap();
        for (n, handle) in handles.into_iter().enumerate() {
            assert!(handle.is_finished());
            assert_eq!(handle.join().unwrap(), n);
        }
    });
}

#[test]
fn del_shutdown() {
    watched(|| {
        let (pool, name) = named_pool(|b| b.num_threads(5));
        let handles = pool.submit_many((-5..5_i32).map(|n| move || n.abs()));
        drop(pool);
        assert_eq!(threads_named(&name), 0);
        let results = handles.into_iter().map(|handle| handle.join().unwrap());
        assert!(results.eq([5, 4, 3, 2, 1, 0, 1, 2, 3, 4]));
    });
}

#[test]
fn shutdown_no_wait() {
    watched(|| {
        let (pool, name) = named_pool(|b| b.num_threads(5));
        // The pool is in a state in which nothing has begun.
        let held = hold_all(&pool);
        let handles = pool.submit_many((-5..5_i32).map(|n| move || n.abs()));
        pool.close();
        assert!(handles.iter().all(|handle| !handle.is_finished()));
        assert!(pool.try_submit(|| ()).is_err());
        held.open();
        // The threads end without a further request, and not before all results are available.
        spin_until(|| threads_named(&name) == 0);
        assert!(handles.iter().all(JoinHandle::is_finished));
        let results = handles.into_iter().map(|handle| handle.join().unwrap());
        assert!(results.eq([5, 4, 3, 2, 1, 0, 1, 2, 3, 4]));
    });
}

#[test]
fn cancel_futures_wait_false() {
    watched(|| {
        let (pool, name) = named_pool(|b| b);
        let prints = pool.submit(|| {
            thread::sleep(SOON);
            "apple"
        });
        let dropped = pool.close_now();
        drop(pool);
        assert_eq!(threads_named(&name), 0);
        // The shutdown may come before the task begins.
        match prints.join() {
            Ok(printed) => assert_eq!((printed, dropped), ("apple", 0)),
            Err(error) => assert!(error.is_cancelled() && dropped == 1),
        }
    });
}

#[test]
fn initializer() {
    watched(|| {
        thread_local! {
            static STATUS: Cell<&'static str> = const { Cell::new("uninitialized") };
        }
        let initialized = || STATUS.with(Cell::get);
        let pool = pool_with(|b| b.on_thread_start(|_| STATUS.set("initialized")));
        let handles: Vec<_> = (0..10).map(|_| pool.submit(initialized)).collect();
        for handle in handles {
            assert_eq!(handle.join().unwrap(), "initialized");
        }
        // A hook that fails costs neither the thread nor a task.
        let pool = pool_with(|b| b.on_thread_start(|_| resume_unwind(Box::new("error in init"))));
        assert_eq!(pool.submit(|| 1).join().unwrap(), 1);
        pool.shutdown();
        let stats = pool.stats();
        assert_eq!(stats.completed, 1);
        assert!(stats.lost_panics >= 1);
    });
}

#[test]
fn cancel_futures() {
    on_pool(|pool| {
        let (runs, gate) = running(pool);
        let held = (threads() > 1).then(|| {
            let more: Vec<_> = (1..threads()).map(|_| running(pool)).collect();
            more.into_iter().map(|(_, held)| held).collect::<Vec<_>>()
        });
        let handles: Vec<_> = (0..50).map(|n| pool.submit(move || n)).collect();
        let own = pool.clone();
        let ending = thread::spawn(move || own.shutdown_now());
        for handle in handles {
            assert!(handle.join().unwrap_err().is_cancelled());
        }
        gate.open();
        drop(held);
        assert_eq!(ending.join().unwrap(), 50);
        assert!(runs.is_finished());
        assert_eq!(runs.join().unwrap(), 1);
    });
}

#[test]
fn hang_gh94440() {
    watched(|| {
        for _ in 0..100 {
            let pool = pool_with(|b| b.num_threads(1));
            pool.submit(|| ()).join().unwrap();
            pool.submit(|| ()).cancel();
            pool.shutdown();
        }
    });
}

#[test]
fn threads_terminate() {
    watched(|| {
        let (pool, name) = named_pool(|b| b.num_threads(3));
        drop(hold_all(&pool));
        pool.shutdown();
        spin_until(|| threads_named(&name) == 0);
    });
}

#[test]
fn context_manager_shutdown() {
    watched(|| {
        let name = {
            let (pool, name) = named_pool(|b| b.num_threads(5));
            let absolute = pool.imap(-5..5, i32::abs).map(Result::unwrap);
            assert!(absolute.eq([5, 4, 3, 2, 1, 0, 1, 2, 3, 4]));
            name
        };
        spin_until(|| threads_named(&name) == 0);
    });
}

#[test]
fn thread_names_assigned_and_default() {
    let name = || thread::current().name().map(str::to_owned);
    watched(move || {
        let pool = pool_with(|b| b.thread_name(|index| format!("SpecialPool_{index}")));
        for given in pool.broadcast(move |index| (index, name())) {
            assert_eq!(given.1, Some(format!("SpecialPool_{}", given.0)));
        }
        let pool = pool_with(|b| b);
        for given in pool.broadcast(move |index| (index, name())) {
            assert_eq!(given.1, Some(format!("heist-{}", given.0)));
        }
    });
}
