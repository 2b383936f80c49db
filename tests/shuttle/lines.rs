//! Counts how often cache lines move between threads, and the read-modify-writes (RMWs) of lines that threads share, as a pool grows from 2 to 128
//! threads. A pool runs under shuttle, each of whose threads stands for a core of its own. Nothing here depends on the machine:
//!
//! ```sh
//! cargo test --release --manifest-path tests/shuttle/Cargo.toml --features lines --test lines -- --nocapture
//! ```
//!
//! What is seen, and what is not, is said in `src/sync/lines.rs`. A line is *shared* in a row if more than one thread accesses it while the row is
//! counted. `HEIST_SEED` chooses another schedule, and `HEIST_LINES` (a part of a row's name) prints where the RMWs of the largest pool are made.

use heist::lines::{self, LineTally, Tally};
use heist::{PoolStats, Start, ThreadPool};
use shuttle::scheduler::RandomScheduler;
use shuttle::sync::mpsc;
use shuttle::{Config, MaxSteps, Runner, thread};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

const SIZES: [usize; 7] = [2, 4, 8, 16, 32, 64, 128];

/// What one row has counted at one size.
struct Counted {
    lines: Vec<LineTally>,
    /// How many operations the row consists of: the counts are divided by it.
    operations: u64,
    /// The threads whose RMWs count; all if it is empty.
    threads: BTreeSet<usize>,
}

impl Counted {
    fn counts(&self, thread: &usize) -> bool {
        self.threads.is_empty() || self.threads.contains(thread)
    }

    /// RMWs of lines that pass.
    fn changes(&self, passes: impl Fn(&LineTally) -> bool) -> u64 {
        let lines = self.lines.iter().filter(|line| passes(line));
        let threads = lines.flat_map(|line| &line.threads);
        let own = threads.filter(|(thread, _)| self.counts(thread));
        own.map(|(_, tally)| tally.changes).sum()
    }

    fn shared_changes(&self) -> u64 {
        self.changes(LineTally::is_shared)
    }

    fn moves(&self) -> u64 {
        let threads = self.lines.iter().flat_map(|line| line.threads.values());
        threads.map(|tally| tally.moves).sum()
    }

    /// Compare-and-swaps that failed.
    fn failures(&self) -> u64 {
        let threads = self.lines.iter().flat_map(|line| &line.threads);
        let own = threads.filter(|(thread, _)| self.counts(thread));
        own.map(|(_, tally)| tally.failed).sum()
    }

    /// RMWs that are made in this file of the crate.
    fn changes_in(&self, file: &str) -> u64 {
        let sites = self.lines.iter().flat_map(|line| &line.sites);
        let in_file = sites.filter(|(site, _)| site.file.ends_with(file));
        let own = in_file.filter(|(site, _)| self.counts(&site.thread));
        own.map(|(_, tally)| tally.changes).sum()
    }

    /// How many threads share the line of which most do, among those with RMWs that count.
    fn sharers(&self) -> usize {
        let changed = |line: &&LineTally| {
            let mut own = self.threads.iter();
            own.any(|thread| {
                line.threads
                    .get(thread)
                    .is_some_and(|tally| tally.changes > 0)
            })
        };
        let lines = self.lines.iter().filter(changed);
        lines.map(|line| line.threads.len()).max().unwrap_or(0)
    }

    fn each(&self, count: u64) -> f64 {
        count as f64 / self.operations.max(1) as f64
    }
}

/// Runs a program in one schedule, and returns what it returns.
fn run<T: Send + 'static>(program: impl Fn() -> T + Send + Sync + 'static) -> T {
    let seed = std::env::var("HEIST_SEED").map_or(1, |seed| seed.parse().expect("a number"));
    let mut config = Config::new();
    config.stack_size = 1 << 20;
    config.max_steps = MaxSteps::None;
    config.silence_warnings = true;
    lines::forget();
    let result = Arc::new(Mutex::new(None));
    let returned = Arc::clone(&result);
    Runner::new(RandomScheduler::new_from_seed(seed, 1), config)
        .run(move || *returned.lock().expect("no panic") = Some(program()));
    let result = result.lock().expect("no panic").take();
    result.expect("the program has run")
}

fn pool(threads: usize) -> ThreadPool {
    let builder = ThreadPool::builder().num_threads(threads).spare_threads(0);
    let pool = builder.start(Start::Eager).build().expect("a pool");
    settle(&pool, threads);
    pool
}

/// Waits until so many workers are parked.
fn settle(pool: &ThreadPool, parked: usize) {
    while stats(pool).idle < parked {
        thread::yield_now();
    }
    // A thread that counts as parked may still look for work once.
    for _ in 0..20_000 {
        thread::yield_now();
    }
}

fn stats(pool: &ThreadPool) -> PoolStats {
    lines::unseen(|| pool.stats())
}

/// Keeps workers busy. Each forks and takes its fork back when it is told to.
struct Occupied {
    tell: Vec<mpsc::Sender<()>>,
    told: mpsc::Receiver<()>,
}

fn occupy(pool: &ThreadPool, workers: usize) -> Occupied {
    let (done, told) = mpsc::channel();
    let tell = (0..workers).map(|_| {
        let (tell, wait) = mpsc::channel();
        let done = done.clone();
        pool.spawn(move || {
            done.send(()).expect("the test waits");
            while wait.recv().is_ok() {
                tree(2);
                done.send(()).expect("the test waits");
            }
        });
        tell
    });
    let occupied = Occupied {
        tell: tell.collect(),
        told,
    };
    occupied.wait();
    occupied
}

impl Occupied {
    fn wait(&self) {
        for _ in &self.tell {
            self.told.recv().expect("the workers answer");
        }
    }

    fn let_all_fork(&self) {
        for tell in &self.tell {
            tell.send(()).expect("the workers wait");
        }
        self.wait();
    }
}

fn tree(depth: u32) {
    if depth > 0 {
        heist::join(|| tree(depth - 1), || tree(depth - 1));
    }
}

/// A leaf that takes some time: others run meanwhile.
fn leaf() {
    for _ in 0..40 {
        thread::sleep(std::time::Duration::ZERO);
    }
}

/// A worker of a pool whose other workers are busy calls this once to warm up, and then it is counted.
fn alone(
    threads: usize,
    operations: u64,
    work: impl Fn(&Occupied) + Send + Sync + Copy + 'static,
) -> Counted {
    let counted = move || {
        let pool = pool(threads);
        let occupied = occupy(&pool, threads - 1);
        pool.run(move || {
            work(&occupied);
            work(&occupied);
            lines::begin();
            work(&occupied);
            lines::end()
        })
    };
    Counted {
        lines: run(counted),
        operations,
        threads: BTreeSet::new(),
    }
}

/// A fork that nobody takes.
fn joins(threads: usize) -> Counted {
    alone(threads, 15 * 100, |_| (0..100).for_each(|_| tree(4)))
}

/// A task of a scope that nobody takes.
fn tasks(threads: usize) -> Counted {
    alone(threads, 64, |_| {
        heist::scope(|s| (0..64).for_each(|_| s.spawn(|_| ())));
    })
}

/// A search that finds nothing, when nothing has changed since the last one.
fn clean_searches(threads: usize) -> Counted {
    alone(threads, 10, |_| {
        (0..10).for_each(|_| assert!(!heist::yield_now()))
    })
}

/// A search that finds nothing, and before which each other worker has forked.
fn dirty_searches(threads: usize) -> Counted {
    let counted = move || {
        let pool = pool(threads);
        let occupied = occupy(&pool, threads - 1);
        pool.run(move || {
            let mut all = Vec::new();
            for round in 0..12 {
                occupied.let_all_fork();
                lines::begin();
                heist::yield_now();
                let lines = lines::end();
                if round >= 2 {
                    all.extend(lines);
                }
            }
            all
        })
    };
    Counted {
        lines: run(counted),
        operations: 10,
        threads: BTreeSet::new(),
    }
}

/// A task from outside for a pool whose workers are all parked: one is woken, runs it, searches and parks.
fn parks(threads: usize) -> Counted {
    let counted = move || {
        let pool = pool(threads);
        for round in 0..12 {
            if round == 2 {
                lines::begin();
            }
            pool.spawn(|| ());
            settle(&pool, threads);
        }
        lines::end()
    };
    Counted {
        lines: run(counted),
        operations: 10,
        threads: BTreeSet::new(),
    }
}

/// A fork that a parked worker is woken for and takes, while the others are busy.
fn steals(threads: usize) -> Counted {
    let counted = move || {
        let pool = pool(threads);
        let _occupied = occupy(&pool, threads - 2);
        let inside = pool.clone();
        pool.run(move || {
            let inside = &inside;
            let steal = || {
                let (ran, runs) = mpsc::channel();
                heist::join(
                    move || {
                        runs.recv().expect("a thief runs the fork");
                        settle(inside, 1);
                    },
                    move || ran.send(()).expect("the owner waits"),
                );
            };
            (0..2).for_each(|_| steal());
            lines::begin();
            (0..10).for_each(|_| steal());
            lines::end()
        })
    };
    Counted {
        lines: run(counted),
        operations: 10,
        threads: BTreeSet::new(),
    }
}

/// A program for all workers, which are parked at first. Divided by its steals.
fn whole(threads: usize, program: impl Fn(usize) + Send + Sync + Copy + 'static) -> Whole {
    run(move || {
        let pool = pool(threads);
        pool.run(move || program(threads));
        settle(&pool, threads);
        let before = stats(&pool);
        lines::begin();
        pool.run(move || program(threads));
        settle(&pool, threads);
        let lines = lines::end();
        let after = stats(&pool);
        Whole {
            parks: after.parks - before.parks,
            wakeups: after.wakeups - before.wakeups,
            counted: Counted {
                lines,
                operations: after.steals - before.steals,
                threads: BTreeSet::new(),
            },
        }
    })
}

/// The counts of a whole run, for each steal.
struct Whole {
    counted: Counted,
    parks: u64,
    wakeups: u64,
}

/// The tasks of a scope for each worker.
const TASKS: usize = 16;

fn fork_tree(threads: usize) {
    fn part(leaves: usize) {
        match leaves {
            1 => leaf(),
            _ => drop(heist::join(
                || part(leaves / 2),
                || part(leaves - leaves / 2),
            )),
        }
    }
    part(TASKS * threads);
}

/// The owner of the scope spawns all tasks.
fn flat_scope(threads: usize) {
    heist::scope(|s| (0..TASKS * threads).for_each(|_| s.spawn(|_| leaf())));
}

/// Each task spawns two more, down to the leaves.
fn deep_scope(threads: usize) {
    fn part<'scope>(s: &heist::Scope<'scope>, leaves: usize) {
        match leaves {
            1 => leaf(),
            _ => {
                s.spawn(move |s| part(s, leaves / 2));
                s.spawn(move |s| part(s, leaves - leaves / 2));
            }
        }
    }
    heist::scope(|s| part(s, TASKS * threads));
}

/// Tasks with handles that threads from outside submit at the same time. The RMWs of these threads count.
fn submits(threads: usize, submitters: usize) -> Counted {
    let (lines, ids) = run(move || {
        let pool = pool(threads);
        let submitter = |_| {
            let pool = pool.clone();
            let (begin, begins) = mpsc::channel::<()>();
            let submitter = thread::spawn(move || {
                let submit = || (0..TASKS).map(|_| pool.submit(leaf)).collect::<Vec<_>>();
                submit()
                    .into_iter()
                    .for_each(|task| task.join().expect("it runs"));
                begins.recv().expect("the test goes on");
                let tasks = submit();
                let id: usize = shuttle::current::me().into();
                (id, tasks)
            });
            (begin, submitter)
        };
        let submitters: Vec<_> = (0..submitters).map(submitter).collect();
        settle(&pool, threads);
        lines::begin();
        let (begin, submitters): (Vec<_>, Vec<_>) = submitters.into_iter().unzip();
        for begin in begin {
            begin.send(()).expect("the submitter waits");
        }
        let ended: Vec<_> = submitters
            .into_iter()
            .map(|submitter| submitter.join().expect("no panic"))
            .collect();
        let lines = lines::end();
        (lines, ended.iter().map(|(id, _)| *id).collect())
    });
    Counted {
        lines,
        operations: (submitters * TASKS) as u64,
        threads: ids,
    }
}

/// Prints a row of the table.
fn print(name: &str, figures: &[f64]) {
    let cells: Vec<String> = figures
        .iter()
        .map(|figure| match figure {
            figure if *figure == 0.0 => "0".to_owned(),
            figure if *figure < 10.0 => format!("{figure:.2}"),
            figure => format!("{figure:.0}"),
        })
        .collect();
    println!("| {name} | {} |", cells.join(" | "));
}

/// Prints where the lines with the most RMWs of a row are accessed, if that is asked for.
fn explain(name: &str, counted: &Counted) {
    if !std::env::var("HEIST_LINES").is_ok_and(|part| name.contains(&part)) {
        return;
    }
    let moves = |line: &LineTally| line.threads.values().map(|tally| tally.moves).sum::<u64>();
    let shared = counted.lines.iter().filter(|line| line.is_shared());
    let mut lines: Vec<_> = shared.collect();
    lines.sort_by_key(|line| std::cmp::Reverse(moves(line)));
    for line in lines.into_iter().take(20) {
        let moved = counted.each(moves(line));
        println!(
            "  a line of {} threads, moved {moved:.2} times:",
            line.threads.len()
        );
        let mut places = BTreeMap::<_, Tally>::new();
        for (site, tally) in &line.sites {
            let place = places.entry((site.file, site.line)).or_default();
            place.changes += tally.changes;
            place.failed += tally.failed;
            place.others += tally.others;
            place.moves += tally.moves;
        }
        for ((file, number), tally) in places {
            println!("    {file}:{number}: {tally:?}");
        }
    }
}

/// Counts at each size. Returns RMWs of shared lines and moves, for each operation.
fn count(name: &str, counted: impl Fn(usize) -> Counted) -> [Vec<f64>; 2] {
    let all: Vec<Counted> = SIZES.iter().map(|&threads| counted(threads)).collect();
    let rmws: Vec<f64> = all.iter().map(|c| c.each(c.shared_changes())).collect();
    let moves: Vec<f64> = all.iter().map(|c| c.each(c.moves())).collect();
    print(&format!("{name}: RMWs"), &rmws);
    print(&format!("{name}: lines moved"), &moves);
    explain(name, &all[SIZES.len() - 1]);
    [rmws, moves]
}

/// The files whose RMWs a row of a whole program tells apart.
const PARTS: [(&str, &[&str]); 5] = [
    ("the ring and the fork", &["src/ring/mod.rs", "src/job.rs"]),
    (
        "deques and queues",
        &["src/pool/queue.rs", "src/pool/fifo.rs"],
    ),
    (
        "sleep word, idle list, parkers",
        &[
            "src/sleep/mod.rs",
            "src/sleep/bound.rs",
            "src/sleep/parker.rs",
        ],
    ),
    ("the set of active slots", &["src/pool/slots.rs"]),
    ("the scope's count", &["src/fork/scope/wait.rs"]),
];

/// Counts a whole program at each size. Returns the RMWs of the scope's count for each steal.
fn count_whole(name: &str, program: fn(usize)) -> Vec<f64> {
    let whole = |&threads: &usize| whole(threads, program);
    let all: Vec<Whole> = SIZES.iter().map(whole).collect();
    let row = |what: &str, figure: &dyn Fn(&Whole) -> f64| {
        let figures: Vec<f64> = all.iter().map(figure).collect();
        print(&format!("{name}: {what}"), &figures);
        figures
    };
    row("steals in all", &|whole| whole.counted.operations as f64);
    row("parks", &|whole| whole.counted.each(whole.parks));
    row("wake-ups", &|whole| whole.counted.each(whole.wakeups));
    let each =
        |whole: &Whole, count: fn(&Counted) -> u64| whole.counted.each(count(&whole.counted));
    row("lines moved", &|whole| each(whole, Counted::moves));
    row("RMWs", &|whole| each(whole, Counted::shared_changes));
    let mut last = Vec::new();
    for (part, files) in PARTS {
        let sum = |whole: &Whole| -> u64 {
            let files = files.iter();
            files.map(|file| whole.counted.changes_in(file)).sum()
        };
        last = row(&format!("RMWs of {part}"), &|whole| {
            whole.counted.each(sum(whole))
        });
    }
    explain(name, &all[SIZES.len() - 1].counted);
    last
}

/// Counts submits at each size. Returns the RMWs for each one, and those that are not a repeated attempt and wake no thread.
fn count_submits(name: &str, submitters: fn(usize) -> usize) -> [Vec<f64>; 2] {
    let submits = |&threads: &usize| submits(threads, submitters(threads));
    let all: Vec<Counted> = SIZES.iter().map(submits).collect();
    let row = |what: &str, figure: &dyn Fn(&Counted) -> f64| {
        let figures: Vec<f64> = all.iter().map(figure).collect();
        print(&format!("{name}: {what}"), &figures);
        figures
    };
    let all_rmws = row("RMWs", &|c| c.each(c.changes(|_| true)));
    row("failed attempts among them", &|c| c.each(c.failures()));
    row("threads that share one of their lines", &|c| {
        c.sharers() as f64
    });
    let wakes = |c: &Counted| -> u64 {
        let files = PARTS[2].1.iter();
        files.map(|file| c.changes_in(file)).sum()
    };
    let own = row("RMWs without failed ones and wake-ups", &|c| {
        c.each(c.changes(|_| true) - c.failures() - wakes(c))
    });
    explain(name, &all[SIZES.len() - 1]);
    [all_rmws, own]
}

/// A figure that does not grow with the number of threads.
fn assert_constant(figures: &[f64], most: f64) {
    assert!(
        figures.iter().all(|figure| *figure <= most),
        "{figures:?} > {most}"
    );
}

#[test]
fn lines_that_move() {
    let sizes: Vec<String> = SIZES.iter().map(usize::to_string).collect();
    println!("\nCounted under shuttle, not measured; crossbeam's deques as their source shows.");
    println!("RMWs are those of lines that threads share, except in the rows of `submit`.");
    println!("| for each ..., with P = | {} |", sizes.join(" | "));
    println!("|{}", "---|".repeat(sizes.len() + 1));

    let [rmws, moves] = count("fork that nobody takes", joins);
    assert_constant(&[rmws, moves].concat(), 0.0);
    let [rmws, moves] = count("scope task that nobody takes", tasks);
    assert_constant(&[rmws, moves].concat(), 0.0);
    let [rmws, moves] = count("vain search, lines clean", clean_searches);
    assert_constant(&[rmws, moves].concat(), 0.0);
    let [rmws, moves] = count("vain search, all others have forked", dirty_searches);
    assert_constant(&rmws, 0.0);
    let others = SIZES.iter().map(|threads| (threads - 1) as f64);
    let each: Vec<f64> = moves.iter().zip(others).map(|(m, n)| m / n).collect();
    assert_constant(&each, 3.0);
    let [rmws, moves] = count("task for a parked pool: submit, wake, run, park", parks);
    assert_constant(&rmws, 14.0);
    assert_constant(&moves, 20.0);
    let [rmws, moves] = count("fork for a parked worker: wake, steal, run, park", steals);
    assert_constant(&rmws, 20.0);
    assert_constant(&moves, 27.0);

    count_whole("steal in a tree of forks", fork_tree);
    let flat = count_whole("steal in a scope whose owner spawns", flat_scope);
    assert_constant(&flat, 2.0);
    let deep = count_whole("steal in a scope whose tasks spawn", deep_scope);
    assert_constant(&deep, 2.0);

    let [all, own] = count_submits("submit from one thread outside", |_| 1);
    assert_constant(&all, 3.2);
    assert_constant(&own, 2.5);
    let [all, own] = count_submits("submit from P threads outside", |threads| threads);
    assert_constant(&all, 3.2);
    assert_constant(&own, 2.5);
}
