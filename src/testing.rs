//! Helpers of the models of several modules.

/// Runs a loom model with the preemption bound `HEIST_LOOM_BOUND` (2 by default), and prints the number of executions. With
/// `LOOM_MAX_DURATION`, in seconds, it may end before it has tried all, and prints that too.
#[cfg(heist_loom)]
pub(crate) fn model(body: impl Fn() + Sync + Send + 'static) {
    explore(2, body);
}

/// Runs a small loom model, with a preemption bound of at least 3.
#[cfg(heist_loom)]
pub(crate) fn small_model(body: impl Fn() + Sync + Send + 'static) {
    explore(3, body);
}

/// Runs a loom model of few operations, with a preemption bound of at least 3, in which threads change at fences too.
#[cfg(heist_loom)]
pub(crate) fn sharp_model(body: impl Fn() + Sync + Send + 'static) {
    explore(3, move || {
        crate::sync::model::switch_at_fences(true);
        body();
    });
}

#[cfg(heist_loom)]
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
    // The number of executions between two looks at the clock.
    builder.checkpoint_interval = 1_000;
    let limit = builder.max_duration;
    let executions = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&executions);
    let start = std::time::Instant::now();
    builder.check(move || {
        crate::sync::model::switch_at_fences(false);
        crate::sync::model::set_parts(1);
        count.fetch_add(1, Ordering::Relaxed);
        body();
    });
    let took = start.elapsed();
    println!(
        "loom: {} executions at preemption bound {bound} in {:.1} s{}",
        executions.load(Ordering::Relaxed),
        took.as_secs_f64(),
        if limit.is_some_and(|limit| took >= limit) {
            ", NOT ALL"
        } else {
            ""
        }
    );
}

/// A place in memory that is not atomic. Loom fails a model in which two threads access it without order.
#[cfg(heist_loom)]
#[derive(Debug, Default)]
pub(crate) struct Place<T>(loom::cell::UnsafeCell<T>);

// SAFETY: `set` and `get` are the only accesses, and loom fails the model if two of them race.
#[cfg(heist_loom)]
unsafe impl<T: Send> Sync for Place<T> {}

#[cfg(heist_loom)]
impl<T: Copy> Place<T> {
    pub(crate) fn set(&self, value: T) {
        // SAFETY: loom fails the model if another thread accesses the place at the same time.
        self.0.with_mut(|place| unsafe { *place = value });
    }

    pub(crate) fn get(&self) -> T {
        // SAFETY: loom fails the model if another thread writes to the place at the same time.
        self.0.with(|place| unsafe { *place })
    }
}

/// The situations that a model has reached, over all of its executions.
#[cfg(heist_loom)]
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen(std::sync::Arc<std::sync::Mutex<std::collections::BTreeSet<&'static str>>>);

#[cfg(heist_loom)]
impl Seen {
    pub(crate) fn mark(&self, what: &'static str) {
        self.0.lock().expect("no panic inside").insert(what);
    }

    /// Fails if the model has never reached one of these situations, in which case it proves less than it claims. Called after the model. A model
    /// whose time is limited need not reach them all.
    pub(crate) fn check(&self, all: &[&'static str]) {
        if std::env::var_os("LOOM_MAX_DURATION").is_some() {
            return;
        }
        let seen = self.0.lock().expect("no panic inside");
        for what in all {
            assert!(seen.contains(what), "no execution reached: {what}");
        }
    }
}
