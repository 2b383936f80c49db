//! What the features `futures` and `hyper` add: `cargo test --all-features --test features`.
#![cfg(all(feature = "futures", feature = "hyper"))]

use futures::task::SpawnExt;
use futures::{StreamExt, stream};
use heist::{JoinSet, ThreadPool};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

#[test]
fn sets_and_iterators_are_streams() {
    let pool = ThreadPool::with_threads(2).unwrap();
    let handles = (0..10).map(|n| pool.submit_async(async move { n }));
    let all = heist::as_completed(handles.collect::<Vec<_>>()).into_stream();
    let mut all: Vec<_> = heist::block_on(all.map(|(_, n)| n.unwrap()).collect());
    all.sort_unstable();
    assert_eq!(all, (0..10).collect::<Vec<_>>());

    let mut set = JoinSet::new(&pool);
    for n in 0..10 {
        set.spawn(move || n);
    }
    let sum = heist::block_on(set.fold(0, |sum, n| async move { sum + n.unwrap() }));
    assert_eq!(sum, 45);
}

#[test]
fn an_iterator_that_is_a_stream_keeps_its_time_limit() {
    let (promise, handle) = heist::promise::<u32>();
    let all = heist::as_completed([handle]).timeout(Duration::from_millis(5));
    let all = all.into_stream();
    assert!(heist::block_on(all.collect::<Vec<_>>()).is_empty());
    drop(promise);
}

/// Counts how many are under way.
#[derive(Default)]
struct Gauge {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Gauge {
    async fn pass(self: Arc<Self>, n: u32) -> u32 {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        heist::sleep(Duration::from_millis(u64::from(10 - n))).await;
        self.now.fetch_sub(1, Ordering::SeqCst);
        assert_ne!(n, 7, "unlucky");
        n
    }
}

#[test]
fn a_stream_of_futures_in_both_orders() {
    let gauge = Arc::new(Gauge::default());
    let shared = Arc::clone(&gauge);
    let ordered = heist::stream_map(stream::iter(0..10), 3, move |n| Arc::clone(&shared).pass(n));
    let ordered: Vec<_> = heist::block_on(ordered.collect());
    assert!(ordered[7].as_ref().unwrap_err().is_panic());
    let values: Vec<_> = ordered.into_iter().filter_map(Result::ok).collect();
    assert_eq!(values, [0, 1, 2, 3, 4, 5, 6, 8, 9]);
    assert_eq!(gauge.most.load(Ordering::SeqCst), 3);

    let shared = Arc::clone(&gauge);
    let unordered =
        heist::stream_map_unordered(stream::iter(0..7), 3, move |n| Arc::clone(&shared).pass(n));
    let mut values: Vec<_> = heist::block_on(unordered.map(Result::unwrap).collect());
    values.sort_unstable();
    assert_eq!(values, (0..7).collect::<Vec<_>>());
    assert_eq!(gauge.most.load(Ordering::SeqCst), 3);
}

#[test]
fn a_stream_that_is_dropped_cancels_what_is_under_way() {
    let alive = Arc::new(());
    for unordered in [false, true] {
        let shared = Arc::clone(&alive);
        let wait = move |_| {
            let shared = Arc::clone(&shared);
            async move {
                std::future::pending::<()>().await;
                drop(shared);
            }
        };
        let input = stream::iter(0..5);
        let mut stream = if unordered {
            heist::stream_map_unordered(input, 2, wait).boxed_local()
        } else {
            heist::stream_map(input, 2, wait).boxed_local()
        };
        let next = heist::timeout(Duration::from_millis(5), stream.next());
        assert!(heist::block_on(next).is_err());
    }
    while Arc::strong_count(&alive) > 1 {
        std::thread::yield_now();
    }
}

#[test]
fn the_pool_is_the_executor_of_other_crates() {
    let pool = ThreadPool::with_threads(2).unwrap();
    let handle = pool.spawn_with_handle(async { 6 * 7 }).unwrap();
    assert_eq!(heist::block_on(handle), 42);
    let (sender, receiver) = std::sync::mpsc::channel();
    hyper::rt::Executor::execute(&pool, async move { sender.send(7).unwrap() });
    assert_eq!(receiver.recv(), Ok(7));
}
