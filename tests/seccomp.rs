//! The kernel refuses `membarrier`, from the start or later: answers stay right and nothing hangs.

#![cfg(target_os = "linux")]

#[path = "it/support/mod.rs"]
mod support;

use heist::ThreadPool;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use support::{fib, isolated, pool, pool_with, serial_fib, spin_until, watched, work};

/// One instruction of a filter.
fn instruction(code: u32, yes: u8, no: u8, operand: u32) -> libc::sock_filter {
    libc::sock_filter {
        code: u16::try_from(code).expect("codes are small"),
        jt: yes,
        jf: no,
        k: operand,
    }
}

/// Makes `membarrier` fail with EPERM on every thread of this process. Returns false if this system lets
/// nobody install a filter.
fn refuse_membarrier() -> bool {
    let number = u32::try_from(libc::SYS_membarrier).expect("call numbers are small");
    // The number of the call is the first word of a filter's input.
    let program = [
        instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, number),
        instruction(
            libc::BPF_RET | libc::BPF_K,
            0,
            0,
            libc::SECCOMP_RET_ERRNO | libc::EPERM.cast_unsigned(),
        ),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let filter = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: this `prctl` takes numbers only. It changes what this process may do, and no memory.
    let allowed = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    // SAFETY: `seccomp` requires a pointer to a filter program that lives until it returns. `filter` and its instructions do.
    let installed = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_TSYNC,
            &raw const filter,
        )
    };
    if allowed != 0 || installed != 0 {
        println!("skipped: no filter can be installed here");
        return false;
    }
    // SAFETY: this `membarrier` command takes numbers only. It asks which commands exist.
    let refused = unsafe { libc::syscall(libc::SYS_membarrier, 0, 0, 0) };
    assert_eq!(refused, -1, "the filter refuses membarrier");
    true
}

/// Joins, scopes and maps, from guests and on workers, with pauses in which the workers sleep.
fn exercise(pool: &ThreadPool) {
    for round in 0..20 {
        assert_eq!(pool.install(|| fib(14)), serial_fib(14));
        assert_eq!(pool.run(|| fib(14)), serial_fib(14));
        let ran = AtomicUsize::new(0);
        pool.scope(|s| {
            for _ in 0..100 {
                s.spawn(|s| {
                    work(100);
                    s.spawn(|_| {
                        ran.fetch_add(1, Ordering::Relaxed);
                    });
                });
            }
        });
        assert_eq!(ran.into_inner(), 100);
        let mapped = pool.map(0..1000_u64, |x| {
            work(x % 50);
            x
        });
        assert_eq!(mapped, (0..1000).collect::<Vec<_>>());
        assert_eq!(pool.broadcast(|index| index).len(), pool.num_threads());
        for _ in 0..round * 10 {
            thread::yield_now();
        }
        let (send, receive) = mpsc::channel();
        pool.spawn(move || send.send(round).unwrap());
        assert_eq!(receive.recv(), Ok(round));
        // Long leaves, which a thief may want while their owner is blocked.
        let (a, b) = pool.run(|| heist::join(|| work(20_000), || work(20_000)));
        assert_eq!(a, b);
    }
}

/// Several guests at once, so that rings are created, left and used again.
fn exercise_with_guests(pool: &ThreadPool) {
    thread::scope(|threads| {
        for _ in 0..4 {
            threads.spawn(|| {
                for _ in 0..10 {
                    assert_eq!(pool.install(|| fib(12)), serial_fib(12));
                    assert_eq!(pool.map(0..200, |x| x).len(), 200);
                }
            });
        }
    });
}

#[test]
fn membarrier_refused_before_the_first_pool_changes_no_answer() {
    isolated(
        "membarrier_refused_before_the_first_pool_changes_no_answer",
        || {
            if refuse_membarrier() {
                let pool = pool();
                exercise(&pool);
                exercise_with_guests(&pool);
            }
        },
    );
}

#[test]
fn membarrier_refused_after_a_pool_exists_changes_no_answer() {
    isolated(
        "membarrier_refused_after_a_pool_exists_changes_no_answer",
        || {
            let before = pool();
            exercise(&before);
            if refuse_membarrier() {
                exercise(&before);
                exercise_with_guests(&before);
                let after = pool();
                exercise(&after);
                exercise_with_guests(&after);
                drop(before);
                exercise(&after);
            }
        },
    );
}

#[test]
fn membarrier_refused_in_the_middle_of_work_changes_no_answer() {
    isolated(
        "membarrier_refused_in_the_middle_of_work_changes_no_answer",
        || {
            let pool = pool();
            let ran = Arc::new(AtomicUsize::new(0));
            let installed = pool.install(|| {
                let (installed, sums) = heist::join(
                    || {
                        assert_eq!(fib(12), serial_fib(12));
                        let installed = refuse_membarrier();
                        assert_eq!(fib(12), serial_fib(12));
                        installed
                    },
                    || pool.map(0..50, |_| fib(8)),
                );
                assert_eq!(sums, [serial_fib(8); 50]);
                installed
            });
            for _ in 0..500 {
                let ran = Arc::clone(&ran);
                pool.spawn(move || {
                    work(50);
                    ran.fetch_add(1, Ordering::AcqRel);
                });
            }
            spin_until(|| ran.load(Ordering::Acquire) == 500);
            if installed {
                exercise(&pool);
            }
        },
    );
}

/// The number of times that the calling thread has gone to sleep voluntarily.
fn times_slept() -> u64 {
    let status = std::fs::read_to_string("/proc/thread-self/status").expect("Linux has it");
    let count = status
        .lines()
        .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))
        .expect("a line of its own");
    count.trim().parse().expect("a number")
}

/// A waiting thread sees a fork that it may run. The fork's owner is blocked, and without fences no thread can force the fork. So the waiting thread
/// sleeps for a while between its checks.
#[test]
fn a_fork_out_of_reach_keeps_no_thread_busy() {
    isolated("a_fork_out_of_reach_keeps_no_thread_busy", || {
        watched(|| {
            const PARKS: u64 = 100;
            let pool = pool_with(|builder| builder.num_threads(2).spare_threads(0));
            pool.run(|| ());
            if !refuse_membarrier() {
                return;
            }
            let (forked, is_forked) = mpsc::channel::<()>();
            let (pool, slept) = (&pool, times_slept());
            pool.scope(|s| {
                s.spawn(move |_| {
                    // The first fork answers the request of idle threads, so that the next fork stays private.
                    heist::join(|| (), || ());
                    let stand_still = move || {
                        drop(forked);
                        let parks = pool.stats().parks;
                        spin_until(|| pool.stats().parks >= parks + PARKS);
                    };
                    heist::join(stand_still, || ());
                });
                assert!(is_forked.recv().is_err());
            });
            // The pool's other thread may do the same.
            let slept = times_slept() - slept;
            assert!(slept > PARKS / 4, "{slept} times in {PARKS}");
        });
    });
}
