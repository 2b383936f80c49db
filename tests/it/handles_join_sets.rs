//! `JoinSet`: its results, its tasks, its drop, and waits that end with the first error.

use crate::support::{
    Gate, Held, LONG, Ledger, SOON, hold_all, on_pool, on_pool_of, pool_with, spin_until, watched,
};
use heist::{CancelToken, JoinHandle, JoinSet, Priority, WaitFor, promise, try_join_all};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

#[test]
fn try_join_next_gives_what_has_finished_and_never_waits() {
    on_pool(|pool| {
        let mut set = JoinSet::new(pool);
        assert!(set.try_join_next().is_none());
        let held = hold_all(pool);
        set.spawn(|| 1);
        assert!(set.try_join_next().is_none());
        assert_eq!(set.len(), 1);
        held.open();
        let mut joined = None;
        spin_until(|| {
            joined = set.try_join_next();
            joined.is_some()
        });
        assert_eq!(joined.unwrap().unwrap(), 1);
        assert!(set.is_empty() && set.try_join_next().is_none());
    });
}

#[test]
fn join_next_timeout_ends_at_its_time_or_with_a_result() {
    on_pool(|pool| {
        let mut set: JoinSet<u32> = JoinSet::new(pool);
        assert!(set.join_next_timeout(LONG).is_none());
        let (promise, handle) = promise();
        set.insert(handle);
        assert!(set.join_next_timeout(Duration::ZERO).is_none());
        assert!(set.join_next_timeout(SOON).is_none());
        assert_eq!(set.len(), 1);
        let resolver = std::thread::spawn(move || promise.resolve(3));
        assert_eq!(set.join_next_timeout(Duration::MAX).unwrap().unwrap(), 3);
        resolver.join().unwrap().unwrap();
        set.spawn(|| 4);
        pool.wait_idle();
        assert_eq!(set.join_next_timeout(Duration::ZERO).unwrap().unwrap(), 4);
    });
}

#[test]
fn a_set_says_which_task_has_ended_by_id_and_name() {
    on_pool(|pool| {
        let mut set = JoinSet::new(pool);
        let plain = set.spawn(|| 1);
        let joined = set.join_next_task(None).unwrap();
        assert_eq!((joined.id, joined.name), (plain, None));
        let named = set.task().name("second").spawn(|| 2);
        let joined = set.join_next_task(Some(LONG)).unwrap();
        assert_eq!((joined.id, joined.result.unwrap()), (named, 2));
        assert_eq!(joined.name.as_deref(), Some("second"));
        let failing = set.task().name("third").spawn(|| panic!("for the test"));
        let joined = set.join_next_task(None).unwrap();
        assert_eq!(
            (joined.id, joined.name.as_deref()),
            (failing, Some("third"))
        );
        assert!(joined.result.unwrap_err().is_panic());
        assert!(set.join_next_task(None).is_none());
        assert!(set.join_next_task(Some(Duration::ZERO)).is_none());
    });
}

#[test]
fn a_sets_tasks_take_priority_deadline_and_token() {
    on_pool_of(1, |pool| {
        let held = hold_all(pool);
        let token = CancelToken::new();
        let mut set = JoinSet::new(pool);
        let order = Arc::new(AtomicUsize::new(0));
        let turn = |order: &Arc<AtomicUsize>| {
            let order = Arc::clone(order);
            move || order.fetch_add(1, Ordering::AcqRel)
        };
        let low = set.task().priority(Priority::Low).spawn(turn(&order));
        let high = set.task().priority(Priority::High).spawn(turn(&order));
        let late = set
            .task()
            .deadline(Duration::from_millis(1))
            .spawn(turn(&order));
        let asked = set.task().token(&token).spawn(turn(&order));
        token.cancel();
        let mut ended = Vec::new();
        for _ in 0..2 {
            let joined = set.join_next_task(Some(LONG)).unwrap();
            let error = joined.result.unwrap_err();
            ended.push((joined.id, error.is_cancelled(), error.is_timeout()));
        }
        assert!(ended.contains(&(asked, true, false)), "{ended:?}");
        assert!(ended.contains(&(late, false, true)), "{ended:?}");
        held.open();
        for (id, turn) in [(high, 0), (low, 1)] {
            let joined = set.join_next_task(Some(LONG)).unwrap();
            assert_eq!((joined.id, joined.result.unwrap()), (id, turn));
        }
    });
}

#[test]
fn try_join_all_gives_all_results_in_the_order_of_the_input() {
    on_pool(|pool| {
        let handles = pool.submit_many((0..100).map(|n| move || n));
        assert!(try_join_all(handles).unwrap().into_iter().eq(0..100));
        assert!(
            try_join_all(Vec::<JoinHandle<()>>::new())
                .unwrap()
                .is_empty()
        );
    });
}

#[test]
fn try_join_all_stops_at_the_first_error_and_cancels_the_rest() {
    on_pool(|pool| {
        let (pending, first) = promise::<u32>();
        let (failing, second) = promise();
        let error = std::thread::spawn(move || try_join_all([first, second]));
        failing.fail("for the test");
        let error = error.join().unwrap().unwrap_err();
        assert!(error.is_failed());
        assert!(pending.is_cancelled());
        let handles = (0..20).map(|n| pool.submit(move || assert!(n != 3, "for the test")));
        assert!(try_join_all(handles).unwrap_err().is_panic());
    });
}

#[test]
fn a_wait_for_the_first_error_sees_tasks_that_return_err() {
    on_pool(|pool| {
        let (pending, a) = promise::<Result<u32, &str>>();
        let (fine, b) = promise();
        fine.resolve(Ok(1)).unwrap();
        let handles = [a, b, pool.submit(|| Err("no luck"))];
        let waited = heist::wait_results(&handles, WaitFor::FirstError, None);
        assert_eq!((waited.done, waited.pending), (vec![1, 2], vec![0]));
        // The plain method treats an `Err` as a result.
        let waited = heist::wait(&handles, WaitFor::FirstError, Some(SOON));
        assert_eq!(waited.pending, [0]);
        drop(pending);
        let waited = heist::wait_results(&handles[..2], WaitFor::FirstError, None);
        assert_eq!(waited.done, [0, 1]);
        let waited = heist::wait_results(&handles, WaitFor::All, None);
        assert_eq!(waited.done, [0, 1, 2]);
    });
}

#[test]
fn a_dropped_set_cancels_what_was_inserted() {
    on_pool(|pool| {
        let held = Held(Gate::default());
        let gate = held.0.clone();
        let (promise, handle) = promise();
        let mut set = JoinSet::new(pool);
        set.insert(handle);
        set.spawn(move || gate.pass());
        drop(set);
        assert!(promise.is_cancelled());
    });
}

#[test]
fn a_join_set_gives_each_result_once() {
    on_pool(|pool| {
        let mut set = JoinSet::new(pool);
        assert!(set.is_empty() && set.join_next().is_none());
        let mut ids = BTreeSet::new();
        for round in 0..3 {
            for n in 0..100 {
                ids.insert(set.spawn(move || {
                    assert!(n != 50, "fifty");
                    n
                }));
            }
            assert_eq!(set.len(), 100);
            let (mut sum, mut errors) = (0, 0);
            for left in (0..100).rev() {
                match set.join_next().unwrap() {
                    Ok(n) => sum += n,
                    Err(error) => errors += usize::from(error.is_panic()),
                }
                assert_eq!(set.len(), left);
            }
            assert_eq!((sum, errors), (4900, 1));
            assert!(set.join_next().is_none());
            assert_eq!(ids.len(), 100 * (round + 1));
        }
    });
}

#[test]
fn a_join_set_cancels_what_has_not_begun() {
    on_pool(|pool| {
        let held = hold_all(pool);
        let mut set = JoinSet::new(pool);
        let ledger = Ledger::new(20);
        for ticket in ledger.tickets() {
            set.spawn(move || drop(ticket));
        }
        set.cancel_all();
        assert_eq!(ledger.dropped(), 20);
        for _ in 0..20 {
            assert!(set.join_next().unwrap().unwrap_err().is_cancelled());
        }
        assert!(set.is_empty());
        held.open();
        set.spawn(|| ());
        set.join_next().unwrap().unwrap();
    });
}

#[test]
fn a_dropped_join_set_cancels_what_has_not_begun_and_lets_the_rest_run() {
    on_pool(|pool| {
        let gate = Held(Gate::default());
        let stands = gate.0.clone();
        let (said, says) = mpsc::channel();
        let mut set = JoinSet::new(pool);
        let started = Arc::new(AtomicUsize::new(0));
        for _ in 0..pool.num_threads() {
            let (stands, said, started) = (stands.clone(), said.clone(), Arc::clone(&started));
            set.spawn(move || {
                started.fetch_add(1, Ordering::Release);
                stands.pass();
                said.send(()).unwrap();
            });
        }
        crate::support::spin_until(|| started.load(Ordering::Acquire) == pool.num_threads());
        let ledger = Ledger::new(20);
        for ticket in ledger.tickets() {
            set.spawn(move || drop(ticket));
        }
        drop(set);
        assert_eq!(ledger.dropped(), 20);
        assert_eq!(pool.stats().cancelled, 20);
        gate.open();
        for _ in 0..pool.num_threads() {
            says.recv().unwrap();
        }
    });
}

#[test]
fn a_join_set_keeps_its_pool() {
    watched(|| {
        let pool = pool_with(|b| b);
        let mut set = JoinSet::new(&pool);
        drop(pool);
        set.spawn(|| 1);
        assert_eq!(set.join_next().unwrap().unwrap(), 1);
        set.spawn(|| 2);
        drop(set);
    });
}
