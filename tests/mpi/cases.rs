//! What only ranks have: deaths, cancels, rest, and figures.

use crate::support::{LONG, Log, note, until};
use crate::tasks::{Death, bytes, dies, nothing, sleep_ms, square, until_cancelled};
use heist::mpi::Ranks;
use heist::{Backend, Executor, JoinError, JoinHandle};
use std::process::Command;
use std::time::{Duration, Instant};

/// A test that runs as a program of several ranks.
pub struct Case {
    pub name: &'static str,
    pub body: fn(),
    ranks: u32,
    /// Whether the ranks survive the death of one.
    survives: bool,
}

pub fn all() -> Vec<Case> {
    let case = |name, body, ranks| Case {
        name,
        body,
        ranks,
        survives: true,
    };
    let mut all = vec![
        case(
            "ranks::a_killed_rank_costs_one_call",
            a_killed_rank_costs_one_call,
            4,
        ),
        case(
            "ranks::with_tries_a_call_runs_elsewhere",
            with_tries_a_call_runs_elsewhere,
            3,
        ),
        case("ranks::all_ranks_die", all_ranks_die, 3),
        case(
            "ranks::running_calls_are_cancelled",
            running_calls_are_cancelled,
            2,
        ),
        case("ranks::large_arguments", large_arguments, 2),
        case("ranks::idle_ranks_rest", idle_ranks_rest, 3),
        case("ranks::one_rank_is_not_enough", one_rank_is_not_enough, 1),
        Case {
            survives: false,
            ..case(
                "ranks::it_is_known_whether_deaths_are_survived",
                without_ulfm,
                2,
            )
        },
    ];
    if std::env::var_os("HEIST_TEST_FIGURES").is_some() {
        all.push(case("ranks::figures", figures, 3));
    }
    all
}

impl Case {
    pub fn of_suite(name: &'static str) -> Self {
        Case {
            name,
            body: || {},
            ranks: 3,
            survives: true,
        }
    }

    /// Starts the ranks, and waits for their end.
    pub fn run(&self) -> Result<(), String> {
        let mpirun = std::env::var_os("HEIST_MPIRUN").unwrap_or_else(|| "mpirun".into());
        let mut command = Command::new(mpirun);
        command.args([
            "--allow-run-as-root",
            "--oversubscribe",
            "--bind-to",
            "none",
        ]);
        if self.survives {
            command.args(["--with-ft", "ulfm"]);
        }
        command.args(["-n", &self.ranks.to_string()]);
        command.arg(std::env::current_exe().map_err(|error| error.to_string())?);
        command.env(crate::CASE, self.name);
        let mut child = command.spawn().map_err(|error| {
            format!("mpirun does not start, {error}: put Open MPI's into the path, or name it with HEIST_MPIRUN")
        })?;
        let begin = Instant::now();
        loop {
            match child.try_wait().map_err(|error| error.to_string())? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(format!("the program has failed: {status}")),
                None if begin.elapsed() > LONG * 3 => {
                    let _ = child.kill();
                    let _ = child.wait();
                    return Err("the program hangs".to_owned());
                }
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }
}

fn ranks() -> Ranks {
    Ranks::new().expect("ranks")
}

#[heist::task]
fn own_pid() -> u32 {
    std::process::id()
}

#[heist::task]
fn slow_square(n: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(2));
    n * n
}

fn outcomes(handles: Vec<JoinHandle<u64>>) -> (usize, Vec<JoinError>) {
    let mut errors = Vec::new();
    let mut right = 0;
    for (n, handle) in (0..).zip(handles) {
        match handle.join() {
            Ok(value) => {
                assert_eq!(value, n * n);
                right += 1;
            }
            Err(error) => errors.push(error),
        }
    }
    (right, errors)
}

fn a_killed_rank_costs_one_call() {
    let ranks = ranks();
    assert!(Ranks::survive_deaths());
    let pid = ranks.submit(own_pid::TASK, ()).join().unwrap();
    let handles = ranks.submit_many(slow_square::TASK, 0..1000);
    until(LONG, || handles[100].is_finished());
    let begin = Instant::now();
    crate::support::kill(pid);
    until(LONG, || ranks.num_workers() == 2);
    println!("a killed rank is noticed after {:?}", begin.elapsed());
    let (right, errors) = outcomes(handles);
    println!("{right} right, lost: {errors:?}");
    assert!(errors.len() <= 1 && errors.iter().all(JoinError::is_lost));
    // One that dies of its own task.
    let log = Log::new();
    let path = log.path();
    let call = (path, 7, Death::Kill);
    let error = ranks.submit(dies::TASK, call).join().unwrap_err();
    assert_eq!(
        error.lost().map(|lost| (lost.starts, lost.may_have_run)),
        Some((1, true))
    );
    assert_eq!(ranks.submit(square::TASK, 3).join().unwrap(), 9);
    let stats = ranks.stats();
    assert_eq!(stats.workers, 1);
    assert_eq!(
        stats.submitted,
        stats.completed + stats.failed + stats.cancelled,
        "{stats}"
    );
}

/// Dies when it begins first.
#[heist::task]
fn dies_first(log: String, number: u64) -> u64 {
    note(&log, number);
    if std::fs::metadata(&log).is_ok_and(|log| log.len() == 8) {
        std::process::abort();
    }
    number
}

fn with_tries_a_call_runs_elsewhere() {
    let ranks = ranks();
    let log = Log::new();
    let path = log.path();
    let call = ranks.task().tries(2);
    assert_eq!(call.submit(dies_first::TASK, (path, 5)).join().unwrap(), 5);
    assert_eq!((ranks.stats().retried, ranks.num_workers()), (1, 1));
}

fn all_ranks_die() {
    let ranks = ranks();
    let log = Log::new();
    let path = log.path();
    let deaths = [0, 1].map(|n| ranks.submit(dies::TASK, (path.clone(), n, Death::Abort)));
    let rest = ranks.submit_many(square::TASK, 0..10);
    for death in deaths {
        assert!(death.join().unwrap_err().is_lost());
    }
    // What waited has an error, and so has what comes later.
    let rest = rest.into_iter().filter_map(|handle| handle.join().err());
    assert!(rest.into_iter().all(|error| error.is_refused()));
    until(LONG, || ranks.num_workers() == 0);
    let error = ranks.submit(square::TASK, 1).join().unwrap_err();
    assert!(error.to_string().contains("no rank is left"), "{error}");
}

fn running_calls_are_cancelled() {
    let ranks = ranks();
    let log = Log::new();
    let path = log.path();
    for _ in 0..5 {
        let handle = ranks.submit(until_cancelled::TASK, path.clone());
        until(LONG, || handle.is_running());
        let queued = ranks.submit(square::TASK, 2);
        assert!(!queued.is_running() && queued.cancel());
        let begin = Instant::now();
        assert!(handle.cancel());
        assert_eq!(ranks.submit(square::TASK, 3).join().unwrap(), 9);
        assert!(begin.elapsed() < LONG);
    }
    let late = ranks.task().timeout(Duration::from_millis(50));
    assert!(
        late.submit(until_cancelled::TASK, path)
            .join()
            .unwrap_err()
            .is_timeout()
    );
    assert_eq!(ranks.submit(square::TASK, 3).join().unwrap(), 9);
}

fn large_arguments() {
    let ranks = ranks();
    for length in [0, 4087, 4088, 4089, 1 << 20, 64 << 20] {
        let content = serde_bytes::ByteBuf::from(vec![length as u8 | 1; length]);
        let begin = Instant::now();
        assert!(ranks.submit(bytes::TASK, content.clone()).join().unwrap() == content);
        println!("{length} bytes there and back: {:?}", begin.elapsed());
    }
}

/// The processor time of this process.
fn cpu() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the call writes the time.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    Duration::new(
        time.tv_sec.unsigned_abs(),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

#[heist::task]
fn cpu_of_rank() -> Duration {
    cpu()
}

fn idle_ranks_rest() {
    let ranks = ranks();
    let of_ranks = || -> Duration {
        (0..20)
            .map(|_| ranks.submit(cpu_of_rank::TASK, ()).join().unwrap())
            .max()
            .unwrap()
    };
    std::thread::sleep(Duration::from_secs(2));
    let (own, other) = (cpu(), of_ranks());
    std::thread::sleep(Duration::from_secs(10));
    let (own, other) = (cpu() - own, of_ranks() - other);
    println!("10 s of rest: {own:?} of rank 0, {other:?} of another");
    assert!(own < Duration::from_secs(1) && other < Duration::from_secs(1));
}

fn one_rank_is_not_enough() {
    let error = Ranks::new().unwrap_err().to_string();
    assert!(error.contains("mpirun -n 3"), "{error}");
}

fn without_ulfm() {
    let ranks = heist::open("mpi://").unwrap();
    assert!(!Ranks::survive_deaths());
    ranks.submit(nothing::TASK, ()).join().unwrap();
    assert!(Ranks::new().is_err());
}

fn figures() {
    let ranks = ranks();
    ranks.submit(sleep_ms::TASK, 1).join().unwrap();
    let mut trips: Vec<Duration> = (0..2000)
        .map(|n| {
            let begin = Instant::now();
            ranks.submit(square::TASK, n).join().unwrap();
            begin.elapsed()
        })
        .collect();
    trips.sort_unstable();
    println!("a round trip: {:?}, at least {:?}", trips[1000], trips[0]);
    for _ in 0..3 {
        let begin = Instant::now();
        heist::try_join_all(ranks.submit_many(square::TASK, 0..20_000)).unwrap();
        println!(
            "single calls: {:.0} a second",
            20_000.0 / begin.elapsed().as_secs_f64()
        );
        let begin = Instant::now();
        assert_eq!(
            ranks
                .imap(square::TASK, 0..1_000_000)
                .filter(Result::is_ok)
                .count(),
            1_000_000
        );
        println!(
            "imap: {:.0} items a second",
            1e6 / begin.elapsed().as_secs_f64()
        );
    }
}
