//! Dumps in every state of a pool.

use crate::plants::number;
use crate::support::{
    fib, hold, hold_all, isolated, on_pool, on_pool_of, pool_with, running, spin_until, watched,
};
use heist::{ThreadDump, ThreadPool, ThreadRole, ThreadState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

fn threads(pool: &ThreadPool) -> Vec<ThreadDump> {
    pool.dump_at_once().pools.swap_remove(0).threads
}

#[test]
fn a_fresh_pool_has_no_threads() {
    for workers in [1, 2, 8] {
        on_pool_of(workers, move |pool| {
            let dump = pool.dump();
            assert_eq!(dump.pools.len(), 1, "{dump}");
            let own = &dump.pools[0];
            assert_eq!((own.workers, own.threads.len(), own.awake), (workers, 0, 0));
            assert!(dump.waits.is_empty() && dump.cycles.is_empty());
        });
    }
}

#[test]
fn each_thread_says_what_it_does() {
    for workers in [1, 2, 8] {
        on_pool_of(workers, move |pool| {
            let (named, held) = {
                let held = hold(pool, workers - 1);
                let gate = held.0.clone();
                let named = pool.task().name("the last").submit(move || gate.pass());
                spin_until(|| named.is_running());
                (named, held)
            };
            pool.spawn(|| ());
            let dump = pool.dump_at_once();
            let own = &dump.pools[0];
            assert_eq!(own.threads.len(), workers, "{dump}");
            let roles: Vec<_> = own.threads.iter().map(|thread| thread.role).collect();
            assert_eq!(
                roles,
                (0..workers).map(ThreadRole::Worker).collect::<Vec<_>>()
            );
            for thread in &own.threads {
                assert_eq!(thread.does, ThreadState::Running, "{dump}");
                assert!(thread.since_at_least <= thread.since_at_most.unwrap());
                assert!(thread.task.is_some() && thread.os_id != 0);
            }
            let names = own
                .threads
                .iter()
                .filter_map(|thread| thread.task.as_ref()?.name.clone());
            assert_eq!(names.collect::<Vec<_>>(), ["the last"]);
            let text = dump.to_string();
            assert!(
                text.contains(&format!("in task \"the last\" (#{})", number(&named))),
                "{text}"
            );
            assert_eq!(own.queues.normal, 1, "{text}");
            held.open();
            pool.wait_idle();
            spin_until(|| {
                threads(pool)
                    .iter()
                    .all(|thread| thread.does == ThreadState::Idle)
            });
        });
    }
}

#[test]
fn waits_say_for_what() {
    on_pool_of(2, |pool| {
        let (promise, handle) = heist::promise::<()>();
        let id = number(&handle);
        let joiner = pool.submit(move || handle.join().unwrap());
        let waits = |state: ThreadState| threads(pool).iter().any(|thread| thread.does == state);
        spin_until(|| waits(ThreadState::WaitingForTask(id)));
        let (task, held) = running(pool);
        let several = pool.submit(move || heist::as_completed([task]).count());
        spin_until(|| waits(ThreadState::WaitingForSeveral));
        let gate = held.0.clone();
        let blocking = pool.submit(move || heist::blocking(|| gate.pass()));
        spin_until(|| waits(ThreadState::Blocking));
        promise.resolve(()).unwrap();
        joiner.join().unwrap();
        held.open();
        several.join().unwrap();
        blocking.join().unwrap();
    });
}

#[test]
fn a_caller_that_waits_is_shown() {
    on_pool_of(2, |pool| {
        let (begun, stop) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicBool::new(false)),
        );
        std::thread::scope(|threads_of_test| {
            let (begun, stop_b) = (&begun, &stop);
            let caller = move || {
                pool.join(
                    || spin_until(|| begun.load(Ordering::Acquire)),
                    || {
                        begun.store(true, Ordering::Release);
                        spin_until(|| stop_b.load(Ordering::Acquire));
                    },
                );
            };
            let caller = std::thread::Builder::new()
                .name("the-caller".into())
                .spawn_scoped(threads_of_test, caller);
            spin_until(|| {
                let guest = |thread: &ThreadDump| {
                    thread.role == ThreadRole::Guest && thread.does == ThreadState::WaitingForJoin
                };
                threads(pool).iter().any(guest)
            });
            let dump = pool.dump_at_once();
            assert_eq!(dump.waits.len(), 1, "{dump}");
            let edge = dump.waits[0];
            assert_eq!(dump.thread(edge.from).name, "the-caller");
            assert!(matches!(dump.thread(edge.to).role, ThreadRole::Worker(_)));
            stop.store(true, Ordering::Release);
            caller.unwrap().join().unwrap();
        });
    });
}

#[test]
fn a_thread_outside_that_waits_for_a_task_is_shown() {
    on_pool_of(1, |pool| {
        let (handle, held) = running(pool);
        let id = number(&handle);
        let waits = move || handle.join().unwrap();
        let waiter = std::thread::Builder::new()
            .name("outside".into())
            .spawn(waits)
            .unwrap();
        let caller = || {
            let callers = pool.dump_at_once().callers;
            callers.into_iter().find(|caller| caller.task == id)
        };
        spin_until(|| caller().is_some());
        let caller_dump = caller().unwrap();
        assert_eq!(caller_dump.name, "outside");
        let dump = pool.dump();
        let place = caller_dump.runs_on.unwrap();
        assert_eq!(dump.thread(place).role, ThreadRole::Worker(0));
        assert!(
            dump.to_string()
                .contains(&format!("for task #{id}, which runs on worker 0")),
            "{dump}"
        );
        held.open();
        waiter.join().unwrap();
        assert!(caller().is_none());
    });
}

#[test]
fn a_dump_can_be_taken_during_and_after_a_shutdown() {
    for workers in [1, 2, 8] {
        watched(move || {
            let pool = pool_with(|builder| builder.num_threads(workers));
            let held = hold_all(&pool);
            let ends = pool.clone();
            let ender = std::thread::spawn(move || ends.shutdown());
            spin_until(|| pool.dump_at_once().pools[0].is_closed);
            let dump = pool.dump();
            assert_eq!(dump.pools[0].threads.len(), workers, "{dump}");
            held.open();
            ender.join().unwrap();
            let dump = pool.dump();
            assert!(dump.pools[0].threads.is_empty(), "{dump}");
        });
    }
}

#[test]
fn a_task_and_a_panic_hook_can_take_a_dump() {
    isolated("dumps::a_task_and_a_panic_hook_can_take_a_dump", || {
        for workers in [1, 2, 8] {
            let pool = pool_with(|builder| builder.num_threads(workers));
            let own = pool.clone();
            let dump = pool
                .task()
                .name("me")
                .submit(move || own.dump())
                .join()
                .unwrap();
            assert!(dump.to_string().contains("task \"me\""), "{dump}");
            let (own, seen) = (pool.clone(), Arc::new(Mutex::new(String::new())));
            let text = Arc::clone(&seen);
            std::panic::set_hook(Box::new(move |_| {
                *text.lock().unwrap() = own.dump().to_string()
            }));
            let handle = pool.task().name("falls").submit(|| panic!("planted"));
            assert!(handle.join().unwrap_err().is_panic());
            drop(std::panic::take_hook());
            let seen = seen.lock().unwrap();
            assert!(seen.contains("task \"falls\""), "{seen}");
        }
    });
}

#[test]
fn hostile_names_break_no_dump() {
    on_pool_of(1, |pool| {
        let long = "\u{1F980}".repeat(250_000);
        for name in [
            "\"",
            "\n\r\0\x1b[31m",
            "<b>&amp;</b>",
            "\u{202e}x",
            "",
            &long,
        ] {
            let gate = crate::support::Held::default();
            let inside = gate.0.clone();
            let handle = pool.task().name(name).submit(move || inside.pass());
            spin_until(|| handle.is_running());
            let dump = pool.dump_at_once();
            let task = dump.pools[0].threads[0].task.as_ref().unwrap();
            assert_eq!(task.name.as_deref(), Some(name));
            let text = dump.to_string();
            assert!(text.len() < 2_000, "{} bytes", text.len());
            assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text}");
            gate.open();
            handle.join().unwrap();
        }
    });
}

/// For how long the current thread has been ready to run without a processor. Zero where the system does not say.
fn delayed() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = text
        .split(' ')
        .nth(1)
        .and_then(|number| number.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}

/// Takes dumps while joins, scopes, tasks and streams run. Returns the longest time that one took.
fn under_load(pool: &ThreadPool, dumps: usize) -> Duration {
    let stop = AtomicBool::new(false);
    std::thread::scope(|threads| {
        let stop = &stop;
        for n in 0..2 {
            threads.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    match n {
                        0 => drop(pool.install(|| fib(12))),
                        _ => drop(pool.imap(0..50, |n| n).count()),
                    }
                    let handles: Vec<_> = (0..20)
                        .map(|_| pool.task().name("load").submit(|| fib(6)))
                        .collect();
                    pool.scope(|s| (0..50).for_each(|_| s.spawn(|_| ())));
                    handles.into_iter().for_each(|handle| drop(handle.join()));
                }
            });
        }
        let mut longest = Duration::ZERO;
        for _ in 0..dumps {
            let (start, delayed) = (Instant::now(), delayed());
            let dump = pool.dump_at_once();
            // Without the time in which the system gave the thread no processor.
            let without = self::delayed().saturating_sub(delayed);
            longest = longest.max(start.elapsed().saturating_sub(without));
            assert!(dump.cycles.is_empty(), "{dump}");
            assert!(!dump.to_string().is_empty());
        }
        stop.store(true, Ordering::Relaxed);
        longest
    })
}

#[test]
fn dumps_under_load_say_nothing_wrong() {
    on_pool(|pool| {
        let longest = under_load(pool, crate::dumps_asked().unwrap_or(300));
        println!("the longest dump took {longest:?}");
        assert!(
            crate::dumps_asked().is_none() || longest < Duration::from_millis(10),
            "{longest:?}"
        );
    });
}
