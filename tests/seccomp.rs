//! `membarrier` refused, from the start or later: answers stay right and nothing hangs.

#![cfg(target_os = "linux")]

#[path = "it/support/mod.rs"]
mod support;

use heist::ThreadPool;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use support::{fib, isolated, pool, serial_fib, spin_until, work};

/// One instruction of a filter.
fn instruction(code: u32, yes: u8, no: u8, operand: u32) -> libc::sock_filter {
    libc::sock_filter {
        code: u16::try_from(code).expect("codes are small"),
        jt: yes,
        jf: no,
        k: operand,
    }
}

/// Makes `membarrier` fail with EPERM on every thread of this process. False: this system lets
/// nobody install a filter.
fn refuse_membarrier() -> bool {
    let number = u32::try_from(libc::SYS_membarrier).expect("call numbers are small");
    // The number of the call is the first word of what a filter sees.
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
    // SAFETY: takes four numbers and changes only what this process may do.
    let allowed = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    // SAFETY: `filter` and the program that it points to live until the call returns.
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
    // SAFETY: asks which commands there are.
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
        // Long leaves, which a thief may want while their owner stands still.
        let (a, b) = pool.run(|| heist::join(|| work(20_000), || work(20_000)));
        assert_eq!(a, b);
    }
}

/// Several guests at once, so that rings are made, left and used again.
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
