//! Busy, blocked and starved threads are told apart.

#![cfg(target_os = "linux")]

use crate::plants::Stop;
use crate::support::{Held, pool_with, spin_until, watched};
use heist::{SystemState, ThreadPool};

/// Lets the current thread run on the first processor only, and, if `is_last`, only while no other thread wants it.
fn bind(is_last: bool) {
    let set: u64 = 1;
    // SAFETY: the kernel reads as many bytes at the address as the size says.
    let bound = unsafe { libc::sched_setaffinity(0, 8, (&raw const set).cast()) };
    assert_eq!(bound, 0);
    let parameter = libc::sched_param { sched_priority: 0 };
    if is_last {
        // SAFETY: the kernel reads a `sched_param` at the address.
        let set = unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const parameter) };
        assert_eq!(set, 0);
    }
}

fn state(pool: &ThreadPool) -> SystemState {
    pool.dump().pools[0].threads[0].system
}

/// Plants a thread that is busy, blocked or starved, and reads how dumps call it.
fn planted(what: SystemState, check: impl FnOnce(&ThreadPool) + Send + 'static) {
    watched(move || {
        let is_starved = what == SystemState::Starved;
        let pool = pool_with(|builder| {
            let builder = builder.num_threads(1);
            match is_starved {
                true => builder.on_thread_start(|_| bind(true)),
                false => builder,
            }
        });
        let (stop, held) = (Stop::default(), Held::default());
        let gate = held.0.clone();
        // Threads that leave nothing of the first processor.
        let crowd: Vec<_> = (0..2 * usize::from(is_starved))
            .map(|_| {
                let spin = stop.spinner();
                std::thread::spawn(|| {
                    bind(false);
                    spin();
                })
            })
            .collect();
        let task = match what {
            SystemState::Blocked => pool.submit(move || gate.pass()),
            _ => pool.submit(stop.spinner()),
        };
        spin_until(|| task.is_running());
        check(&pool);
        drop((stop, held));
        task.join().unwrap();
        crowd.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

/// Waits until a dump tells the state of such a thread. If `HEIST_TEST_DUMPS` is set, a hundred more dumps must tell it.
fn is_told(what: SystemState) {
    planted(what, move |pool| {
        // On a loaded machine a busy thread can wait long for a processor, so one dump may call it starved.
        spin_until(|| state(pool) == what);
        assert!(pool.dump_at_once().pools[0].threads[0].system == SystemState::Unknown);
        if crate::dumps_asked().is_some() {
            let right = (0..100).filter(|_| state(pool) == what).count();
            assert_eq!(right, 100, "{what:?}");
        }
    });
}

#[test]
fn a_busy_thread_is_called_busy() {
    is_told(SystemState::Busy);
}

#[test]
fn a_blocked_thread_is_called_blocked() {
    is_told(SystemState::Blocked);
}

#[test]
fn a_starved_thread_is_called_starved() {
    is_told(SystemState::Starved);
}
