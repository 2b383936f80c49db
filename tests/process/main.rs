//! Pools of processes. The workers are this program, so `main` is not the test harness's: it begins with `heist::init()`.
#![cfg(target_os = "linux")]

use heist::{Executor, ProcessPool};

#[heist::task]
fn square(n: u64) -> u64 {
    n * n
}

fn main() {
    heist::init();
    let t = std::time::Instant::now();
    let pool = ProcessPool::builder().num_workers(2).build().unwrap();
    println!("built {:?}", t.elapsed());
    println!(
        "{:?} {:?}",
        pool.submit(square::TASK, 7).join(),
        t.elapsed()
    );
    let t = std::time::Instant::now();
    for n in 0..1000 {
        assert_eq!(pool.submit(square::TASK, n).join().unwrap(), n * n);
    }
    println!("round trip {:?}", t.elapsed() / 1000);
    let t = std::time::Instant::now();
    let mut window = std::collections::VecDeque::new();
    for n in 0..100_000 {
        window.push_back(pool.submit(square::TASK, n));
        if window.len() == 1000 {
            window.pop_front().unwrap().join().unwrap();
        }
    }
    for handle in window {
        handle.join().unwrap();
    }
    println!("tiny tasks {:.0}/s", 1e5 / t.elapsed().as_secs_f64());
    let t = std::time::Instant::now();
    let sum: u64 = pool
        .imap(square::TASK, 0..1_000_000)
        .map(|n| n.unwrap() & 1)
        .sum();
    println!("imap {:.0}/s {sum}", 1e6 / t.elapsed().as_secs_f64());
    println!("{}", heist::Backend::stats(&pool));
    let t = std::time::Instant::now();
    drop(pool);
    println!("shutdown {:?}", t.elapsed());
}
