//! What a trace says about a pool: its totals are those of the pool's statistics, begins and ends nest, flows run forward.

use heist::trace::{EventKind, Outcome, Track, TrackRole, Wait, Work};
use heist::{PoolStats, ThreadPool, Trace};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::{BTreeMap, BTreeSet};
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// Runs `body` on another thread. Fails if it does not end within a minute.
fn watched(body: impl FnOnce() + Send + 'static) {
    watched_for(Duration::from_secs(60), body);
}

/// Runs `body` on another thread. Fails if it does not end within `limit`.
fn watched_for(limit: Duration, body: impl FnOnce() + Send + 'static) {
    let (sender, receiver) = mpsc::channel::<()>();
    let thread = thread::spawn(move || {
        let _sender = sender;
        body();
    });
    let ended = receiver.recv_timeout(limit);
    assert_ne!(
        ended,
        Err(mpsc::RecvTimeoutError::Timeout),
        "the test hangs"
    );
    if let Err(payload) = thread.join() {
        std::panic::resume_unwind(payload);
    }
}

/// The numbers of threads with which the tests run.
fn sizes() -> Vec<usize> {
    match std::env::var("HEIST_TEST_THREADS") {
        Ok(count) => vec![count.parse().expect("a number of threads")],
        Err(_) => vec![1, 2, 8],
    }
}

/// The number of random programs.
fn programs() -> u64 {
    let count = std::env::var("HEIST_TEST_PROGRAMS");
    count.map_or(60, |count| count.parse().expect("a number of programs"))
}

fn everything() -> heist::TraceSettings {
    Trace::last(Duration::MAX).max_bytes(64 << 20)
}

fn traced(threads: usize) -> ThreadPool {
    let builder = ThreadPool::builder().num_threads(threads);
    builder.trace(everything()).build().expect("a pool")
}

fn spin(time: Duration) {
    let begin = Instant::now();
    while begin.elapsed() < time {
        std::hint::spin_loop();
    }
}

// ---- random programs ----

/// What a random program does at one place.
fn step(pool: &ThreadPool, rng: &mut StdRng, depth: u32) {
    if depth == 0 {
        return work(rng);
    }
    let mut next = StdRng::seed_from_u64(rng.random());
    match rng.random_range(0..9) {
        0 | 1 => {
            let mut other = StdRng::seed_from_u64(rng.random());
            heist::join(
                || step(pool, &mut next, depth - 1),
                || step(pool, &mut other, depth - 1),
            );
        }
        2 | 3 => heist::scope(|s| {
            for _ in 0..rng.random_range(0..20) {
                let mut own = StdRng::seed_from_u64(rng.random());
                s.spawn(move |_| step(pool, &mut own, depth / 2));
            }
        }),
        4 => {
            let handles: Vec<_> = (0..rng.random_range(0..8))
                .map(|_| {
                    let (pool, mut own) = (pool.clone(), StdRng::seed_from_u64(rng.random()));
                    let panics = rng.random_ratio(1, 8);
                    pool.clone().submit(move || {
                        step(&pool, &mut own, depth / 2);
                        assert!(!panics, "as the program says");
                    })
                })
                .collect();
            for handle in handles {
                match rng.random_range(0..3) {
                    0 => drop(handle.cancel()),
                    1 => drop(handle.join()),
                    _ => handle.detach(),
                }
            }
        }
        5 => heist::scope(|s| {
            let handle = s.submit(|_| step(pool, &mut next, depth - 1));
            let _result = handle.join();
        }),
        6 => {
            let limit = Duration::from_micros(rng.random_range(0..100));
            let handle = pool
                .task()
                .deadline(limit)
                .submit(|| spin(Duration::from_micros(20)));
            let _result = handle.join();
        }
        7 => {
            let turns = rng.random_range(0..5);
            let future = async move {
                for _ in 0..turns {
                    heist::yield_async().await;
                }
            };
            let _result = pool.submit_async(future).join();
        }
        _ => {
            let items: Vec<u64> = (0..rng.random_range(0..200)).collect();
            black_box(pool.map(&items, |item| item.wrapping_mul(3)));
        }
    }
}

fn work(rng: &mut StdRng) {
    let turns = match rng.random_range(0..10) {
        0 => 20_000,
        _ => 50,
    };
    black_box((0..turns).fold(0_u64, |sum, n| black_box(sum ^ n)));
}

/// Waits until the pool does nothing, so that its threads have recorded all that they count.
fn settle(pool: &ThreadPool) -> PoolStats {
    pool.wait_idle();
    let limit = Instant::now() + Duration::from_secs(20);
    loop {
        let stats = pool.stats();
        if stats.active == 0 {
            // A thread that has counted itself out is about to record that it parks.
            thread::sleep(Duration::from_millis(2));
            if pool.stats() == stats {
                return stats;
            }
        }
        assert!(
            Instant::now() < limit,
            "the pool does not become idle: {stats}"
        );
        thread::yield_now();
    }
}

// ---- what a trace must fulfil ----

#[derive(Debug, Default, PartialEq, Eq)]
struct Totals {
    steals: u64,
    parks: u64,
    wakeups: u64,
    executed: u64,
    completed: u64,
    failed: u64,
    timed_out: u64,
    cancelled: u64,
}

impl Totals {
    fn of_stats(stats: &PoolStats, trace: &Trace) -> Self {
        let before = trace.stats_before();
        // Of guests and spares there are no numbers.
        let executed = |stats: &PoolStats| {
            stats
                .workers
                .iter()
                .map(|worker| worker.executed)
                .sum::<u64>()
        };
        Totals {
            steals: stats.steals - before.steals,
            parks: stats.parks - before.parks,
            wakeups: stats.wakeups - before.wakeups,
            executed: executed(stats) - executed(before),
            completed: stats.completed - before.completed,
            failed: stats.failed - before.failed,
            timed_out: stats.timed_out - before.timed_out,
            cancelled: stats.cancelled - before.cancelled,
        }
    }

    fn of_trace(trace: &Trace) -> Self {
        let mut totals = Totals::default();
        let mut polls = BTreeMap::new();
        for track in trace.tracks() {
            let is_worker = matches!(track.role(), TrackRole::Worker(_));
            let mut runs = Vec::new();
            for event in track.events() {
                match event.kind() {
                    EventKind::Steal { .. } => totals.steals += 1,
                    EventKind::Park => totals.parks += 1,
                    EventKind::Wake { .. } => totals.wakeups += 1,
                    EventKind::Cancelled { .. } => totals.cancelled += 1,
                    EventKind::TimedOut { .. } => {
                        totals.timed_out += 1;
                        totals.failed += 1;
                    }
                    EventKind::Batch { count, .. } => {
                        totals.completed += u64::from(count);
                        totals.executed += u64::from(count) * u64::from(is_worker);
                    }
                    EventKind::RunBegin { what, id, .. } => {
                        runs.push(what);
                        if what == Work::Poll {
                            let poll = (event.time(), is_worker);
                            polls
                                .entry(id)
                                .and_modify(|first: &mut (Duration, bool)| {
                                    *first = poll.min(*first)
                                })
                                .or_insert(poll);
                        } else {
                            totals.executed += u64::from(is_worker);
                        }
                    }
                    EventKind::RunEnd { outcome } => {
                        let what = runs.pop().expect("an end has a begin");
                        let is_task = matches!(what, Work::ScopeTask | Work::Task | Work::Poll);
                        match outcome {
                            Outcome::Returned if is_task => totals.completed += 1,
                            Outcome::Panicked if is_task => totals.failed += 1,
                            _ => {}
                        }
                    }
                    _ => {}
                }
            }
        }
        // Of a future only the first poll counts.
        totals.executed += polls.values().filter(|(_, is_worker)| *is_worker).count() as u64;
        totals
    }
}

/// Checks that begins and ends nest, and that times do not run backwards.
fn check_track(track: &Track) {
    let mut open = Vec::new();
    let mut last = Duration::ZERO;
    for event in track.events() {
        assert!(event.time() >= last, "{track:?}");
        let mut end = |begin: &str| {
            let found = open.pop();
            assert_eq!(
                found,
                Some(begin.to_owned()),
                "{:?} in {}",
                event.kind(),
                track.name()
            );
        };
        match event.kind() {
            EventKind::Batch { begin, .. } => {
                assert!(
                    Duration::from_nanos(begin) + Duration::from_nanos(2) >= last,
                    "a batch overlaps"
                );
            }
            EventKind::RunEnd { .. } => end("run"),
            EventKind::WaitEnd => end("wait"),
            EventKind::Unpark => end("park"),
            EventKind::SpanEnd => end("span"),
            EventKind::GuestLeave => end("guest"),
            EventKind::RunBegin { .. } => open.push("run".to_owned()),
            EventKind::WaitBegin { .. } => open.push("wait".to_owned()),
            EventKind::Park => open.push("park".to_owned()),
            EventKind::SpanBegin { .. } => open.push("span".to_owned()),
            EventKind::GuestEnter => open.push("guest".to_owned()),
            _ => {}
        }
        last = event.time();
    }
}

/// How much the clocks of two processors may differ.
const TOLERANCE: Duration = Duration::from_micros(1);

/// Checks that a task begins after it was made, and that a steal names another track.
fn check_flows(trace: &Trace) {
    let mut made = BTreeMap::new();
    for (_, event) in trace.events() {
        if let EventKind::Made { id, .. } = event.kind() {
            let first = made.entry(id).or_insert(event.time());
            *first = (*first).min(event.time());
        }
    }
    for (track, event) in trace.events() {
        match event.kind() {
            EventKind::RunBegin {
                what: Work::Task | Work::Poll,
                id,
                ..
            } => {
                let made = made.get(&id).expect("what runs was made");
                assert!(
                    event.time() + TOLERANCE >= *made,
                    "task {id} began before it was made"
                );
            }
            EventKind::Steal { victim, .. } => {
                let victim = &trace.tracks()[victim as usize];
                let is_other = !std::ptr::eq(victim, track);
                assert!(is_other, "a thread has stolen from itself");
            }
            EventKind::Wake { whom } => assert!((whom as usize) < trace.tracks().len()),
            _ => {}
        }
    }
}

fn check(trace: &Trace) {
    assert_eq!(trace.lost(), 0);
    for (track, event) in trace.events() {
        assert!(
            event.time() <= trace.duration(),
            "{event:?} in {}",
            track.name()
        );
    }
    for track in trace.tracks() {
        assert_eq!(
            track.written(),
            track.lost() + track.older() + track.events().len() as u64
        );
        check_track(track);
    }
    check_flows(trace);
}

#[test]
fn the_totals_of_random_programs_are_those_of_the_statistics() {
    std::panic::set_hook(Box::new(|info| {
        let text = info.to_string();
        if !text.contains("as the program says") {
            eprintln!("{text}");
        }
    }));
    let programs = programs();
    let limit = Duration::from_secs(60.max(programs));
    watched_for(limit, move || {
        for threads in sizes() {
            for seed in 0..programs {
                let pool = traced(threads);
                let mut rng = StdRng::seed_from_u64(seed);
                for _ in 0..4 {
                    pool.install(|| step(&pool, &mut rng, 4));
                }
                let stats = settle(&pool);
                let trace = pool.trace();
                check(&trace);
                let expected = Totals::of_stats(&stats, &trace);
                let mut found = Totals::of_trace(&trace);
                // What a worker runs from a second slot is on its track, and in no worker's count.
                assert!(found.executed >= expected.executed, "seed {seed}");
                found.executed = expected.executed;
                assert_eq!(found, expected, "seed {seed}, {threads} threads");
            }
        }
    });
}

#[test]
fn a_worker_was_busy_when_it_did_not_search() {
    watched(|| {
        // With more threads than processors the system stops them all the time.
        for threads in sizes().into_iter().filter(|&threads| threads <= 2) {
            // A worker that loses its processor between two readings of the clock spoils the comparison.
            let is_equal = (0..50).any(|_| busy_times_are_equal(threads));
            assert!(is_equal, "{threads} threads");
        }
    });
}

/// Whether the times in which each worker was busy are, within 1 %, those of the statistics.
fn busy_times_are_equal(threads: usize) -> bool {
    let pool = traced(threads);
    let handles: Vec<_> = (0..100)
        .map(|_| pool.submit(|| spin(Duration::from_micros(200))))
        .collect();
    handles
        .into_iter()
        .for_each(|handle| handle.join().unwrap());
    pool.scope_on_workers(|s| {
        for _ in 0..10_000 {
            s.spawn(|_| {
                black_box(1);
            });
        }
    });
    let stats = settle(&pool);
    let trace = pool.trace();
    let mut workers = trace.workers().zip(&stats.workers);
    workers.all(|(track, worker)| {
        let (found, expected) = (idle_complement(track), worker.busy);
        found.abs_diff(expected) <= expected.mul_f64(0.01) + Duration::from_micros(20)
    })
}

/// The time in which the thread did not search for work.
fn idle_complement(track: &Track) -> Duration {
    let (mut busy, mut since, mut waits) = (Duration::ZERO, Duration::ZERO, Vec::new());
    for event in track.events() {
        match event.kind() {
            EventKind::ThreadBegin => since = event.time(),
            EventKind::WaitBegin { on, .. } => {
                if on == Wait::Idle {
                    busy += event.time() - since;
                }
                waits.push(on);
            }
            EventKind::WaitEnd if waits.pop() == Some(Wait::Idle) => since = event.time(),
            _ => {}
        }
    }
    busy
}

#[test]
fn short_tasks_of_a_scope_are_recorded_together() {
    watched(|| {
        let pool = traced(1);
        let count = AtomicUsize::new(0);
        let spawn = |tasks: usize| {
            pool.scope(|s| {
                for _ in 0..tasks {
                    s.spawn(|_| {
                        count.fetch_add(1, Ordering::Relaxed);
                    });
                }
            });
        };
        spawn(10_000);
        let trace = pool.trace();
        let batches: Vec<u32> = trace
            .events()
            .filter_map(|(_, event)| match event.kind() {
                EventKind::Batch { count, .. } => Some(count),
                _ => None,
            })
            .collect();
        let events = trace.events().count();
        assert!(events < 5_000, "{events} events for 10,000 tasks");
        assert!(batches.iter().any(|&count| count > 1));
        check(&trace);
    });
}

#[test]
fn a_small_record_counts_what_it_loses() {
    watched(|| {
        for threads in sizes() {
            let settings = Trace::last(Duration::MAX).max_bytes(64 << 10);
            let pool = ThreadPool::builder()
                .num_threads(threads)
                .trace(settings)
                .build()
                .unwrap();
            for _ in 0..20 {
                let handles = pool.submit_many((0..1_000).map(|n| move || n));
                handles.into_iter().for_each(drop);
            }
            settle(&pool);
            let trace = pool.trace();
            let kept = trace.events().count() as u64;
            let written: u64 = trace.tracks().iter().map(Track::written).sum();
            assert_eq!(kept + trace.lost(), written);
            assert!(written >= 60_000 && kept <= 4_096, "{kept} of {written}");
        }
    });
}

#[test]
fn only_the_time_that_was_asked_for_is_shown() {
    watched(|| {
        let settings = Trace::last(Duration::from_millis(20));
        let pool = ThreadPool::builder()
            .num_threads(1)
            .trace(settings)
            .build()
            .unwrap();
        pool.task().name("early").submit(|| ()).join().unwrap();
        thread::sleep(Duration::from_millis(30));
        pool.task().name("late").submit(|| ()).join().unwrap();
        let trace = pool.trace();
        let named = |name: &str| trace.sites().iter().any(|site| site.name() == name);
        assert!(!named("early"));
        assert!(trace.tracks().iter().map(Track::older).sum::<u64>() > 0);
        for track in trace.tracks() {
            assert_eq!(
                track.written(),
                track.lost() + track.older() + track.events().len() as u64
            );
        }
    });
}

#[test]
fn snapshots_are_whole_while_the_pool_works() {
    watched(|| {
        for threads in sizes() {
            let settings = Trace::last(Duration::MAX).max_bytes(1 << 20);
            let pool = ThreadPool::builder()
                .num_threads(threads)
                .trace(settings)
                .build()
                .unwrap();
            let stop = AtomicBool::new(false);
            thread::scope(|scope| {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        pool.scope(|s| {
                            for _ in 0..100 {
                                s.spawn(|_| {
                                    let _span = heist::span("a part");
                                });
                            }
                        });
                        pool.submit(|| heist::mark("a mark")).join().unwrap();
                    }
                });
                for _ in 0..100 {
                    let trace = pool.trace();
                    let kept = trace.events().count() as u64;
                    let written: u64 = trace.tracks().iter().map(Track::written).sum();
                    assert_eq!(kept + trace.lost(), written);
                    for site in trace.sites() {
                        assert!(!site.name().is_empty());
                    }
                }
                stop.store(true, Ordering::Relaxed);
            });
        }
    });
}

#[test]
fn a_recording_starts_and_stops_while_the_pool_works() {
    watched(|| {
        for threads in sizes() {
            let pool = ThreadPool::with_threads(threads).unwrap();
            let stop = AtomicBool::new(false);
            thread::scope(|scope| {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        let sum = pool.install(|| tree(8));
                        assert_eq!(sum, 256);
                        pool.submit(|| ()).join().unwrap();
                    }
                });
                for round in 0..60_u32 {
                    let settings = Trace::last(Duration::MAX).max_bytes(1 << (16 + round % 3));
                    pool.start_trace(settings.resolution(Duration::from_nanos(u64::from(round))));
                    thread::sleep(Duration::from_millis(1));
                    let trace = pool.stop_trace();
                    assert!(trace.tracks().len() >= threads.min(trace.stats().workers.len()));
                    assert!(pool.trace().tracks().is_empty());
                }
                stop.store(true, Ordering::Relaxed);
            });
        }
    });
}

fn tree(depth: u32) -> u64 {
    if depth == 0 {
        return 1;
    }
    let (a, b) = heist::join(|| tree(depth - 1), || tree(depth - 1));
    let mut more = 0;
    heist::scope(|s| s.spawn(|_| more = 1));
    a + b + more - 1
}

#[test]
fn names_come_from_the_user_or_from_the_closure() {
    watched(|| {
        let pool = traced(2);
        pool.task().name("thumbnail").submit(|| ()).join().unwrap();
        pool.submit(a_function).join().unwrap();
        pool.submit_async(async {}).join().unwrap();
        pool.broadcast(|index| index);
        pool.run(|| heist::mark("a mark"));
        pool.scope(|s| s.spawn(|_| ()));
        let trace = pool.trace();
        let names: BTreeSet<_> = trace
            .sites()
            .iter()
            .map(|site| (format!("{:?}", site.kind()), site.name().to_owned()))
            .collect();
        let has = |kind: &str, name: &str| names.iter().any(|(k, n)| k == kind && n.contains(name));
        assert!(has("Task", "thumbnail"), "{names:?}");
        assert!(has("Task", "traces::a_function"), "{names:?}");
        let here = "traces::names_come_from_the_user_or_from_the_closure";
        for kind in ["Future", "Broadcast", "Run", "Scope"] {
            assert!(has(kind, here), "{kind} in {names:?}");
        }
        assert!(has("Mark", "a mark"), "{names:?}");
    });
}

fn a_function() {}

#[test]
fn stolen_parts_of_a_map_are_named_after_its_closure() {
    watched(|| {
        let pool = traced(4);
        let items = vec![1_u64; 64];
        let limit = Instant::now() + Duration::from_secs(20);
        loop {
            pool.for_each(&items, |_| spin(Duration::from_micros(100)));
            let trace = pool.trace();
            let is_map = |site: &&heist::trace::Site| site.kind() == heist::trace::SiteKind::Map;
            if let Some(site) = trace.sites().iter().find(is_map) {
                assert!(
                    site.name().contains("traces::stolen_parts"),
                    "{}",
                    site.name()
                );
                return;
            }
            assert!(Instant::now() < limit, "nothing was stolen");
        }
    });
}

#[test]
fn threads_outside_the_pool_share_few_records() {
    watched(|| {
        let pool = traced(1);
        for _ in 0..50 {
            // Unlike the end of a scope, `join` waits for the destructors of the thread's locals, which give the record back.
            let pool = pool.clone();
            let submitter = thread::spawn(move || pool.submit(|| ()).join().unwrap());
            submitter.join().unwrap();
        }
        let trace = pool.trace();
        let guests = trace
            .tracks()
            .iter()
            .filter(|track| track.role() == TrackRole::Guest);
        assert!(guests.count() <= 3);
        check(&trace);
    });
}

// ---- places ----

/// The file and line of each site whose name ends like this, without doubles.
fn places<'a>(trace: &'a Trace, name: &str) -> BTreeSet<Option<(&'a str, u32)>> {
    let sites = trace.sites().iter();
    let named = sites.filter(|site| site.name().ends_with(name));
    named.map(heist::trace::Site::location).collect()
}

#[test]
fn a_site_has_the_file_and_line_of_the_call_that_makes_its_work() {
    async fn is_ready() {}
    struct Each<'a>(&'a ThreadPool, Vec<(&'static str, u32)>);
    impl Each<'_> {
        fn made(&mut self, name: &'static str, line: u32) {
            self.1.push((name, line));
        }
    }
    fn submitted() {}
    fn tried() {}
    fn spawned() {}
    fn in_a_set() {}
    fn of_many() {}
    fn freely() {}
    fn in_scope(_: &heist::Scope<'_>) {}
    watched(|| {
        for threads in sizes() {
            let pool = traced(threads);
            let mut each = Each(&pool, Vec::new());
            each.made("submitted", line!() + 1);
            each.0.submit(submitted).join().unwrap();
            each.made("tried", line!() + 1);
            each.0.try_submit(tried).unwrap().join().unwrap();
            each.made("spawned", line!() + 1);
            each.0.spawn(spawned);
            let mut set = heist::JoinSet::new(each.0);
            each.made("in_a_set", line!() + 1);
            set.spawn(in_a_set);
            set.join_next().unwrap().unwrap();
            each.made("by its name", line!() + 1);
            each.0.task().name("by its name").submit(|| ()).detach();
            each.made("of_many", line!() + 1);
            each.0.submit_many([of_many as fn(), of_many]);
            each.made("is_ready::{{closure}}", line!() + 1);
            each.0.submit_async(is_ready()).join().unwrap();
            each.made("freely", line!() + 2);
            // On a thread of the pool, a free function is the pool's.
            each.0.run(|| heist::submit(freely).join().unwrap());
            let (ended, line) = each.0.scope(|s| {
                // The scope of a closure that is converted to a function of any lifetime.
                (s.submit(|s| in_scope(s)).join().is_ok(), line!())
            });
            assert!(ended);
            pool.wait_idle();
            let trace = pool.trace();
            for (name, line) in each.1 {
                let name = if name == "of_many" { "fn()" } else { name };
                let expected = BTreeSet::from([Some((file!(), line))]);
                assert_eq!(
                    places(&trace, name),
                    expected,
                    "{name}: {:?}",
                    trace.sites()
                );
            }
            let sites = trace.sites().iter();
            assert!(
                sites
                    .clone()
                    .any(|site| site.location() == Some((file!(), line)))
            );
        }
    });
}

#[test]
fn work_of_one_name_that_is_made_in_several_places_has_none() {
    fn scattered() {}
    watched(|| {
        let pool = traced(2);
        for _ in 0..3 {
            pool.submit(scattered).join().unwrap();
            pool.submit(scattered).join().unwrap();
        }
        assert_eq!(places(&pool.trace(), "scattered"), BTreeSet::from([None]));
    });
}

/// Closures of one function have one name, and the compiler may make one site of them.
#[test]
fn a_closure_never_has_the_place_of_another_one() {
    watched(|| {
        let pool = traced(2);
        let line = line!() + 1;
        pool.submit(|| ()).join().unwrap();
        pool.submit(|| ()).join().unwrap();
        let trace = pool.trace();
        let here = "a_closure_never_has_the_place_of_another_one::{{closure}}::{{closure}}";
        let found = places(&trace, here);
        let both = [line, line + 1].map(|line| Some((file!(), line)));
        assert!(
            found == BTreeSet::from([None]) || found == BTreeSet::from(both),
            "{found:?}"
        );
    });
}

#[test]
fn the_source_of_the_crate_itself_is_no_place() {
    watched(|| {
        let pool = traced(2);
        assert_eq!(pool.imap(0..100, |n| n).chunk(7).on_workers().count(), 100);
        pool.submit_async(heist::sleep(Duration::from_millis(1)))
            .join()
            .unwrap();
        let trace = pool.trace();
        let files = trace.sites().iter().filter_map(|site| site.location());
        assert!(files.clone().count() > 0);
        for (file, _) in files {
            assert_eq!(file, file!());
        }
    });
}

#[cfg(feature = "trace")]
#[test]
fn the_forms_show_places() {
    fn to_be_shown() {}
    watched(|| {
        let pool = traced(2);
        let line = line!() + 1;
        pool.submit(to_be_shown).join().unwrap();
        pool.wait_idle();
        let trace = pool.trace();
        let place = format!("{}:{line}", file!());
        assert!(trace.to_html().contains(&place));
        assert!(
            trace
                .to_string()
                .contains(&format!("to_be_shown at {place}")),
            "{trace}"
        );
        let packets = trace.to_perfetto();
        assert!(
            packets
                .windows(file!().len())
                .any(|bytes| bytes == file!().as_bytes())
        );
    });
}
