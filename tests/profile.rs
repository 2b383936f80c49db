//! Profiles by the real clock, against programs whose work and span are known: `.ci/deep profile`. The margins are narrow, so the machine must be quiet.

use heist::{Profile, ProfileSettings, ThreadPool};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Spins for so long.
fn spin(time: Duration) {
    let begin = Instant::now();
    while begin.elapsed() < time {
        std::hint::spin_loop();
    }
}

fn micros(time: u64) -> Duration {
    Duration::from_micros(time)
}

fn fib(n: u32) -> u64 {
    if n < 2 {
        return n.into();
    }
    let (a, b) = heist::join(|| fib(n - 1), || fib(n - 2));
    a + b
}

fn in_full() -> ProfileSettings {
    ProfileSettings::new().resolution(Duration::ZERO)
}

/// Whether the measured value is within so many hundredths of the wanted one. A thread that the system stops makes a value wrong, so the best of some tries
/// counts.
#[track_caller]
fn close(what: &str, percent: f64, wanted: f64, mut measure: impl FnMut() -> f64) {
    let tries: Vec<f64> = (0..20).map(|_| measure()).collect();
    let error = |value: &f64| 100.0 * (value / wanted - 1.0).abs();
    let best = tries.iter().map(error).fold(f64::INFINITY, f64::min);
    println!("{what}: {best:.2} % from {wanted:.2}, allowed {percent} %; tries {tries:.2?}");
    assert!(best <= percent, "{what}: {tries:?} instead of {wanted}");
}

fn pool() -> ThreadPool {
    ThreadPool::with_threads(2).expect("a pool")
}

fn parallelism(profile: &Profile) -> f64 {
    profile.parallelism().estimate
}

#[test]
fn a_chain_has_no_parallelism() {
    let pool = pool();
    close("chain", 2.0, 1.0, || {
        let chain = || {
            for _ in 0..1_000 {
                heist::join(|| spin(micros(10)), || ());
            }
        };
        parallelism(&pool.profile(chain).1)
    });
}

/// The processor time of the calling thread, in nanoseconds.
#[cfg(target_os = "linux")]
fn processor_time() -> u64 {
    use std::ffi::{c_int, c_long};
    unsafe extern "C" {
        fn clock_gettime(clock: c_int, time: *mut [c_long; 2]) -> c_int;
    }
    const OF_THREAD: c_int = 3;
    let mut time = [0; 2];
    // SAFETY: the function writes two numbers of this size.
    unsafe { clock_gettime(OF_THREAD, &raw mut time) };
    time[0].cast_unsigned() * 1_000_000_000 + time[1].cast_unsigned()
}

/// The span is the longest of 1,024 leaves, so by the real clock it is mostly the longest time for which the system stops a thread. An interrupt, which takes up
/// to 50 us, is a few hundredths of a leaf.
#[cfg(target_os = "linux")]
#[test]
fn a_balanced_tree_has_the_parallelism_of_its_leaves() {
    fn tree(depth: u32) {
        if depth == 0 {
            let end = processor_time() + 2_000_000;
            while processor_time() < end {}
            return;
        }
        heist::join(|| tree(depth - 1), || tree(depth - 1));
    }
    let pool = pool();
    close("tree", 5.0, 1_024.0, || {
        let by_processor = ProfileSettings::new().clock(processor_time);
        parallelism(&pool.profile_with(by_processor, || tree(10)).1)
    });
}

#[test]
fn an_amdahl_program_has_an_amdahl_curve() {
    fn tree(depth: u32) {
        if depth == 0 {
            return spin(micros(50));
        }
        heist::join(|| tree(depth - 1), || tree(depth - 1));
    }
    let pool = pool();
    for processors in [2, 8, 64, 1_024] {
        let wanted = 1.0 / (0.1 + 0.9 / f64::from(processors));
        close("Amdahl", 3.0, wanted, || {
            let program = || {
                spin(micros(50 * 1_024 / 9));
                tree(10);
            };
            pool.profile(program).1.speedup(processors as usize)
        });
    }
}

#[test]
fn the_span_of_a_comb_is_its_chain_and_its_longest_tooth() {
    let pool = pool();
    close("comb", 5.0, 100.0 * 20.0 + 1_000.0, || {
        fn comb(teeth: u32) {
            if teeth > 0 {
                spin(micros(20));
                let tooth = if teeth == 1 { 1_000 } else { 30 };
                heist::join(|| comb(teeth - 1), || spin(micros(tooth)));
            }
        }
        pool.profile(|| comb(100)).1.span().estimate.as_secs_f64() * 1e6
    });
}

#[test]
fn the_span_is_never_above_the_interval() {
    // The span of `fib` is a chain of its first closures.
    let pool = pool();
    for n in [10, 20, 25, 30] {
        let full = (0..5).map(|_| pool.profile_with(in_full(), || fib(n)).1.span().low);
        let full = full.min().expect("five profiles");
        let (_, profile) = pool.profile(|| fib(n));
        println!("fib({n}): {full:?} in full, {:?}", profile.span());
        assert!(full <= 2 * profile.span().high + micros(5));
    }
}

#[test]
fn what_if_foretells_the_changed_program() {
    fn program(slow: u64) {
        heist::join(
            || (0..20).for_each(|_| spin(micros(slow))),
            || (0..20).for_each(|_| spin(micros(300))),
        );
        spin(micros(1_000));
    }
    let pool = pool();
    let wall = |slow| {
        let walls = (0..20).map(|_| pool.profile(|| program(slow)).1.wall());
        walls.min().expect("twenty profiles").as_secs_f64() * 1e6
    };
    let changed = wall(200);
    close("what if", 10.0, changed, || {
        let (_, profile) = pool.profile(|| program(400));
        let site = profile.critical_path()[0].clone();
        profile.what_if(&site, 2.0).time(2).as_secs_f64() * 1e6
    });
}

#[test]
fn what_a_profile_costs() {
    fn fastest(mut run: impl FnMut() -> Duration) -> f64 {
        let times = (0..15).map(|_| run());
        times.min().expect("some times").as_secs_f64() * 1e3
    }
    /// The time of `f`, without that of dropping its result.
    fn timed<R>(f: impl FnOnce() -> R) -> Duration {
        let begin = Instant::now();
        let result = black_box(f());
        let time = begin.elapsed();
        drop(result);
        time
    }
    let input: Vec<u64> = (0..8_000_000).collect();
    let heavy = |n: &u64| (0..40).fold(*n, |x, _| x.wrapping_mul(6_364_136_223_846_793_005) + 1);
    for threads in [1, 2] {
        let pool = ThreadPool::with_threads(threads).expect("a pool");
        let plain = fastest(|| pool.install(|| timed(|| fib(34))));
        let adaptive = fastest(|| pool.profile(|| timed(|| fib(34))).0);
        let full = fastest(|| pool.profile_with(in_full(), || timed(|| fib(27))).0);
        let plain_of_full = fastest(|| pool.install(|| timed(|| fib(27))));
        println!(
            "{threads} threads: fib {plain:.2} ms, adaptive {:.3}, in full {:.1}",
            adaptive / plain,
            full / plain_of_full
        );
        let plain_map = fastest(|| pool.install(|| timed(|| pool.map(&input, heavy))));
        let map = fastest(|| pool.profile(|| timed(|| pool.map(&input, heavy))).0);
        println!(
            "{threads} threads: map {plain_map:.2} ms, profiled {:.3}",
            map / plain_map
        );
    }
}
