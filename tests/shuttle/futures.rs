//! Programs of futures, beside closures, joins and calls that block. Each checks its own results, that every future is dropped once, and the totals of its pools.

use crate::programs::{add, beside, ended, fib, pool, settled, workers};
use heist::{AsyncPool, CancelToken, JoinHandle, JoinSet, Semaphore, ThreadPool, WhenFull};
use shuttle::sync::atomic::{AtomicUsize, Ordering};
use shuttle::sync::{Arc, Mutex, mpsc};
use shuttle::thread;
use std::collections::VecDeque;
use std::future::{Future, pending, poll_fn};
use std::task::{Poll, Waker};
use std::time::Duration;

const SOON: Duration = Duration::from_micros(30);

// ---- what futures wait for ----

/// A channel with one receiver, which is a future.
struct Channel<T>(Arc<Mutex<(VecDeque<T>, Option<Waker>)>>);

impl<T> Clone for Channel<T> {
    fn clone(&self) -> Self {
        Channel(Arc::clone(&self.0))
    }
}

impl<T> Channel<T> {
    fn new() -> Self {
        Channel(Arc::new(Mutex::new((VecDeque::new(), None))))
    }

    fn send(&self, message: T) {
        let mut inner = self.0.lock().expect("no panic");
        inner.0.push_back(message);
        let waker = inner.1.take();
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn receive(&self) -> impl Future<Output = T> {
        poll_fn(|context| {
            let mut inner = self.0.lock().expect("no panic");
            match inner.0.pop_front() {
                Some(message) => Poll::Ready(message),
                None => {
                    inner.1 = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
    }
}

/// A bell that threads ring. Each ring is counted, then wakes whoever listens.
#[derive(Clone, Default)]
struct Bell(Arc<Ringing>);

#[derive(Default)]
struct Ringing {
    rings: AtomicUsize,
    waker: Mutex<Option<Waker>>,
    polls: AtomicUsize,
}

impl Bell {
    fn ring(&self) {
        add(&self.0.rings);
        // The waker stays for further rings.
        let waker = self.0.waker.lock().expect("no panic").clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Is ready once the bell has rung so often. Each poll checks that it is the only one at that time.
    fn heard(&self, count: usize) -> impl Future<Output = usize> + Send + use<> {
        let bell = self.clone();
        poll_fn(move |context| {
            let others = bell.0.polls.fetch_add(1, Ordering::Relaxed);
            assert_eq!(others, 0, "two polls at a time");
            *bell.0.waker.lock().expect("no panic") = Some(context.waker().clone());
            let rings = bell.0.rings.load(Ordering::Relaxed);
            bell.0.polls.fetch_sub(1, Ordering::Relaxed);
            match rings >= count {
                true => Poll::Ready(rings),
                false => Poll::Pending,
            }
        })
    }

    /// A thread outside all pools that rings.
    fn ringer(&self, count: usize) -> thread::JoinHandle<()> {
        let bell = self.clone();
        thread::spawn(move || (0..count).for_each(|_| bell.ring()))
    }
}

/// A value in a future. It counts its drop.
struct Held(Arc<AtomicUsize>);

impl Drop for Held {
    fn drop(&mut self) {
        add(&self.0);
    }
}

/// Counts the drops of the values that it gives out.
#[derive(Default)]
struct Drops {
    made: usize,
    dropped: Arc<AtomicUsize>,
}

impl Drops {
    fn held(&mut self) -> Held {
        self.made += 1;
        Held(Arc::clone(&self.dropped))
    }

    /// Checks that all values have been dropped.
    #[track_caller]
    fn settled(&self) {
        assert_eq!(self.dropped.load(Ordering::Relaxed), self.made);
    }
}

/// A future that holds a value while it waits for the bell.
async fn hears(bell: Bell, count: usize, held: Held) -> usize {
    let heard = bell.heard(count).await;
    drop(held);
    heard
}

// ---- the programs ----

/// Closures join futures that await closures, on workers, on a guest, and on a thread outside.
pub fn futures_and_joins() {
    // Three threads wait for futures, and poll no others meanwhile.
    let pool = workers(2).spare_threads(2).build().expect("a pool");
    let other = beside(&pool, |pool| {
        let inner = pool.clone();
        let handle = pool.submit(move || {
            let closure = inner.submit(|| fib(3));
            let future = inner.submit_async(async move {
                heist::yield_async().await;
                closure.await.expect("it runs")
            });
            let (sum, future) = heist::join(|| fib(2), || future.join().expect("it is polled"));
            sum + future
        });
        assert_eq!(handle.join().expect("it runs"), 3);
    });
    let (a, b) = (Channel::new(), Channel::new());
    let (sender, receiver) = (b.clone(), a.clone());
    let future = pool.submit_async(async move {
        sender.send(1);
        receiver.receive().await + 1
    });
    let own = pool.clone();
    let joined = pool.submit(move || own.install(|| future.join().expect("it is polled")));
    let replied = pool.submit_async(async move { a.send(b.receive().await + 1) });
    assert_eq!(
        pool.install(|| joined.join().expect("it runs")),
        3,
        "1, 2, then 3"
    );
    replied.join().expect("it is polled");
    other.join().expect("no panic");
    pool.wait_idle();
    settled(&pool);
}

/// A message goes to and fro between two futures, of one pool and of two.
pub fn futures_that_wake_each_other() {
    let (left, right) = (pool(2), pool(1));
    for there in [&left, &right] {
        let (a, b) = (Channel::new(), Channel::new());
        let (back, forth) = (a.clone(), b.clone());
        let first = left.submit_async(async move {
            let mut last = 0;
            for n in 0..3 {
                forth.send(n);
                last = back.receive().await;
            }
            last
        });
        let second = there.submit_async(async move {
            for _ in 0..3 {
                let n = b.receive().await;
                a.send(n + 1);
            }
        });
        assert_eq!(first.join().expect("it is polled"), 3);
        second.join().expect("it is polled");
    }
    for pool in [left, right] {
        pool.wait_idle();
        assert_eq!(pool.stats().suspended, 0);
        settled(&pool);
    }
}

/// Two threads outside wake a future while it is polled. No ring is missed, and no poll is entered twice.
pub fn wakes_against_polls() {
    let pool = pool(2);
    let mut drops = Drops::default();
    let bell = Bell::default();
    let handle = pool.submit_async(hears(bell.clone(), 4, drops.held()));
    let ringers = [bell.ringer(2), bell.ringer(2)];
    assert_eq!(handle.join().expect("it is polled"), 4);
    drops.settled();
    for ringer in ringers {
        ringer.join().expect("no panic");
    }
    pool.wait_idle();
    settled(&pool);
}

pub fn wakes_against_cancels() {
    let pool = pool(2);
    let mut drops = Drops::default();
    let (bell, token) = (Bell::default(), CancelToken::new());
    let first = pool.submit_async(hears(bell.clone(), 2, drops.held()));
    let second = {
        let (bell, held) = (Bell::default(), drops.held());
        let future = pool.task().token(&token).submit_async(async move {
            let ringer = bell.ringer(1);
            let heard = hears(bell, 1, held).await;
            ringer.join().expect("no panic");
            heard
        });
        let token = token.clone();
        (future, thread::spawn(move || token.cancel()))
    };
    let ringer = bell.ringer(2);
    let cancelled = first.cancel();
    let completed = ended(first);
    // A cancel during the last poll comes too late.
    assert!(cancelled || completed);
    ended(second.0);
    drops.settled();
    ringer.join().expect("no panic");
    second.1.join().expect("no panic");
    pool.wait_idle();
    settled(&pool);
}

/// Futures in each state while their pool ends. `end` consumes the only handle.
fn wakes_against_an_end(may_cancel: bool, end: fn(ThreadPool) -> Option<ThreadPool>) {
    let pool = pool(2);
    let mut drops = Drops::default();
    let bells: [Bell; 2] = Default::default();
    let handles: Vec<JoinHandle<usize>> = bells
        .iter()
        .map(|bell| pool.submit_async(hears(bell.clone(), 1, drops.held())))
        .collect();
    let held = drops.held();
    pool.spawn_async(async move {
        heist::yield_async().await;
        drop(held);
    });
    let closure = pool.submit(|| fib(2) as usize);
    let ringers: Vec<_> = bells.iter().map(|bell| bell.ringer(1)).collect();
    let ended_pool = end(pool);
    for handle in handles.into_iter().chain([closure]) {
        let completed = ended(handle);
        assert!(may_cancel || completed);
    }
    for ringer in ringers {
        ringer.join().expect("no panic");
    }
    if let Some(pool) = ended_pool {
        // A thread that has woken a future counts that a moment later.
        assert_eq!(pool.stats().suspended, 0);
        settled(&pool);
    }
    // The wakers that are left outlive the pool.
    bells.iter().for_each(Bell::ring);
    drop(bells);
    drops.settled();
}

pub fn wakes_against_a_shutdown() {
    wakes_against_an_end(false, |pool| {
        let other = beside(&pool, |pool| pool.shutdown());
        pool.shutdown();
        settled(&pool);
        other.join().expect("no panic");
        Some(pool)
    });
}

pub fn wakes_against_shutdown_now() {
    wakes_against_an_end(true, |pool| {
        pool.shutdown_now();
        settled(&pool);
        Some(pool)
    });
}

pub fn wakes_against_a_drop_of_the_pool() {
    wakes_against_an_end(false, |pool| {
        drop(pool);
        None
    });
}

pub fn wakes_against_deadlines() {
    let pool = pool(1);
    let mut drops = Drops::default();
    let bell = Bell::default();
    let task = pool.task().deadline(SOON);
    let handle = task.submit_async(hears(bell.clone(), 2, drops.held()));
    let never = {
        let held = drops.held();
        pool.task().deadline(SOON).submit_async(async move {
            pending::<()>().await;
            drop(held);
        })
    };
    let ringer = bell.ringer(2);
    ended(handle);
    assert!(never.join().expect_err("it never ends").is_timeout());
    ringer.join().expect("no panic");
    pool.shutdown();
    // The handle of a future with a deadline does not wait for its drop.
    drops.settled();
    settled(&pool);
}

/// Counts who is inside.
struct Inside(Arc<AtomicUsize>);

impl Inside {
    fn enter(count: &Arc<AtomicUsize>, limit: usize) -> Inside {
        let others = count.fetch_add(1, Ordering::Relaxed);
        assert!(others < limit, "{others} others");
        Inside(Arc::clone(count))
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

pub fn permits_and_cancels() {
    let pool = pool(2);
    let (semaphore, inside) = (Semaphore::new(1), Arc::new(AtomicUsize::new(0)));
    let handles: Vec<_> = (0..3)
        .map(|_| {
            let (semaphore, inside) = (semaphore.clone(), Arc::clone(&inside));
            pool.submit_async(async move {
                let _permit = semaphore.acquire().await;
                let _inside = Inside::enter(&inside, 1);
                heist::yield_async().await;
            })
        })
        .collect();
    let (blocks, count) = (semaphore.clone(), Arc::clone(&inside));
    let other = thread::spawn(move || {
        let _permit = blocks.acquire_blocking();
        drop(Inside::enter(&count, 1));
    });
    let (asks, count) = (semaphore.clone(), Arc::clone(&inside));
    let closure = pool.submit(move || {
        drop(asks.acquire());
        let permit = asks.try_acquire();
        permit.is_some().then(|| drop(Inside::enter(&count, 1)));
    });
    handles[1].cancel();
    for handle in handles {
        ended(handle);
    }
    closure.join().expect("it runs");
    other.join().expect("no panic");
    assert_eq!((semaphore.available(), semaphore.waiting()), (1, 0));
    pool.wait_idle();
    settled(&pool);
}

pub fn a_limited_pool() {
    let threads = pool(2);
    let limited = AsyncPool::new(&threads, 2);
    let inside = Arc::new(AtomicUsize::new(0));
    let mut drops = Drops::default();
    let handles: Vec<_> = (0..4)
        .map(|n| {
            let (inside, held) = (Arc::clone(&inside), drops.held());
            limited.submit(async move {
                let _held = held;
                let _inside = Inside::enter(&inside, 2);
                heist::yield_async().await;
                if n == 2 {
                    std::panic::resume_unwind(Box::new("part of the program"));
                }
                n
            })
        })
        .collect();
    let (idle, inner) = (limited.clone(), limited.clone());
    let other = thread::spawn(move || idle.wait_idle_blocking());
    // It submits to its own pool from a worker.
    let outer = threads.submit_async(async move { inner.submit_with(|| async { 7 }).await });
    handles[1].cancel();
    for (n, handle) in handles.into_iter().enumerate() {
        match handle.join() {
            Ok(value) => assert!(value == n && n != 2),
            Err(error) => assert!(error.is_panic() && n == 2 || error.is_cancelled() && n == 1),
        }
    }
    drops.settled();
    let inner = outer.join().expect("it is polled");
    assert_eq!(inner.expect("it is polled"), 7);
    heist::block_on(limited.wait_idle());
    assert_eq!((limited.pending(), limited.active()), (0, 0));
    other.join().expect("no panic");
    threads.wait_idle();
    settled(&threads);
}

/// A thread blocks until a task or a fork of its own pool has run. The only other thread is a spare.
pub fn blocking_beside_joins() {
    let pool = workers(1).build().expect("a pool");
    let other = beside(&pool, |pool| assert_eq!(pool.install(|| fib(4)), 3));
    let (sender, receiver) = mpsc::channel();
    let blocked = pool.submit(move || heist::blocking(|| receiver.recv().expect("a message")));
    pool.spawn(move || sender.send(fib(3)).expect("it is received"));
    assert_eq!(blocked.join().expect("it runs"), 2);
    let (sender, receiver) = mpsc::channel();
    let blocked = pool.submit_async(async move {
        heist::yield_async().await;
        heist::blocking(|| receiver.recv().expect("a message"))
    });
    pool.spawn_async(async move { sender.send(1).expect("it is received") });
    assert_eq!(blocked.join().expect("it is polled"), 1);
    let (sender, receiver) = mpsc::channel();
    let forked = pool.run(|| {
        heist::join(
            || heist::blocking(|| receiver.recv().expect("a message")),
            || sender.send(3).expect("it is received"),
        )
    });
    assert_eq!(forked.0, 3);
    other.join().expect("no panic");
    pool.wait_idle();
    settled(&pool);
}

/// Scopes of a guest and of a worker, whose futures borrow from their frames.
pub fn scopes_of_futures() {
    fn body(pool: &ThreadPool) {
        let mut drops = Drops::default();
        let numbers = [1, 2, 3];
        let sum = AtomicUsize::new(0);
        let (channel, bell) = (Channel::new(), Bell::default());
        let ringer = bell.ringer(1);
        let (first, second) = (drops.held(), drops.held());
        let got = pool.scope(|s| {
            let closure = s.submit(|_| numbers[0]);
            let receiver = s.submit_async(async {
                let _held = first;
                channel.receive().await + closure.await.expect("it runs")
            });
            drop(s.submit_async(async {
                heist::yield_async().await;
                channel.send(numbers[1]);
                bell.heard(1).await;
                sum.fetch_add(numbers[2], Ordering::Relaxed);
            }));
            let never = s.submit_async(async {
                let _held = second;
                pending::<()>().await;
            });
            assert!(never.cancel());
            drop(never);
            s.spawn(|_| add(&sum));
            receiver.join().expect("it is polled")
        });
        assert_eq!((got, sum.into_inner()), (3, 4));
        drops.settled();
        ringer.join().expect("no panic");
    }
    let pool = pool(2);
    let other = beside(&pool, |pool| {
        let inner = pool.clone();
        pool.run(move || body(&inner));
    });
    body(&pool);
    other.join().expect("no panic");
    pool.wait_idle();
    settled(&pool);
}

/// A thread outside wakes a scope's future while it is polled, while it is cancelled, and when the scope has ended.
pub fn a_waker_outlives_its_scope() {
    let pool = pool(2);
    let mut drops = Drops::default();
    let bell = Bell::default();
    let ringer = bell.ringer(3);
    for cancelled in [false, true] {
        let held = drops.held();
        let result = pool.scope(|s| {
            let future = s.submit_async(async {
                let _held = &held;
                bell.heard(1).await
            });
            if cancelled {
                future.cancel();
            }
            future.join()
        });
        drop(held);
        match result {
            Ok(heard) => assert!(heard >= 1),
            Err(error) => assert!(error.is_cancelled() && cancelled),
        }
    }
    ringer.join().expect("no panic");
    bell.ring();
    drops.settled();
    pool.wait_idle();
    settled(&pool);
}

pub fn sleeps_and_time_limits() {
    let pool = pool(2);
    let mut drops = Drops::default();
    let bell = Bell::default();
    let ringer = bell.ringer(1);
    let (held, other) = (drops.held(), drops.held());
    let limited = pool.submit_async(async move {
        heist::sleep(SOON).await;
        let heard = heist::timeout(SOON, hears(bell, 1, held)).await;
        let never = heist::timeout(SOON, pending::<()>()).await;
        assert!(never.is_err());
        heard.is_ok()
    });
    let cancelled = pool.submit_async(heist::sleep(Duration::MAX));
    let late = pool.delay(SOON, move || drop(other));
    assert!(cancelled.cancel());
    assert!(!ended(cancelled));
    limited.join().expect("it is polled");
    late.join().expect("it runs");
    drops.settled();
    ringer.join().expect("no panic");
    pool.wait_idle();
    settled(&pool);
}

/// A closure that runs repeatedly is cancelled, stops by its panic, or ends with its pool.
pub fn repeated_closures() {
    for way in 0..3 {
        let pool = pool(1);
        let mut drops = Drops::default();
        let held = drops.held();
        let (sender, receiver) = mpsc::channel();
        let mut left = 2;
        let every = pool.every(SOON, move || {
            let _ = &held;
            if left == 0 {
                std::panic::resume_unwind(Box::new("no more"));
            }
            left -= 1;
            let _ = sender.send(());
        });
        assert_eq!(pool.run(|| fib(3)), 2);
        let _ = receiver.recv();
        if way == 0 {
            every.cancel();
        }
        if way == 1 {
            pool.shutdown();
        }
        let error = every.join();
        assert!(error.is_panic() || error.is_cancelled() && way < 2);
        drops.settled();
        pool.wait_idle();
        settled(&pool);
    }
}

/// Promises, continuations, sets and guards inside futures.
pub fn continuations_and_sets() {
    let pool = pool(2);
    let (promise, promised) = heist::promise();
    let own = pool.clone();
    let sums = pool.submit_async(async move {
        let mut set = JoinSet::new(&own);
        set.spawn(|| 1);
        set.insert(own.submit_async(async { 2 }));
        set.insert(promised);
        let mut sum = 0;
        while let Some(result) = set.next().await {
            sum += result.expect("a value");
        }
        sum
    });
    let other = thread::spawn(move || promise.resolve(4).expect("it waits"));
    let doubled = sums.then(|sum| sum.expect("a value") * 2);
    let chain = doubled.then(|value| value.expect("it runs") + 1);
    let never = pool.submit_async(pending::<()>()).abort_on_drop();
    let own = pool.clone();
    let handles = vec![pool.submit(|| 7), pool.submit_async(async { 7 })];
    let firsts = pool.submit(move || {
        let first = heist::first_finished(handles).expect("two handles");
        let mut all = heist::as_completed([own.submit(|| 1), own.submit_async(async { 1 })]);
        let mut count = 0;
        heist::block_on(async {
            while let Some((_, value)) = all.next_async().await {
                count += value.expect("a value");
            }
        });
        first.1.expect("a value") + count
    });
    assert_eq!(chain.join().expect("it runs"), 15);
    assert_eq!(firsts.join().expect("it runs"), 9);
    drop(never);
    other.join().expect("no panic");
    pool.shutdown();
    settled(&pool);
}

/// Threads outside, guests and workers that wait for futures in place.
pub fn threads_that_block_on_futures() {
    let pool = pool(2);
    let bell = Bell::default();
    let channel = Channel::new();
    let (sender, other_bell) = (channel.clone(), bell.clone());
    let other = beside(&pool, move |pool| {
        pool.install(|| assert_eq!(heist::block_on(channel.receive()), 2));
        let handle = pool.submit(move || heist::block_on(other_bell.heard(2)));
        assert!(handle.join().expect("it runs") >= 2);
    });
    let handle = pool.submit_async(async move {
        heist::yield_async().await;
        sender.send(2);
    });
    let ringer = bell.ringer(2);
    let waiting = async { handle.await.expect("it is polled") };
    heist::block_on(waiting);
    ringer.join().expect("no panic");
    other.join().expect("no panic");
    pool.wait_idle();
    settled(&pool);
}

pub fn futures_in_full_queues() {
    for when_full in [WhenFull::Block, WhenFull::Reject, WhenFull::CallerRuns] {
        let pool = workers(1)
            .queue_capacity(1)
            .when_full(when_full)
            .build()
            .expect("a pool");
        let mut drops = Drops::default();
        let held = [drops.held(), drops.held()];
        let other = beside(&pool, move |pool| {
            let handles = held.map(|held| {
                pool.submit_async(async move {
                    heist::yield_async().await;
                    drop(held);
                })
            });
            for handle in handles {
                assert!(ended(handle) || when_full == WhenFull::Reject);
            }
        });
        let own = pool.clone();
        let beyond = pool.submit(move || own.submit_async(async { 3 }));
        let bell = Bell::default();
        let ringer = bell.ringer(1);
        let handle = pool.submit_async(hears(bell, 1, drops.held()));
        ended(handle);
        match beyond.join() {
            Ok(inner) => assert_eq!(inner.join().expect("workers are never refused"), 3),
            Err(error) => assert!(error.is_cancelled(), "{error}"),
        }
        ringer.join().expect("no panic");
        other.join().expect("no panic");
        pool.wait_idle();
        drops.settled();
        settled(&pool);
    }
}

pub fn futures_while_the_pool_is_resized() {
    let pool = pool(1);
    let other = beside(&pool, |pool| {
        for count in [3, 1, 2] {
            pool.set_num_threads(count);
        }
    });
    let mut drops = Drops::default();
    let bells: [Bell; 2] = Default::default();
    let handles: Vec<_> = bells
        .iter()
        .map(|bell| pool.submit_async(hears(bell.clone(), 1, drops.held())))
        .collect();
    let inner: Vec<_> = bells.to_vec();
    pool.spawn(move || inner.iter().for_each(Bell::ring));
    assert_eq!(pool.install(|| fib(4)), 3);
    for handle in handles {
        assert_eq!(handle.join().expect("it is polled"), 1);
    }
    drops.settled();
    other.join().expect("no panic");
    pool.wait_idle();
    settled(&pool);
}
