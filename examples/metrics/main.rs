//! Hands the figures of a pool to the crate `metrics`, whose exporter then prints them for Prometheus. With the argument `text`, heist prints them itself,
//! which needs no other crate and has the histograms.
//!
//! ```text
//! cargo run --example metrics
//! cargo run --example metrics text
//! ```

use heist::{PoolStats, ThreadPool, Timing};
use std::error::Error;

/// Hands the figures to the recorder of the program. Call it every few seconds, for example by [`ThreadPool::every`].
fn publish(stats: &PoolStats) {
    metrics::counter!("tasks_submitted_total").absolute(stats.submitted);
    metrics::counter!("tasks_completed_total").absolute(stats.completed);
    metrics::counter!("tasks_failed_total").absolute(stats.failed);
    metrics::counter!("steals_total").absolute(stats.steals);
    metrics::gauge!("queue_depth").set(stats.queued as f64);
    metrics::gauge!("busy_seconds").set(stats.busy.as_secs_f64());
    for (name, q) in [("p50", 0.5), ("p99", 0.99)] {
        let wait = stats.queue_wait.quantile(q).as_secs_f64();
        metrics::gauge!("queue_wait_seconds", "quantile" => name).set(wait);
    }
}

/// Work to be measured, with a panic in it.
fn work(pool: &ThreadPool) {
    let handles = pool.submit_many((0..1_000_u64).map(|n| move || (0..n).sum::<u64>()));
    handles.into_iter().for_each(|handle| drop(handle.join()));
    pool.scope(|s| (0..100).for_each(|_| s.spawn(|_| ())));
    pool.submit(|| std::panic::resume_unwind(Box::new("counted")))
        .detach();
    pool.wait_idle();
}

fn main() -> Result<(), Box<dyn Error>> {
    let pool = ThreadPool::builder().timing(Timing::All).build()?;
    if std::env::args().nth(1).as_deref() == Some("text") {
        work(&pool);
        let mut text = String::new();
        // Any text can be a label's value, and any text can be its name.
        let labels = [
            ("pool", "main"),
            ("path", "C:\\temp\n\"x\""),
            ("le", "own"),
            ("9 lives", "é"),
        ];
        pool.stats().write_prometheus(&mut text, &labels)?;
        print!("{text}");
        return Ok(());
    }
    let exporter = metrics_exporter_prometheus::PrometheusBuilder::new().install_recorder()?;
    work(&pool);
    publish(&pool.stats());
    print!("{}", exporter.render());
    Ok(())
}
