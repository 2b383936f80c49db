//! Gates at which tasks stand until a test opens them.

use heist::ThreadPool;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

/// Closed until it is opened. Clones are the same gate.
#[derive(Clone, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    /// Lets everybody through, now and later.
    pub fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    /// Stands until it is open.
    pub fn pass(&self) {
        let open = self.0.0.lock().unwrap();
        drop(self.0.1.wait_while(open, |open| !*open).unwrap());
    }
}

/// Opens its gate when dropped, also when the test fails.
#[derive(Default)]
pub struct Held(pub Gate);

impl Held {
    /// Lets them go.
    pub fn open(&self) {
        self.0.open();
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.open();
    }
}

/// Every worker of the pool stands at a gate, in a task of its own.
pub fn hold_all(pool: &ThreadPool) -> Held {
    hold(pool, pool.num_threads())
}

/// So many workers of the pool do.
pub fn hold(pool: &ThreadPool, workers: usize) -> Held {
    let (gate, standing) = (Gate::default(), Arc::new(AtomicUsize::new(0)));
    // One at a time: the queue may hold no more.
    for n in 1..=workers {
        let (gate, count) = (gate.clone(), Arc::clone(&standing));
        pool.spawn(move || {
            count.fetch_add(1, Ordering::Release);
            gate.pass();
        });
        super::spin_until(|| standing.load(Ordering::Acquire) == n);
    }
    Held(gate)
}
