//! Everything at once: several threads use two pools in random ways, and every answer is right.

use crate::support::{
    fib, outcome, panic_of, pool_with, serial_fib, spin_until, threads, watched, work,
};
use heist::{ThreadPool, Waits};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// The state that the threads of one mixture share.
struct Mixture {
    pools: [ThreadPool; 2],
    /// The number of tasks that were spawned.
    spawned: AtomicUsize,
    /// The number of spawned tasks that have run.
    ran: Arc<AtomicUsize>,
    lock: Mutex<u64>,
    /// Whether the pools have `Waits::Own`, with which a lock may be held across a wait.
    may_lock: bool,
}

impl Mixture {
    fn new(seed: u64, waits: Waits) -> Mixture {
        let mut random = StdRng::seed_from_u64(seed);
        let mut pool = |count| {
            let spares = random.random_range(0..3);
            pool_with(|builder| {
                builder
                    .num_threads(count)
                    .spare_threads(spares)
                    .waits(waits)
            })
        };
        Mixture {
            pools: [pool(threads()), pool(1)],
            spawned: AtomicUsize::new(0),
            ran: Arc::new(AtomicUsize::new(0)),
            lock: Mutex::new(0),
            may_lock: waits == Waits::Own,
        }
    }

    /// One random step, `depth` levels deep at most.
    fn step(&self, random: &mut StdRng, depth: u32) {
        let pool = &self.pools[usize::from(random.random_bool(0.2))];
        let seeds: [u64; 3] = random.random();
        let below = |index: usize| {
            if depth > 0 {
                self.step(&mut StdRng::seed_from_u64(seeds[index]), depth - 1);
            } else {
                work(seeds[index] % 200);
            }
        };
        match random.random_range(0..12) {
            0 => assert_eq!(pool.install(|| fib(8)), serial_fib(8)),
            1 | 2 => drop(pool.join(|| below(0), || below(1))),
            3 | 4 => pool.scope(|s| {
                let below = &below;
                for index in 0..3 {
                    s.spawn(move |s| {
                        below(index);
                        s.spawn(move |_| {
                            work(20);
                        });
                    });
                }
            }),
            5 => {
                let indices = pool.map(0..3_usize, |index| {
                    below(index);
                    index
                });
                assert_eq!(indices, [0, 1, 2]);
            }
            6 => {
                let sum = pool.map_reduce(0..500_u64, |x| x, || 0, |a, b| a + b);
                assert_eq!(sum, 124_750);
            }
            7 => self.spawn(pool, random.random_range(1..20)),
            8 => {
                pool.install(heist::yield_now);
            }
            9 if self.may_lock && depth == 2 => {
                let mut count = self.lock.lock().unwrap();
                pool.join(|| work(seeds[0] % 2000), || work(seeds[1] % 2000));
                *count += 1;
            }
            10 => {
                let text = panic_of(|| pool.join(|| below(0), || panic!("{}", seeds[1])));
                assert_eq!(text, seeds[1].to_string());
            }
            _ => {
                let answer =
                    outcome(|| pool.try_map(0..50, |x| if x == 40 { Err(x) } else { Ok(x) }));
                assert_eq!(answer.unwrap(), Err(40));
            }
        }
    }

    fn spawn(&self, pool: &ThreadPool, count: usize) {
        self.spawned.fetch_add(count, Ordering::AcqRel);
        for _ in 0..count {
            let ran = Arc::clone(&self.ran);
            pool.spawn(move || {
                heist::join(|| work(10), || work(10));
                ran.fetch_add(1, Ordering::AcqRel);
            });
        }
    }

    /// A step that must not run below another wait, since it may need a worker of a pool whose workers wait.
    fn top_step(&self, random: &mut StdRng) {
        let pool = &self.pools[usize::from(random.random_bool(0.2))];
        match random.random_range(0..6) {
            0 => {
                let mut inner = StdRng::seed_from_u64(random.random());
                pool.run(|| self.step(&mut inner, 1));
            }
            1 => {
                let answers = pool.broadcast(|index| {
                    pool.join(|| work(10), || work(10));
                    index
                });
                assert_eq!(answers, (0..pool.num_threads()).collect::<Vec<_>>());
            }
            _ => self.step(random, 2),
        }
    }
}

fn mix(seed: u64, waits: Waits) {
    watched(move || {
        let mixture = Mixture::new(seed, waits);
        thread::scope(|guests| {
            for guest in 0..4 {
                let mixture = &mixture;
                guests.spawn(move || {
                    let mut random = StdRng::seed_from_u64(seed ^ (guest << 32));
                    for _ in 0..40 {
                        mixture.top_step(&mut random);
                    }
                });
            }
        });
        spin_until(|| {
            mixture.ran.load(Ordering::Acquire) == mixture.spawned.load(Ordering::Acquire)
        });
        for pool in &mixture.pools {
            spin_until(|| {
                let stats = pool.stats();
                stats.submitted == stats.completed + stats.failed + stats.cancelled
                    && stats.active == 0
            });
        }
    });
}

/// A new seed in each run. A failure prints it.
fn mix_some(waits: Waits) {
    for _ in 0..8 {
        let seed = rand::rng().random();
        println!("seed {seed}");
        mix(seed, waits);
    }
}

#[test]
fn random_mixtures_finish() {
    mix_some(Waits::Own);
}

#[test]
fn random_mixtures_finish_when_waits_help_with_anything() {
    mix_some(Waits::Any);
}
