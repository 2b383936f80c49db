//! What the crate's own tests share.

/// Runs a loom model with the preemption bound of `HEIST_LOOM_BOUND` (2 by default), and says how many executions it took. With
/// `LOOM_MAX_DURATION`, in seconds, it may end before it has seen all, and says that too.
#[cfg(loom)]
pub(crate) fn model(body: impl Fn() + Sync + Send + 'static) {
    explore(2, body);
}

/// The same for a small model: with a bound of 3 at least.
#[cfg(loom)]
pub(crate) fn small_model(body: impl Fn() + Sync + Send + 'static) {
    explore(3, body);
}

/// The same for a few operations: threads change at fences too.
#[cfg(loom)]
pub(crate) fn sharp_model(body: impl Fn() + Sync + Send + 'static) {
    explore(3, move || {
        crate::sync::model::switch_at_fences(true);
        body();
    });
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
    // How often it looks whether its time is up.
    builder.checkpoint_interval = 1_000;
    let limit = builder.max_duration;
    let executions = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&executions);
    let start = std::time::Instant::now();
    builder.check(move || {
        crate::sync::model::switch_at_fences(false);
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

/// A plain place in memory, not atomic. Loom fails a model in which two threads touch it without order.
#[cfg(loom)]
#[derive(Debug, Default)]
pub(crate) struct Place<T>(loom::cell::UnsafeCell<T>);

// SAFETY: loom checks what the compiler cannot.
#[cfg(loom)]
unsafe impl<T: Send> Sync for Place<T> {}

#[cfg(loom)]
impl<T: Copy> Place<T> {
    pub(crate) fn set(&self, value: T) {
        // SAFETY: loom checks that nobody else touches the place now.
        self.0.with_mut(|place| unsafe { *place = value });
    }

    pub(crate) fn get(&self) -> T {
        // SAFETY: loom checks that nobody writes to the place now.
        self.0.with(|place| unsafe { *place })
    }
}

/// Which of the things that a model can come to it did come to, over all executions.
#[cfg(loom)]
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen(std::sync::Arc<std::sync::Mutex<std::collections::BTreeSet<&'static str>>>);

#[cfg(loom)]
impl Seen {
    pub(crate) fn mark(&self, what: &'static str) {
        self.0.lock().expect("no panic inside").insert(what);
    }

    /// After the model: fails if it never came to one of these, for then it shows less than it says. One whose time is limited may.
    pub(crate) fn check(&self, all: &[&'static str]) {
        if std::env::var_os("LOOM_MAX_DURATION").is_some() {
            return;
        }
        let seen = self.0.lock().expect("no panic inside");
        for what in all {
            assert!(seen.contains(what), "no execution came to: {what}");
        }
    }
}
