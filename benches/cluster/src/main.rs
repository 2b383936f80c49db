//! One side of `compare.py`: a worker of a cluster, or a client that does what it is told by lines on its standard input.
//!
//! `worker ADDRESS`, `client ADDRESS` with an address of `heist::open`. Lines are `single N` (N calls), `imap N` (a stream of N items) and `trips N` (N calls, one after
//! the other). The answer is a line with seconds, or for trips with the median in seconds.

use heist::{Backend, Executor};
use std::io::BufRead;
use std::time::{Duration, Instant};

#[heist::task]
fn square(n: u64) -> u64 {
    n.wrapping_mul(n)
}

fn trips(cluster: &dyn Backend, count: u64) -> Duration {
    let trip = |n| {
        let begin = Instant::now();
        assert_eq!(cluster.submit(square::TASK, n).join().unwrap(), n * n);
        begin.elapsed()
    };
    let mut trips: Vec<_> = (0..count).map(trip).collect();
    trips.sort_unstable();
    trips[trips.len() / 2]
}

fn single(cluster: &dyn Backend, count: u64) -> Duration {
    let begin = Instant::now();
    let all = heist::try_join_all(cluster.submit_many(square::TASK, 0..count)).unwrap();
    assert!(all.into_iter().eq((0..count).map(|n| n * n)));
    begin.elapsed()
}

fn imap(cluster: &dyn Backend, count: u64) -> Duration {
    let begin = Instant::now();
    let all = cluster.imap(square::TASK, 0..count).map(Result::unwrap);
    assert!(all.eq((0..count).map(|n| n * n)));
    begin.elapsed()
}

fn main() -> Result<(), heist::BuildError> {
    heist::init();
    let mut words = std::env::args().skip(1);
    let (role, address) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    if role == "worker" {
        let ahead = std::env::var("CLAIMS_AHEAD").map_or(4, |ahead| ahead.parse().expect("a number"));
        return heist::nats::Worker::connect(&address)?.places(1).claims_ahead(ahead).run();
    }
    let cluster = heist::open(&address)?;
    while cluster.num_workers() < 2 {
        std::thread::sleep(Duration::from_millis(10));
    }
    println!("ready");
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        let (what, count) = line.split_once(' ').expect("a word and a number");
        let count = count.parse().expect("a number");
        let time = match what {
            "trips" => trips(&*cluster, count),
            "single" => single(&*cluster, count),
            _ => imap(&*cluster, count),
        };
        println!("{}", time.as_secs_f64());
    }
    Ok(())
}
