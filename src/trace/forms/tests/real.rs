//! Traces of real pools.

use super::page::{block, facts};
use crate::trace::Trace;
use crate::trace::forms::analysis::Analysis;
use crate::trace::forms::perfetto;
use crate::trace::forms::slices::{SliceKind, lay_out};
use crate::{ThreadPool, join};
use std::time::Duration;

fn fib(n: u64) -> u64 {
    if n < 2 {
        return n;
    }
    let (a, b) = join(|| fib(n - 1), || fib(n - 2));
    a + b
}

/// A pool that has run tasks, a scope, joins and a task that panics.
fn traced(threads: usize) -> Trace {
    let settings = Trace::last(Duration::MAX).max_bytes(8 << 20);
    let pool = ThreadPool::builder().num_threads(threads).trace(settings);
    let pool = pool.build().expect("a pool for the test");
    let handles: Vec<_> = (0..50)
        .map(|n| pool.task().name("a task").submit(move || fib(n % 15)))
        .collect();
    pool.scope(|scope| {
        for _ in 0..50 {
            scope.spawn(|_| {
                fib(10);
            });
        }
    });
    for handle in handles {
        handle.join().expect("the task returns");
    }
    assert!(
        pool.submit(|| -> () { panic!("on purpose") })
            .join()
            .is_err()
    );
    pool.wait_idle();
    pool.trace()
}

#[test]
fn every_form_shows_what_a_real_pool_did() {
    for threads in [1, 2, 8] {
        let trace = traced(threads);
        assert_eq!(trace.lost(), 0);
        let found = Analysis::of(&trace);
        let panicked: u64 = found.rows.iter().map(|row| row.panicked).sum();
        assert_eq!(panicked, 1);
        assert_eq!(
            found.waits.count,
            51 + 50 * u64::from(found.waits.count > 51)
        );
        for track in &trace.tracks {
            let lane = lay_out(track, trace.taken);
            assert!(lane.slices.is_sorted_by_key(|slice| slice.begin));
            let begun = lane.slices.iter().filter(|slice| slice.headless);
            assert_eq!(
                begun
                    .filter(|slice| matches!(slice.kind, SliceKind::Run(_)))
                    .count(),
                0
            );
        }
        let page = trace.to_html();
        let facts = facts(&page);
        assert_eq!(facts["totals"]["submitted"], 101);
        assert_eq!(facts["totals"]["failed"], 1);
        assert!(!block(&page, "events").is_empty());
        assert!(trace.to_folded().contains(";a task"));
        let mut bytes = Vec::new();
        perfetto::write(&trace, &mut bytes).expect("a vector takes all");
        assert_eq!(bytes, trace.to_perfetto());
        assert!(
            trace
                .to_string()
                .contains("101 submitted: 100 completed, 1 failed"),
            "{trace}"
        );
    }
}
