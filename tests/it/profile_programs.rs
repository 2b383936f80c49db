//! Profiles of random programs by a clock that counts steps: work and span equal those of the serial program on any number of threads.

use crate::support::on_pool;
use heist::{Profile, ProfileSettings, Scope, ThreadPool};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::cell::Cell;
use std::time::Duration;

thread_local! {
    static STEPS: Cell<u64> = const { Cell::new(0) };
}

/// Takes so many steps, and sometimes lets other threads run.
fn step(steps: u64) {
    STEPS.set(STEPS.get() + steps);
    if steps.is_multiple_of(5) {
        std::thread::yield_now();
    }
}

fn by_steps() -> ProfileSettings {
    ProfileSettings::new().clock(|| STEPS.get())
}

fn in_full() -> ProfileSettings {
    by_steps().resolution(Duration::ZERO)
}

#[derive(Debug)]
enum Program {
    Step(u64),
    Sequence(Vec<Program>),
    Join(Box<Program>, Box<Program>),
    JoinContext(Box<Program>, Box<Program>),
    /// For each task the steps before it is spawned, what it runs, and what a task runs that it spawns then.
    Scope(Vec<(u64, Program, Option<Program>)>),
    Map(u64),
}

impl Program {
    fn random(random: &mut StdRng, size: u32) -> Program {
        if size == 0 {
            return Program::Step(random.random_range(0..20));
        }
        let smaller = |random: &mut StdRng| {
            let size = random.random_range(0..size);
            Program::random(random, size)
        };
        let both = |random: &mut StdRng| (Box::new(smaller(random)), Box::new(smaller(random)));
        match random.random_range(0..10) {
            0 => Program::Step(random.random_range(0..100)),
            1 | 2 => {
                let count = random.random_range(1..4);
                Program::Sequence((0..count).map(|_| smaller(random)).collect())
            }
            3..=6 => {
                let (first, second) = both(random);
                Program::Join(first, second)
            }
            7 => {
                let (first, second) = both(random);
                Program::JoinContext(first, second)
            }
            8 => {
                let count = random.random_range(0..4);
                let task = |random: &mut StdRng| {
                    let then = random.random_bool(0.3).then(|| smaller(random));
                    (random.random_range(0..9), smaller(random), then)
                };
                Program::Scope((0..count).map(|_| task(random)).collect())
            }
            _ => Program::Map(random.random_range(0..40)),
        }
    }

    fn run(&self) {
        match self {
            Program::Step(steps) => step(*steps),
            Program::Sequence(parts) => parts.iter().for_each(Program::run),
            Program::Join(first, second) => {
                heist::join(|| first.run(), || second.run());
            }
            Program::JoinContext(first, second) => {
                heist::join_context(|| first.run(), |_| second.run());
            }
            Program::Scope(tasks) => heist::scope(|s: &Scope<'_>| {
                for (before, task, then) in tasks {
                    step(*before);
                    s.spawn(move |s| {
                        task.run();
                        if let Some(then) = then {
                            s.spawn(|_| then.run());
                        }
                        step(1);
                    });
                }
            }),
            Program::Map(items) => heist::for_each(0..*items, |_| step(3)),
        }
    }

    /// The work and the span. The span of a map depends on how it is divided: at least that of an item.
    fn figures(&self) -> (u64, u64) {
        match self {
            Program::Step(steps) => (*steps, *steps),
            Program::Sequence(parts) => parts
                .iter()
                .map(Program::figures)
                .fold((0, 0), |sum, part| (sum.0 + part.0, sum.1 + part.1)),
            Program::Join(first, second) | Program::JoinContext(first, second) => {
                let (first, second) = (first.figures(), second.figures());
                (first.0 + second.0, first.1.max(second.1))
            }
            Program::Scope(tasks) => {
                let (mut work, mut at, mut end) = (0, 0, 0);
                for (before, task, then) in tasks {
                    at += before;
                    let (own, then) = (
                        task.figures(),
                        then.as_ref().map_or((0, 0), Program::figures),
                    );
                    work += before + own.0 + then.0 + 1;
                    end = end.max(at + own.1 + then.1.max(1));
                }
                (work, end.max(at))
            }
            Program::Map(items) => (3 * items, if *items == 0 { 0 } else { 3 }),
        }
    }

    fn has_map(&self) -> bool {
        match self {
            Program::Step(_) => false,
            Program::Map(_) => true,
            Program::Sequence(parts) => parts.iter().any(Program::has_map),
            Program::Join(a, b) | Program::JoinContext(a, b) => a.has_map() || b.has_map(),
            Program::Scope(tasks) => tasks.iter().any(|(_, task, then)| {
                task.has_map() || then.as_ref().is_some_and(Program::has_map)
            }),
        }
    }
}

/// Checks what holds for each profile that was measured in full, by its own figures.
fn check_simulation(profile: &Profile) {
    let (work, span) = (profile.work(), profile.span().estimate);
    assert_eq!(profile.time(1), work);
    assert_eq!(profile.time(1 << 20), span);
    for processors in [2, 3, 8, 64] {
        let time = profile.time(processors);
        let share = work / processors as u32;
        assert!(
            time >= span.max(share),
            "{time:?} on {processors}: {profile}"
        );
        assert!(
            time <= share + span + Duration::from_nanos(1),
            "{time:?} on {processors}: {profile}"
        );
    }
    let on_path: Duration = profile.critical_path().iter().map(|site| site.span()).sum();
    assert_eq!(on_path, span);
    let of_all: Duration = profile.sites().iter().map(|site| site.work()).sum();
    assert_eq!(of_all, work);
}

fn programs(count: u64, check: impl Fn(&ThreadPool, &Program) + Send + 'static) {
    on_pool(move |pool| {
        for seed in 0..count {
            let program = Program::random(&mut StdRng::seed_from_u64(seed), 9);
            check(pool, &program);
        }
    });
}

#[test]
fn work_and_span_are_those_of_the_serial_program() {
    programs(100, |pool, program| {
        let (work, span) = program.figures();
        let ((), profile) = pool.profile_with(in_full(), || program.run());
        assert_eq!(profile.work().as_nanos(), u128::from(work), "{program:?}");
        let found = profile.span();
        assert_eq!((found.low, found.high), (found.estimate, found.estimate));
        let found = found.estimate.as_nanos();
        if program.has_map() {
            assert!(found >= u128::from(span), "{program:?}");
        } else {
            assert_eq!(found, u128::from(span), "{program:?}");
        }
        check_simulation(&profile);
    });
}

#[test]
fn a_profile_that_skips_short_joins_has_the_exact_work_and_bounds_on_the_span() {
    programs(100, |pool, program| {
        let settings = by_steps().resolution(Duration::from_nanos(60));
        let (work, span) = program.figures();
        // More than once in a row, so that something is learnt.
        let ((), profile) = pool.profile_with(settings, || (0..20).for_each(|_| program.run()));
        assert_eq!(
            profile.work().as_nanos(),
            20 * u128::from(work),
            "{program:?}"
        );
        let found = profile.span();
        assert!(
            found.high.as_nanos() >= 20 * u128::from(span),
            "{found:?} {program:?}"
        );
        assert!(found.low <= found.estimate && found.estimate <= found.high);
        if !program.has_map() {
            assert!(
                found.low.as_nanos() <= 20 * u128::from(span),
                "{found:?} {program:?}"
            );
        }
    });
}

#[test]
fn a_long_program_keeps_its_figures_although_its_log_is_bounded() {
    fn tree(depth: u32) {
        if depth == 0 {
            return step(7);
        }
        heist::join(|| tree(depth - 1), || tree(depth - 1));
        step(2);
    }
    on_pool(|pool| {
        let ((), profile) = pool.profile_with(in_full(), || tree(16));
        let leaves = 1_u128 << 16;
        assert_eq!(profile.work().as_nanos(), 7 * leaves + 2 * (leaves - 1));
        assert_eq!(profile.span().estimate.as_nanos(), 7 + 2 * 16);
        assert_eq!(profile.time(1), profile.work());
        let speedup = profile.speedup(64);
        assert!((60.0..=64.0).contains(&speedup), "{speedup}");
    });
}

#[test]
fn an_amdahl_program_has_an_amdahl_curve() {
    fn tree(depth: u32) {
        if depth == 0 {
            return step(10_000);
        }
        heist::join(|| tree(depth - 1), || tree(depth - 1));
    }
    on_pool(|pool| {
        let serial = 10_000 * 1_024 / 9;
        let ((), profile) = pool.profile_with(in_full(), || {
            step(serial);
            tree(10);
        });
        for point in profile.curve() {
            let share = 0.9 / point.processors as f64;
            let wanted = 1.0 / (0.1 + share);
            assert!((point.simulated / wanted - 1.0).abs() < 0.03, "{point:?}");
            assert!(point.lower <= point.simulated && point.simulated <= point.upper + 1e-9);
        }
    });
}

#[test]
fn what_if_is_what_the_changed_program_does() {
    fn slow(steps: u64) {
        step(steps);
    }
    fn program(steps: u64) {
        fn rest() {
            (0..10).for_each(|_| step(50));
        }
        heist::join(|| heist::join(move || slow(steps), rest), rest);
        step(100);
    }
    on_pool(|pool| {
        let ((), profile) = pool.profile_with(in_full(), || program(2_000));
        let ((), changed) = pool.profile_with(in_full(), || program(1_000));
        let path = profile.critical_path();
        let site = path.first().expect("a site on the critical path");
        assert!(site.name().contains("program::{{closure}}"), "{site}");
        let faster = profile.what_if(site, 2.0);
        assert_eq!(faster.work(), changed.work());
        assert_eq!(faster.span(), changed.span());
        for processors in [1, 2, 3] {
            assert_eq!(faster.time(processors), changed.time(processors));
        }
    });
}

#[test]
fn the_critical_path_names_what_was_planted() {
    fn planted() {
        step(1_000_000);
    }
    programs(50, |pool, program| {
        let settings = by_steps().resolution(Duration::from_nanos(60));
        let ((), profile) = pool.profile_with(settings, || {
            program.run();
            heist::join(|| program.run(), || heist::join(|| program.run(), planted));
        });
        let path = profile.critical_path();
        let name = path.first().map_or("", |site| site.name());
        assert!(name.ends_with("::planted"), "{name}: {program:?}");
    });
}
