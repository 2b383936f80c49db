//! Loom models of whole pools.

use super::ThreadPool;
use crate::barrier::{self, Flavour};

/// Runs `body` as the model's first thread with rings of this flavour.
pub(crate) fn model(flavour: Flavour, body: impl Fn() + Sync + Send + 'static) {
    crate::testing::model(move || {
        barrier::set_flavour(flavour);
        body();
    });
}

pub(crate) fn pool(workers: usize, spares: usize) -> ThreadPool {
    ThreadPool::builder()
        .num_threads(workers)
        .spare_threads(spares)
        .build()
        .expect("a pool of few threads")
}

#[test]
fn spawn_then_drop() {
    model(Flavour::Strict, || {
        let pool = pool(1, 0);
        pool.spawn(|| ());
        drop(pool);
    });
}

#[test]
fn join_strict() {
    model(Flavour::Strict, || {
        let pool = pool(2, 0);
        let (a, b) = {
            let _interrupted = barrier::enter_owner(0);
            pool.join(|| 1, || 2)
        };
        assert_eq!((a, b), (1, 2));
        drop(pool);
    });
}
#[test]
fn join_paired() {
    model(Flavour::Paired, || {
        let pool = pool(2, 0);
        let (a, b) = {
            let _interrupted = barrier::enter_owner(0);
            pool.join(|| 1, || 2)
        };
        assert_eq!((a, b), (1, 2));
        drop(pool);
    });
}
