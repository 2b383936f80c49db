//! Rows of futures that wake each other over channels, and of one that a thread outside of the pool wakes.
//!
//! All contestants use the same channels, those of async-channel.

use crate::contest::{Bench, Row};
use crate::contestants::AsyncPeer;
use crate::results::Unit;
use crate::rows::shared::{THREADS, leak, time};
use async_channel::{Receiver, Sender, bounded};
use std::thread;
use std::time::{Duration, Instant};

/// The pause before a wake-up that finds the pool parked.
const LEFT_ALONE: Duration = Duration::from_millis(1);

/// Runs the rows.
pub fn run(bench: &mut Bench) {
    for threads in bench.threads_or(&[THREADS]) {
        for (name, stations, tokens) in [
            ("async-ping", 2, 1),
            ("async-ring", 1_000, 1),
            ("async-ring-8", 1_000, 8),
        ] {
            bench.row(&format!("{name}/{threads}"), |bench| {
                ring(bench, stations, tokens, threads)
            });
        }
        bench.row(&format!("async-wake-parked/{threads}"), |bench| {
            wake(bench, threads)
        });
    }
}

/// Tasks in a ring that pass tokens to the next one. A ring of two plays ping-pong.
fn ring<'a>(bench: &Bench, stations: usize, tokens: u64, threads: usize) -> Row<'a> {
    fn add<P: AsyncPeer>(row: &mut Row, stations: usize, tokens: u64, hops: u64, threads: usize) {
        let pool = leak::<P>(threads);
        row.add(P::NAME, tokens * hops, move || {
            let (duration, counted) = pass::<P>(pool, stations, tokens, hops);
            assert_eq!(counted, tokens * hops, "{} lost a hop", P::NAME);
            duration
        });
    }

    let all = bench.pick(100_000, 10_000);
    let hops = all / tokens;
    let about = match (stations, tokens) {
        (2, _) => format!("two tasks pass a token to and fro over two channels, {hops} hops"),
        (_, 1) => format!("a token in a ring of {stations} tasks, {hops} hops"),
        _ => format!("{tokens} tokens in a ring of {stations} tasks, {hops} hops each"),
    };
    let mut row = Row::new(about, Unit::NanosecondsPer("hop"));
    add_all!(add(&mut row, stations, tokens, hops, threads));
    row
}

/// Passes `tokens` tokens, each `hops` times, through a new ring. Returns how long that takes, and how often a token was received.
fn pass<P: AsyncPeer>(pool: &P, stations: usize, tokens: u64, hops: u64) -> (Duration, u64) {
    let (finish, finished) = bounded(tokens as usize);
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..stations).map(|_| bounded(1)).unzip();
    let step = stations / tokens as usize;
    let starts: Vec<Sender<u64>> = senders.iter().step_by(step).cloned().collect();
    let tasks: Vec<_> = (1..=stations)
        .zip(receivers)
        .map(|(next, from)| {
            let to = senders[next % stations].clone();
            pool.submit_async(station(from, to, finish.clone()))
        })
        .collect();
    drop(senders);
    // The tasks have time to begin.
    thread::sleep(LEFT_ALONE);

    let (duration, ()) = time(|| {
        for start in starts.iter().take(tokens as usize) {
            start.try_send(hops).expect("the channel is empty");
        }
        pool.block_on(async {
            for _ in 0..tokens {
                finished.recv().await.expect("a token was lost");
            }
        });
    });

    // A task whose channel is closed ends, which closes the next one.
    for start in starts {
        assert!(start.close(), "the channel was closed too early");
    }
    let counted = pool.block_on(async {
        let mut counted = 0;
        for task in tasks {
            counted += P::result(task).await;
        }
        counted
    });
    (duration, counted)
}

/// Receives tokens and sends them on, each with one hop less. Returns how many it has received.
async fn station(from: Receiver<u64>, to: Sender<u64>, finish: Sender<()>) -> u64 {
    let mut received = 0;
    while let Ok(hops) = from.recv().await {
        received += 1;
        let sent = match hops {
            1 => finish.send(()).await.is_ok(),
            _ => to.send(hops - 1).await.is_ok(),
        };
        assert!(sent, "a channel was closed too early");
    }
    received
}

/// One task that waits for a channel, and a thread that sends now and then.
fn wake<'a>(bench: &Bench, threads: usize) -> Row<'a> {
    fn add<P: AsyncPeer>(row: &mut Row, wakes: usize, threads: usize) {
        let pool = leak::<P>(threads);
        row.add_events(P::NAME, move || {
            let (sender, receiver) = bounded::<Instant>(wakes);
            let task = pool.submit_async(async move {
                let mut times = Vec::with_capacity(wakes);
                while let Ok(sent) = receiver.recv().await {
                    times.push(sent.elapsed());
                }
                times
            });
            for _ in 0..wakes {
                thread::sleep(LEFT_ALONE);
                let sent = sender.try_send(Instant::now());
                sent.expect("the channel has room for all");
            }
            drop(sender);
            let times = pool.block_on(P::result(task));
            assert_eq!(times.len(), wakes, "{} lost a wake-up", P::NAME);
            times
        });
    }

    let wakes = bench.pick(200, 40);
    let about = "a task of a parked pool, woken by a thread, until it is polled";
    let mut row = Row::new(about, Unit::MicrosecondsPer("wake-up"));
    add_all!(add(&mut row, wakes, threads));
    row
}
