//! Streams whose input is another stream.

use crate::support::{
    Census, Citizen, Ledger, hold_all, on_pool_of, pool_with, spin_until, threads, watched,
};
use heist::{JoinError, ThreadPool};
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

#[test]
fn a_stream_feeds_a_stream() {
    for size in [1, threads()] {
        on_pool_of(size, |pool| {
            let first = pool.imap(0..200_u64, |n| n + 1).map(Result::unwrap);
            let second = pool.imap(first, |n| n * 2).window(3).map(Result::unwrap);
            let third = pool.imap_unordered(second, |n| n).chunk(4);
            let sum: u64 = third.map(|(_, n)| n.unwrap()).sum();
            assert_eq!(sum, 200 * 201);
        });
    }
}

/// The reason why a pipeline has no result for an item.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// How an item of a pipeline ends: an error or a panic in the first stage or in the second one, or a result.
fn fate(n: usize) -> &'static str {
    match n % 8 {
        2 => "an error in the first stage",
        4 => "a panic in the first stage",
        5 => "an error in the second stage",
        7 => "a panic in the second stage",
        _ => "fine",
    }
}

/// The first stage of a pipeline, whose items fail by number.
fn first_stage(citizen: Citizen, n: usize) -> Result<(Citizen, usize), Failure> {
    match fate(n) {
        "an error in the first stage" => Err("an error in the first stage".into()),
        "a panic in the first stage" => panic!("a panic in the first stage"),
        _ => Ok((citizen, n)),
    }
}

/// The second stage of a pipeline, which passes the errors of the first one on.
fn second_stage(
    given: Result<Result<(Citizen, usize), Failure>, JoinError>,
) -> Result<(Citizen, usize), Failure> {
    let (citizen, n) = given??;
    match fate(n) {
        "an error in the second stage" => Err("an error in the second stage".into()),
        "a panic in the second stage" => panic!("a panic in the second stage"),
        _ => Ok((citizen, n)),
    }
}

/// Checks a pipeline that is dropped after `taken` results, with these windows and chunks of its stages.
fn pipeline(pool: &ThreadPool, stays: bool, windows: [usize; 2], chunk: usize, taken: usize) {
    let census = Arc::new(Census::default());
    let (book, pulled) = (Arc::clone(&census), Cell::new(0));
    let input = (0..200).map(|n| {
        pulled.set(pulled.get() + 1);
        (Citizen::new(&book), n)
    });
    let first = pool.imap(input, |(citizen, n)| first_stage(citizen, n));
    let first = first.window(windows[0]).chunk(chunk);
    let first = if stays { first.on_workers() } else { first };
    let second = pool
        .imap(first, second_stage)
        .window(windows[1])
        .chunk(chunk);
    let mut second = if stays { second.on_workers() } else { second };
    for (n, outcome) in second.by_ref().take(taken).enumerate() {
        // The failures of both stages, in the places of their items.
        let outcome = outcome.map_err(Failure::from).and_then(|outcome| outcome);
        match outcome {
            Ok((_, index)) => assert!(index == n && fate(n) == "fine"),
            Err(failure) => {
                let text = failure.to_string();
                assert!(text.ends_with(fate(n)), "{n}: {text}");
            }
        }
        let most = n + 1 + windows[0] + windows[1];
        assert!(
            pulled.get() <= most,
            "{} pulled, {n} given out",
            pulled.get()
        );
    }
    let most = census.most.load(Ordering::Relaxed);
    // The result that was just returned counts too.
    assert!(most <= windows[0] + windows[1] + 1, "{most} alive");
    drop(second);
    // Items that run on other threads end.
    spin_until(|| census.alive.load(Ordering::Relaxed) == 0);
    assert!(pulled.get() <= taken + windows[0] + windows[1]);
}

#[test]
fn a_stream_feeds_a_stream_and_passes_errors_on_in_order() {
    watched(|| {
        for size in [1, threads()] {
            let pool = pool_with(|b| b.num_threads(size));
            for stays in [false, true] {
                for (windows, chunk) in [([1, 1], 1), ([3, 2], 1), ([2, 5], 1), ([6, 4], 2)] {
                    for taken in [0, 1, 50, 200] {
                        pipeline(&pool, stays, windows, chunk, taken);
                        let own = pool.clone();
                        let inside = move || pipeline(&own, stays, windows, chunk, taken);
                        pool.submit(inside).join().unwrap();
                    }
                }
            }
        }
    });
}

#[test]
fn the_drop_of_a_pipelines_end_cancels_what_has_not_begun_in_both_stages() {
    watched(|| {
        let pool = pool_with(|b| b);
        let held = hold_all(&pool);
        let ran = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
        let (one, two) = (Arc::clone(&ran), Arc::clone(&ran));
        let ledger = Ledger::new(100);
        let before = pool.stats();
        let first = pool.imap(ledger.tickets(), move |ticket| {
            one[0].fetch_add(1, Ordering::Relaxed);
            ticket
        });
        let mut second = pool
            .imap(first.window(4), move |ticket| {
                two[1].fetch_add(1, Ordering::Relaxed);
                ticket
            })
            .window(3);
        // The consumer runs three items of the first stage and one of the second.
        drop(second.next().unwrap().unwrap().unwrap());
        drop(second);
        assert_eq!(ledger.dropped(), 100);
        let cancelled = pool.stats().cancelled - before.cancelled;
        assert_eq!(
            cancelled,
            3 + 2,
            "three of four of the first stage, two of the second"
        );
        held.open();
        pool.wait_idle();
        assert_eq!([0, 1].map(|n| ran[n].load(Ordering::Relaxed)), [3, 1]);
        ledger.assert_settled();
    });
}
