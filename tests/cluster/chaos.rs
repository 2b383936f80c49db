//! Workers, the server and the client are killed at random, while tasks run. `HEIST_TEST_SEEDS` sets the number of seeds.

use crate::parents::{self, Role};
use crate::server::Server;
use crate::support::{ACK_WAIT, LONG, Log, Test, Worker, child, note, options, until};
use heist::nats::SessionId;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::process::Child;
use std::time::{Duration, Instant};

pub fn tests() -> Vec<Test> {
    vec![
        ("chaos::no_task_starts_twice", || each_seed(1)),
        ("chaos::with_tries_all_return", || each_seed(20)),
    ]
}

/// Notes that it begins, takes a while, and squares.
#[heist::task]
pub fn work(log: String, number: u64) -> u64 {
    note(&log, number);
    std::thread::sleep(Duration::from_millis(5));
    number * number
}

fn variable(name: &str, default: u64) -> u64 {
    let value = std::env::var(name).ok();
    value
        .and_then(|value| value.parse().ok())
        .unwrap_or(default)
}

fn each_seed(tries: u32) {
    for seed in 0..variable("HEIST_TEST_SEEDS", 2) {
        run(seed, tries, variable("HEIST_TEST_TASKS", 4000));
    }
}

/// What was killed.
#[derive(Debug, Default)]
struct Kills {
    workers: u32,
    servers: u32,
    clients: u32,
}

fn client(server: &Server, session: &SessionId, log: &Log, tasks: u64, tries: u32) -> Child {
    let mut command = parents::other(Role::Client);
    command.env(parents::ADDRESS, server.address());
    command.env(parents::SESSION, session.to_string());
    command.env(parents::LOG, log.path());
    command.env(parents::TASKS, tasks.to_string());
    command.env(parents::TRIES, tries.to_string());
    child(&mut command)
}

fn run(seed: u64, tries: u32, tasks: u64) {
    const PLACES: usize = 2;
    let mut random = StdRng::seed_from_u64(seed);
    let mut server = Server::start();
    // The first client creates the queue.
    drop(options(&server).cluster().expect("a cluster"));
    let log = Log::new();
    let session: SessionId = format!("seed{seed}tries{tries}")
        .parse()
        .expect("a session");
    let start = |server: &Server| Worker::start(&server.address(), PLACES, false);
    let mut workers: Vec<_> = (0..3).map(|_| start(&server)).collect();
    let mut running = client(&server, &session, &log, tasks, tries);
    let mut kills = Kills::default();
    let begin = Instant::now();
    loop {
        std::thread::sleep(Duration::from_millis(random.random_range(150..500)));
        if let Some(status) = running.try_wait().expect("the client's state") {
            assert!(status.success(), "the client has failed: {status}");
            break;
        }
        assert!(begin.elapsed() < LONG * 8, "it takes too long: {kills:?}");
        // Kills end at some time, so that the tasks can end too.
        if begin.elapsed() > Duration::from_secs(20) {
            continue;
        }
        match random.random_range(0..10) {
            0..6 => {
                let victim = random.random_range(0..workers.len());
                workers[victim].kill();
                workers[victim] = start(&server);
                kills.workers += 1;
            }
            6..8 => {
                server.kill();
                std::thread::sleep(Duration::from_millis(random.random_range(0..300)));
                server.run();
                kills.servers += 1;
            }
            _ => {
                let _ = running.kill();
                let _ = running.wait();
                running = client(&server, &session, &log, tasks, tries);
                kills.clients += 1;
            }
        }
    }
    let time = begin.elapsed();
    check(&server, &session, &log, tries, tasks, &kills, time);
}

fn check(
    server: &Server,
    session: &SessionId,
    log: &Log,
    tries: u32,
    tasks: u64,
    kills: &Kills,
    time: Duration,
) {
    let cluster = options(server).cluster().expect("a cluster");
    let begin = Instant::now();
    let handles: Vec<_> = (0..tasks)
        .map(|n| cluster.attach::<u64>(session, n).expect("it is known"))
        .collect();
    let lost = parents::lost_among(handles);
    let found = begin.elapsed();
    let counts = log.counts(usize::try_from(tasks).expect("a number of tasks"));
    let starts: u32 = counts.iter().sum();
    let again = counts.iter().filter(|count| **count > 1).count();
    let most = counts.iter().max().copied().unwrap_or(0);
    let begin = Instant::now();
    until(ACK_WAIT * 20, || {
        let stats = cluster.stats();
        stats.queued_normal == 0 && stats.under_way == 0
    });
    println!(
        "tries {tries}: {kills:?} in {time:?}; {starts} starts, {again} tasks more than once, at most {most}; {lost} lost; all found in \
         {found:?}; queue empty after {:?}",
        begin.elapsed()
    );
    assert!(most <= tries, "a task was started {most} times");
    if tries > 1 {
        assert_eq!(lost, 0);
    }
}
