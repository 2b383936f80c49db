//! A pool's threads inherit from the thread that built the pool: processors, scheduling policy, niceness, blocked signals.

#![cfg(target_os = "linux")]

use crate::support::{isolated, pool_with, threads, watched};
use heist::{Start, ThreadPool};
use std::sync::mpsc;
use std::thread;

/// The settings that a thread hands down to threads that it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Settings {
    processors: [u64; 16],
    policy: i32,
    niceness: i32,
    blocks_usr1: bool,
    blocks_usr2: bool,
}

fn settings() -> Settings {
    let mut processors = [0; 16];
    let room = (&raw mut processors).cast();
    // SAFETY: `sched_getaffinity` requires a pointer to that many writable bytes, which the set has.
    let result = unsafe { libc::sched_getaffinity(0, size_of_val(&processors), room) };
    assert_eq!(result, 0);
    // SAFETY: `zeroed` requires a type for which all zeros are valid. A signal set consists of integers, and zeros are the empty set.
    let mut mask: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: `pthread_sigmask` reads nothing for a null set, and requires a pointer to a writable set for the old one.
    let result = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), &raw mut mask) };
    assert_eq!(result, 0);
    // SAFETY: `sigismember` requires a pointer to an initialised set.
    let blocks = |signal| unsafe { libc::sigismember(&raw const mask, signal) } == 1;
    Settings {
        processors,
        // SAFETY: `sched_getscheduler` takes a number only.
        policy: unsafe { libc::sched_getscheduler(0) },
        // SAFETY: `getpriority` takes numbers only.
        niceness: unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) },
        blocks_usr1: blocks(libc::SIGUSR1),
        blocks_usr2: blocks(libc::SIGUSR2),
    }
}

/// Restricts the current thread to its first processor.
fn stay_on_one_processor() {
    let mut only = [0_u64; 16];
    let all = settings().processors;
    let word = all.iter().position(|&word| word != 0).unwrap();
    only[word] = 1 << all[word].trailing_zeros();
    let set = (&raw const only).cast();
    // SAFETY: `sched_setaffinity` requires a pointer to that many readable bytes, which the set has.
    let result = unsafe { libc::sched_setaffinity(0, size_of_val(&only), set) };
    assert_eq!(result, 0);
    assert_eq!(settings().processors, only);
}

/// Blocks this signal in the current thread.
fn block(signal: i32) {
    // SAFETY: `zeroed` requires a type for which all zeros are valid. A signal set consists of integers, and zeros are the empty set.
    let mut mask: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: `sigaddset` requires a pointer to an initialised, writable set.
    unsafe { libc::sigaddset(&raw mut mask, signal) };
    // SAFETY: `pthread_sigmask` requires a pointer to an initialised set. The old set may be null.
    let result =
        unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const mask, std::ptr::null_mut()) };
    assert_eq!(result, 0);
}

/// A niceness above that of the current thread, if there is one.
fn nicer() -> i32 {
    (settings().niceness + 4).min(19)
}

/// Sets the niceness of the current thread.
fn be_nice(niceness: i32) {
    // SAFETY: `setpriority` takes numbers only.
    let result = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, niceness) };
    assert_eq!(result, 0);
    assert_eq!(settings().niceness, niceness);
}

/// Sets the policy of batch jobs for the current thread.
fn be_a_batch_job() {
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: `sched_setscheduler` requires a pointer to readable parameters.
    let result = unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const parameters) };
    assert_eq!(result, 0);
}

/// Whether a thread may lower its niceness again.
fn may_be_less_nice() -> bool {
    let own = settings().niceness;
    elsewhere(move || {
        be_nice(nicer());
        // SAFETY: `setpriority` takes numbers only.
        unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, own) == 0 }
    })
}

/// The result of `f` on a new thread.
fn elsewhere<R: Send + 'static>(f: impl FnOnce() -> R + Send + 'static) -> R {
    thread::spawn(f).join().unwrap()
}

#[test]
fn threads_started_by_a_restricted_thread_are_like_their_builder() {
    watched(|| {
        let pool = pool_with(|builder| builder);
        let expected = settings();
        let workers = pool.clone();
        let seen = elsewhere(move || {
            stay_on_one_processor();
            block(libc::SIGUSR1);
            be_a_batch_job();
            // The task usually starts one thread. The broadcast starts all the others.
            let mut seen = vec![workers.run(settings)];
            seen.extend(workers.broadcast(|_| settings()));
            seen
        });
        assert_eq!(seen, vec![expected; threads() + 1]);
    });
}

#[test]
fn threads_of_a_restricted_builder_are_restricted_whoever_starts_them() {
    watched(|| {
        for start in [Start::Lazy, Start::Eager] {
            let (pool, expected) = elsewhere(move || {
                stay_on_one_processor();
                block(libc::SIGUSR1);
                be_a_batch_job();
                be_nice(nicer());
                let pool = pool_with(|builder| builder.start(start));
                let expected = settings();
                // Later changes of the building thread have no effect.
                block(libc::SIGUSR2);
                (pool, expected)
            });
            assert_ne!(expected, settings());
            assert_eq!(pool.run(settings), expected);
            assert_eq!(pool.broadcast(|_| settings()), vec![expected; threads()]);
        }
    });
}

#[test]
fn threads_are_as_nice_as_their_builder_where_that_is_permitted() {
    watched(|| {
        let pool = pool_with(|builder| builder);
        let (own, nicer) = (settings(), nicer());
        let workers = pool.clone();
        let seen = elsewhere(move || {
            be_nice(nicer);
            be_a_batch_job();
            workers.broadcast(|_| settings())
        });
        let expected = if may_be_less_nice() {
            own.niceness
        } else {
            nicer
        };
        for settings in seen {
            assert_eq!(settings.niceness, expected);
            assert_eq!(
                settings.policy, own.policy,
                "also where the niceness is not permitted"
            );
        }
    });
}

/// A worker that has changed its own settings starts another thread.
#[test]
fn threads_started_by_a_changed_worker_are_like_their_builder() {
    watched(|| {
        let pool = pool_with(|builder| builder.num_threads(2));
        let expected = settings();
        let inner = pool.clone();
        let seen = pool.run(move || {
            stay_on_one_processor();
            block(libc::SIGUSR2);
            let own = heist::current_thread_index();
            let mut seen = inner.broadcast(|_| settings());
            seen.remove(own.unwrap());
            seen
        });
        assert_eq!(seen, [expected]);
    });
}

#[test]
fn spares_are_like_their_builder() {
    watched(|| {
        let pool = ThreadPool::builder()
            .num_threads(1)
            .spare_threads(1)
            .build()
            .unwrap();
        let expected = settings();
        let inner = pool.clone();
        let (sender, receiver) = mpsc::channel();
        pool.run(move || {
            stay_on_one_processor();
            block(libc::SIGUSR1);
            // A spare runs the task while the only worker waits for it.
            let (promise, handle) = heist::promise::<()>();
            inner.spawn(move || {
                sender.send(settings()).unwrap();
                assert!(promise.resolve(()).is_ok());
            });
            handle.join().unwrap();
        });
        assert_eq!(receiver.recv().unwrap(), expected);
    });
}

#[test]
fn hooks_may_change_what_is_inherited() {
    watched(|| {
        let pool = pool_with(|builder| builder.on_thread_start(|_| block(libc::SIGUSR2)));
        assert!(!settings().blocks_usr2);
        for seen in pool.broadcast(|_| settings()) {
            assert!(seen.blocks_usr2);
        }
    });
}

#[test]
fn threads_of_the_callers_keep_their_own_settings() {
    watched(|| {
        let mut workers = Vec::new();
        let pool = ThreadPool::builder().num_threads(2).build_on(|worker| {
            workers.push(thread::spawn(move || {
                block(libc::SIGUSR1);
                worker.run();
            }));
            Ok(())
        });
        let pool = pool.unwrap();
        assert!(
            pool.broadcast(|_| settings())
                .iter()
                .all(|seen| seen.blocks_usr1)
        );
        drop(pool);
        for worker in workers {
            worker.join().unwrap();
        }
    });
}

#[test]
fn the_global_pool_is_like_the_thread_that_uses_it_first() {
    isolated(
        "pool_inherited::the_global_pool_is_like_the_thread_that_uses_it_first",
        || {
            let first = elsewhere(|| {
                block(libc::SIGUSR1);
                heist::global();
                settings()
            });
            assert_ne!(first, settings());
            for seen in heist::global().broadcast(|_| settings()) {
                assert_eq!(seen, first);
            }
        },
    );
}
