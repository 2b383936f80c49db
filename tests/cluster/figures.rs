//! Figures, printed and not judged: `HEIST_TEST_FIGURES=1`.

use crate::server::Server;
use crate::support::{LONG, Test, Worker, connect, until};
use crate::tasks::{sleep_ms, square};
use heist::{Backend, Executor};
use std::time::{Duration, Instant};

pub fn tests() -> Vec<Test> {
    match std::env::var_os("HEIST_TEST_FIGURES") {
        Some(_) => vec![("figures::tasks_and_round_trips", tasks_and_round_trips)],
        None => Vec::new(),
    }
}

/// The processor times of the server, this process alone, and the workers.
fn times(pids: [u32; 4]) -> [Duration; 4] {
    let mut times = pids.map(time_of);
    times[1] = time_of_one(pids[1]);
    times
}

/// The processor time that a process and its descendants have taken.
fn time_of(pid: u32) -> Duration {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten();
    let children = threads
        .filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("children")).ok());
    let children: Vec<u32> = children
        .flat_map(|pids| {
            pids.split_whitespace()
                .filter_map(|pid| pid.parse().ok())
                .collect::<Vec<_>>()
        })
        .collect();
    time_of_one(pid) + children.into_iter().map(time_of).sum::<Duration>()
}

fn time_of_one(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let ticks: u64 = [11, 12]
        .iter()
        .filter_map(|&index| fields.get(index)?.parse::<u64>().ok())
        .sum();
    Duration::from_millis(ticks * 10)
}

fn tasks_and_round_trips() {
    for isolate in [false, true] {
        let server = Server::start();
        let cluster = connect(&server);
        let workers = [(); 2].map(|()| Worker::start(&server.address(), 1, isolate));
        until(LONG, || cluster.num_workers() == 2);
        let pids = [
            server.pid(),
            std::process::id(),
            workers[0].pid(),
            workers[1].pid(),
        ];
        let mut trips: Vec<Duration> = (0..1000)
            .map(|n| {
                let begin = Instant::now();
                cluster.submit(square::TASK, n).join().unwrap();
                begin.elapsed()
            })
            .collect();
        trips.sort_unstable();
        println!(
            "isolate {isolate}: a round trip {:?}, at least {:?}",
            trips[500], trips[0]
        );
        for _ in 0..3 {
            let before = times(pids);
            let count = 20_000;
            let begin = Instant::now();
            let all = cluster.submit_many(square::TASK, 0..count);
            assert_eq!(heist::try_join_all(all).unwrap().len(), count as usize);
            let time = begin.elapsed();
            let after = times(pids);
            let each =
                |index: usize| (after[index] - before[index]).as_micros() / u128::from(count);
            println!(
                "isolate {isolate}: {:.0} tasks/s; {} us of the server, {} of the client, {} of the workers a task",
                count as f64 / time.as_secs_f64(),
                each(0),
                each(1),
                each(2) + each(3)
            );
        }
        let begin = Instant::now();
        let all = cluster.imap(square::TASK, 0..200_000);
        assert_eq!(all.filter(Result::is_ok).count(), 200_000);
        println!(
            "isolate {isolate}: {:.0} items of a stream a second",
            2e5 / begin.elapsed().as_secs_f64()
        );
        let begin = Instant::now();
        heist::try_join_all(cluster.submit_many(sleep_ms::TASK, vec![1; 1000])).unwrap();
        println!(
            "isolate {isolate}: 1,000 tasks of 1 ms on two: {:?}",
            begin.elapsed()
        );
        let begin = Instant::now();
        assert_eq!(cluster.imap(square::TASK, 0..).take(100).count(), 100);
        cluster.wait_idle();
        println!(
            "isolate {isolate}: an endless stream that is dropped: {:?}",
            begin.elapsed()
        );
        std::thread::sleep(Duration::from_secs(3));
        let before = time_of(workers[0].pid());
        std::thread::sleep(Duration::from_secs(10));
        println!(
            "an idle worker: {:?} in 10 s",
            time_of(workers[0].pid()) - before
        );
    }
}
