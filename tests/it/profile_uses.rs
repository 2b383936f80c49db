//! Where and how a profile can be made: from outside and inside the pool, several at a time, one in another, with panics.

use crate::support::{fib, on_pool, panic_of, pool, pool_with, serial_fib, watched};
use heist::trace::SiteKind;
use heist::{ProfileSettings, ThreadPool};
use std::cell::Cell;
use std::sync::Barrier;
use std::time::Duration;

thread_local! {
    static STEPS: Cell<u64> = const { Cell::new(0) };
}

fn step(steps: u64) {
    STEPS.set(STEPS.get() + steps);
}

fn in_full() -> ProfileSettings {
    let clock = || STEPS.get();
    ProfileSettings::new()
        .clock(clock)
        .resolution(Duration::ZERO)
}

/// A program of 60 steps and a span of 40.
fn program() {
    step(10);
    heist::join(|| step(30), || step(20));
}

#[track_caller]
fn check(pool: &ThreadPool) {
    let ((), profile) = pool.profile_with(in_full(), program);
    assert_eq!(profile.work().as_nanos(), 60);
    assert_eq!(profile.span().estimate.as_nanos(), 40);
}

#[test]
fn a_profile_can_be_made_outside_and_inside_the_pool() {
    on_pool(|pool| {
        check(pool);
        pool.run(|| check(pool));
        pool.install(|| check(pool));
        pool.join(|| check(pool), || check(pool));
        pool.scope(|s| s.spawn(|_| check(pool)));
        let inside = pool.clone();
        pool.submit(move || check(&inside)).join().unwrap();
    });
}

#[test]
fn the_result_is_that_of_the_closure() {
    on_pool(|pool| {
        for settings in [
            ProfileSettings::new(),
            ProfileSettings::new().resolution(Duration::ZERO),
        ] {
            let (value, profile) = pool.profile_with(settings, || fib(18));
            assert_eq!(value, serial_fib(18));
            let (span, work) = (profile.span(), profile.work());
            assert!(span.low <= span.estimate && span.estimate <= span.high && span.high <= work);
            assert!(!work.is_zero() && profile.threads() == pool.num_threads());
            assert!(profile.to_string().contains("speed-up"));
        }
    });
}

#[test]
fn the_pool_takes_part_in_what_is_profiled() {
    on_pool(|pool| {
        assert!(pool.profile(heist::in_pool).0);
        let ((), profile) = pool.profile_with(in_full(), || {
            pool.join(program, program);
            pool.install(program);
            pool.map(0..10, |_| step(1));
            pool.scope(|s| s.spawn_fifo(|_| program()));
        });
        assert_eq!(profile.work().as_nanos(), 4 * 60 + 10);
        let kinds: Vec<_> = profile.sites().iter().map(|site| site.kind()).collect();
        for kind in [SiteKind::Join, SiteKind::Map, SiteKind::Scope] {
            assert!(kinds.contains(&kind), "{kinds:?}");
        }
    });
}

#[test]
fn another_pool_within_a_profile_is_profiled_too() {
    on_pool(|outer| {
        let inner = pool();
        let ((), profile) = outer.profile_with(in_full(), || {
            inner.join(program, program);
            program();
        });
        assert_eq!(profile.work().as_nanos(), 180);
        assert_eq!(profile.span().estimate.as_nanos(), 80);
    });
}

#[test]
fn a_profile_within_a_profile_is_a_part_of_it() {
    on_pool(|pool| {
        let (inner, outer) = pool.profile_with(in_full(), || {
            step(5);
            let ((), inner) = pool.profile_with(in_full(), program);
            step(5);
            inner
        });
        assert_eq!((inner.work().as_nanos(), outer.work().as_nanos()), (60, 70));
        assert_eq!(inner.span().estimate.as_nanos(), 40);
        assert_eq!(outer.span().estimate.as_nanos(), 50);
    });
}

#[test]
fn several_profiles_at_a_time_do_not_mix() {
    on_pool(|pool| {
        let barrier = Barrier::new(3);
        std::thread::scope(|scope| {
            for steps in 1..=3 {
                let barrier = &barrier;
                scope.spawn(move || {
                    barrier.wait();
                    for _ in 0..50 {
                        let ((), profile) = pool.profile_with(in_full(), || {
                            heist::for_each(0..100, |_| step(steps));
                            heist::join(|| step(steps), || step(steps));
                        });
                        assert_eq!(profile.work().as_nanos(), u128::from(102 * steps));
                    }
                });
            }
        });
    });
}

#[test]
fn a_panic_leaves_the_profile_and_later_joins_are_not_measured() {
    on_pool(|pool| {
        let text = panic_of(|| {
            pool.profile(|| heist::join(|| heist::join(|| panic!("first"), || ()), || ()))
        });
        assert_eq!(text, "first");
        let text = panic_of(|| pool.profile(|| heist::join(|| (), || panic!("second"))));
        assert_eq!(text, "second");
        assert_eq!(pool.install(|| fib(15)), serial_fib(15));
        check(pool);
    });
}

#[test]
fn a_panic_that_is_caught_within_a_profile_keeps_it_in_order() {
    on_pool(|pool| {
        let ((), profile) = pool.profile_with(in_full(), || {
            step(1);
            panic_of(|| heist::join(|| -> () { panic!("a panic") }, || step(1_000)));
            panic_of(|| heist::join_context(|| -> () { panic!("a panic") }, |_| step(10)));
            panic_of(|| heist::scope(|s| s.spawn(|_| panic!("a panic"))));
            program();
        });
        let work = profile.work().as_nanos();
        // Another thread may have taken a second closure, and its time may count.
        assert!((61..=61 + 1_010).contains(&work), "{work}");
    });
}

#[test]
fn a_wait_for_a_task_does_not_count() {
    on_pool(|pool| {
        let ((), profile) = pool.profile_with(in_full(), || {
            let task = heist::submit(|| (0..10).sum::<u64>());
            assert_eq!(task.join().unwrap(), 45);
            heist::yield_now();
            program();
        });
        assert_eq!(profile.work().as_nanos(), 60);
    });
}

#[test]
fn joins_deeper_than_a_ring_are_profiled() {
    let body = || {
        fn chain(depth: u32) {
            if depth > 0 {
                heist::join(|| chain(depth - 1), || step(1));
            }
        }
        let pool = pool_with(|builder| builder.stack_size(256 << 20));
        let ((), profile) = pool.profile_with(in_full(), || chain(5_000));
        assert_eq!(profile.work().as_nanos(), 5_000);
        assert_eq!(profile.span().estimate.as_nanos(), 1);
        let adaptive = in_full().resolution(Duration::from_nanos(100));
        let ((), profile) = pool.profile_with(adaptive, || {
            (0..5).for_each(|_| chain(2_000));
        });
        assert_eq!(profile.work().as_nanos(), 10_000);
    };
    watched(move || {
        let builder = std::thread::Builder::new().stack_size(256 << 20);
        builder.spawn(body).unwrap().join().unwrap();
    });
}

#[test]
fn a_span_is_a_site() {
    on_pool(|pool| {
        let ((), profile) = pool.profile_with(in_full(), || {
            step(1);
            {
                let _outer = heist::span("outer");
                step(2);
                let _inner = heist::span("inner");
                step(4);
            }
            step(8);
            program();
        });
        let work = |name: &str| {
            let sites = profile.sites();
            let site = sites.iter().find(|site| site.name() == name);
            site.map(|site| (site.kind(), site.work().as_nanos()))
        };
        assert_eq!(work("outer"), Some((SiteKind::Span, 2)));
        assert_eq!(work("inner"), Some((SiteKind::Span, 4)));
        assert_eq!(profile.work().as_nanos(), 15 + 60);
    });
}
