//! Many futures, large ones, and futures beside endless work.
//!
//! By meaning, these are the cases of async-executor's `larger_tasks`, and those of tokio's `rt_threaded` and `rt_common` on load.

use crate::support::{
    Door, LONG, SOON, assert_balanced, on_pool, on_pool_of, pool_with, spin_until, threads, watched,
};
use heist::{AsyncPool, JoinHandle, ThreadPool, block_on};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

/// A channel with one receiver. It is closed when the sender is dropped.
#[derive(Default)]
struct Channel<T>(Mutex<(VecDeque<T>, bool, Option<Waker>)>);

struct Sender<T>(Arc<Channel<T>>);
struct Receiver<T>(Arc<Channel<T>>);

fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Channel(Mutex::new((VecDeque::new(), false, None))));
    (Sender(Arc::clone(&shared)), Receiver(shared))
}

impl<T> Sender<T> {
    fn put(&self, message: Option<T>) {
        let mut channel = self.0.0.lock().unwrap();
        match message {
            Some(message) => channel.0.push_back(message),
            None => channel.1 = true,
        }
        let waker = channel.2.take();
        drop(channel);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn send(&self, message: T) {
        self.put(Some(message));
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.put(None);
    }
}

impl<T> Receiver<T> {
    fn next(&mut self) -> impl Future<Output = Option<T>> {
        poll_fn(|context| {
            let mut channel = self.0.0.lock().unwrap();
            match channel.0.pop_front() {
                Some(message) => Poll::Ready(Some(message)),
                None if channel.1 => Poll::Ready(None),
                None => {
                    channel.2 = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
    }
}

// ---- size ----

/// A future of so many bytes, which are all there after it was suspended.
async fn large<const N: usize>(door: Door, byte: u8) -> usize {
    let bytes = [byte; N];
    door.pass().await;
    bytes.iter().filter(|&&other| other == byte).count()
}

#[test]
fn large_futures() {
    const SIZE: usize = 64 << 10;
    on_pool(|pool| {
        let door = Door::default();
        let limited = AsyncPool::new(pool, 2);
        let handles = [
            pool.submit_async(large::<SIZE>(door.clone(), 1)),
            pool.task()
                .deadline(LONG)
                .submit_async(large::<SIZE>(door.clone(), 2)),
            limited.submit(large::<SIZE>(door.clone(), 3)),
            limited.submit_with({
                let door = door.clone();
                move || large::<SIZE>(door, 4)
            }),
        ];
        spin_until(|| door.polls() == 4);
        let opens = door.clone();
        let sum = pool.scope(|s| {
            let inner = s.submit_async(large::<SIZE>(door.clone(), 5));
            spin_until(|| door.polls() == 5 || threads() == 1);
            opens.open();
            inner.join().unwrap()
        });
        assert_eq!(sum, SIZE);
        for handle in handles {
            assert_eq!(handle.join().unwrap(), SIZE);
        }
        assert_eq!(block_on(large::<SIZE>(door.clone(), 6)), SIZE);
        let cancelled = pool.submit_async(large::<SIZE>(Door::default(), 7));
        cancelled.cancel();
        assert!(cancelled.join().is_err());
        assert_balanced(pool);
    });
}

#[test]
fn futures_of_no_size_and_of_a_high_alignment() {
    #[repr(align(256))]
    #[derive(Clone, Copy)]
    struct Aligned(u8);
    on_pool(|pool| {
        pool.submit_async(std::future::ready(())).join().unwrap();
        for deadline in [false, true] {
            let value = Aligned(7);
            let task = match deadline {
                true => pool.task().deadline(LONG),
                false => pool.task(),
            };
            let handle = task.submit_async(async move {
                let address = std::ptr::from_ref(&value).addr();
                heist::yield_async().await;
                assert_eq!(address % 256, 0);
                assert_eq!(address, std::ptr::from_ref(&value).addr(), "it was moved");
                value
            });
            let value = handle.join().unwrap();
            assert_eq!((value.0, std::ptr::from_ref(&value).addr() % 256), (7, 0));
        }
    });
}

// ---- many ----

/// Messages go through chains of futures, several times around.
#[test]
fn messages_in_long_chains() {
    const CHAIN: usize = 100;
    const TRACKS: usize = 20;
    const CYCLES: usize = 5;
    on_pool(|pool| {
        let (mut starts, mut ends) = (Vec::new(), Vec::new());
        for track in 0..TRACKS {
            let (start, mut before) = channel();
            for _ in 0..CHAIN {
                let (sender, receiver) = channel();
                pool.spawn_async(async move {
                    while let Some(message) = before.next().await {
                        sender.send(message + 1);
                    }
                });
                before = receiver;
            }
            let start = Arc::new(start);
            let again = Arc::clone(&start);
            ends.push(pool.submit_async(async move {
                let mut message = 0;
                for cycle in 1..=CYCLES {
                    message = before.next().await.unwrap();
                    if cycle < CYCLES {
                        again.send(message);
                    }
                }
                message
            }));
            starts.push((track, start));
        }
        for (track, start) in starts {
            start.send(track);
        }
        for (track, end) in ends.into_iter().enumerate() {
            assert_eq!(end.join().unwrap(), track + CHAIN * CYCLES);
        }
        // The ends of the channels end the links one after the other.
        pool.wait_idle();
        assert_balanced(pool);
    });
}

/// Pairs of futures that send each other messages use all threads, and another future still ends.
#[test]
fn talking_pairs_do_not_starve_a_future_that_yields() {
    on_pool(|pool| {
        let running = Arc::new(AtomicBool::new(true));
        let (begun, mut has_begun) = channel();
        let begun = Arc::new(begun);
        let mut tasks = Vec::new();
        for _ in 0..50 {
            let ((to, mut from), (back, mut forth)) = (channel(), channel());
            let (running, begun) = (Arc::clone(&running), Arc::clone(&begun));
            tasks.push(pool.submit_async(async move {
                begun.send(());
                while running.load(Ordering::Acquire) {
                    to.send(());
                    forth.next().await.unwrap();
                }
                drop(to);
                assert!(forth.next().await.is_none());
            }));
            tasks.push(pool.submit_async(async move {
                while from.next().await.is_some() {
                    back.send(());
                }
            }));
        }
        block_on(async {
            for _ in 0..50 {
                has_begun.next().await.unwrap();
            }
        });
        let other = pool.submit_async(async {
            for _ in 0..5 {
                heist::yield_async().await;
            }
        });
        other.join().unwrap();
        running.store(false, Ordering::Release);
        heist::try_join_all(tasks).unwrap();
        assert_balanced(pool);
    });
}

// ---- endless work ----

/// Runs `body` beside futures that yield forever, as many as `busy`.
fn beside_yields(busy: usize, body: impl FnOnce(&ThreadPool)) {
    let pool = pool_with(|b| b);
    let running = Arc::new(AtomicBool::new(true));
    let yields: Vec<_> = (0..busy)
        .map(|_| {
            let running = Arc::clone(&running);
            pool.submit_async(async move {
                while running.load(Ordering::Acquire) {
                    heist::yield_async().await;
                }
            })
        })
        .collect();
    body(&pool);
    running.store(false, Ordering::Release);
    heist::try_join_all(yields).unwrap();
    assert_balanced(&pool);
}

#[test]
fn futures_that_yield_forever_do_not_starve_others() {
    watched(|| {
        for busy in [1, 2 * threads()] {
            beside_yields(busy, |pool| {
                // Who waits outside the pool.
                let (promise, handle) = heist::promise();
                let other = std::thread::spawn(move || promise.resolve(1).unwrap());
                assert_eq!(block_on(handle).unwrap(), 1);
                other.join().unwrap();
                // A future that waits for a thread outside, and one that waits for that future.
                let (promise, handle) = heist::promise();
                let first = pool.submit_async(async move { handle.await.unwrap() + 1 });
                let second = pool.submit_async(async move { first.await.unwrap() + 1 });
                let other = std::thread::spawn(move || promise.resolve(1).unwrap());
                assert_eq!(second.join().unwrap(), 3);
                other.join().unwrap();
                // What another thread submits.
                let own = pool.clone();
                let other = std::thread::spawn(move || own.submit_async(async { 4 }));
                assert_eq!(other.join().unwrap().join().unwrap(), 4);
                // Time.
                pool.submit_async(heist::sleep(SOON)).join().unwrap();
                assert_eq!(pool.delay(SOON, || 5).join().unwrap(), 5);
                assert_eq!(pool.run(|| heist::join(|| 1, || 2)), (1, 2));
            });
        }
    });
}

#[test]
fn a_shutdown_ends_futures_that_yield_forever() {
    watched(|| {
        let pool = pool_with(|b| b);
        let yields: Vec<JoinHandle<()>> = (0..4)
            .map(|_| {
                pool.submit_async(async {
                    loop {
                        heist::yield_async().await;
                    }
                })
            })
            .collect();
        pool.submit_async(heist::yield_async()).join().unwrap();
        pool.shutdown_now();
        for handle in yields {
            assert!(handle.join().unwrap_err().is_cancelled());
        }
        assert_balanced(&pool);
    });
}

/// The only worker submits from within a poll and blocks until that has run: the entry must not stay with the worker.
#[test]
fn a_future_blocks_for_what_it_has_submitted() {
    on_pool_of(1, |pool| {
        for _ in 0..100 {
            let outer = pool.submit_async(async {
                let inner = heist::submit_async(async {
                    heist::yield_async().await;
                    1
                });
                block_on(inner).unwrap()
            });
            assert_eq!(outer.join().unwrap(), 1);
        }
    });
}
