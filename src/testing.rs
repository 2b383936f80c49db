//! What the crate's own tests share.

/// Runs a loom model with the preemption bound of `HEIST_LOOM_BOUND` (2 by default), and says how many executions it took.
#[cfg(loom)]
pub(crate) fn model(body: impl Fn() + Sync + Send + 'static) {
    explore(2, body);
}

/// The same for a small model: with a bound of 3 at least.
#[cfg(loom)]
pub(crate) fn small_model(body: impl Fn() + Sync + Send + 'static) {
    explore(3, body);
}

#[cfg(loom)]
fn explore(least: usize, body: impl Fn() + Sync + Send + 'static) {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    let asked = std::env::var("HEIST_LOOM_BOUND")
        .ok()
        .and_then(|value| value.parse().ok());
    let bound = least.max(asked.unwrap_or(least));
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(bound);
    builder.max_branches = 100_000;
    let executions = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&executions);
    let start = std::time::Instant::now();
    builder.check(move || {
        count.fetch_add(1, Ordering::Relaxed);
        body();
    });
    println!(
        "loom: {} executions at preemption bound {bound} in {:.1} s",
        executions.load(Ordering::Relaxed),
        start.elapsed().as_secs_f64()
    );
}
