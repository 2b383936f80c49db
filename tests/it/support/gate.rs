//! Gates at which tasks stand until a test opens them.

use super::spin_until;
use heist::{JoinHandle, ThreadPool};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

/// A gate that is closed until it is opened. Clones share it.
#[derive(Clone, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    /// Opens the gate for good.
    pub fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    /// Waits until the gate is open.
    pub fn pass(&self) {
        let open = self.0.0.lock().unwrap();
        drop(self.0.1.wait_while(open, |open| !*open).unwrap());
    }
}

/// A gate that opens when this is dropped, also when the test fails.
#[derive(Default)]
pub struct Held(pub Gate);

impl Held {
    /// Opens the gate.
    pub fn open(&self) {
        self.0.open();
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.open();
    }
}

/// Holds every worker of the pool at a gate, each in its own task.
pub fn hold_all(pool: &ThreadPool) -> Held {
    hold(pool, pool.num_threads())
}

/// Holds `workers` workers of the pool at a gate, each in its own task.
pub fn hold(pool: &ThreadPool, workers: usize) -> Held {
    let (gate, standing) = (Gate::default(), Arc::new(AtomicUsize::new(0)));
    // The tasks are spawned one at a time, since the queue may hold only one.
    for n in 1..=workers {
        let (gate, count) = (gate.clone(), Arc::clone(&standing));
        pool.spawn(move || {
            count.fetch_add(1, Ordering::Release);
            gate.pass();
        });
        spin_until(|| standing.load(Ordering::Acquire) == n);
    }
    Held(gate)
}

/// A task that runs until its gate opens.
pub fn running(pool: &ThreadPool) -> (JoinHandle<u32>, Held) {
    let held = Held(Gate::default());
    let gate = held.0.clone();
    let handle = pool.submit(move || {
        gate.pass();
        1
    });
    spin_until(|| handle.is_running());
    (handle, held)
}
