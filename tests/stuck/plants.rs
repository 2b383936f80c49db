//! What the tests plant.

use crate::support::spin_until;
use heist::{JoinHandle, ThreadPool};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};

/// Plants a circle: a task on each of the pools waits for that on the next one, which has begun. The pools never end, so the test must be isolated.
pub fn circle(pools: &[ThreadPool]) -> Vec<u64> {
    let mut handles: Vec<JoinHandle<()>> = Vec::new();
    let mut senders = Vec::new();
    for (n, pool) in pools.iter().enumerate() {
        let (sender, receiver) = mpsc::channel::<JoinHandle<()>>();
        let task = pool.task().name(format!("ring {n}"));
        handles.push(task.submit(move || drop(receiver.recv().unwrap().join())));
        senders.push(sender);
        // On a pool that has another task already, a second thread takes this one.
        spin_until(|| handles[n].is_running());
    }
    let ids = handles.iter().map(number).collect();
    handles.rotate_left(1);
    for (sender, handle) in senders.into_iter().zip(handles) {
        sender.send(handle).unwrap();
    }
    pools.iter().for_each(|pool| std::mem::forget(pool.clone()));
    ids
}

/// The number in the id of a handle's task.
pub fn number<T>(handle: &JoinHandle<T>) -> u64 {
    let id = handle.id().to_string();
    id.trim_start_matches('#').parse().unwrap()
}

/// A flag that ends what spins, also when the test fails.
#[derive(Default)]
pub struct Stop(pub Arc<AtomicBool>);

impl Stop {
    /// A closure that spins until the flag is set.
    pub fn spinner(&self) -> impl FnOnce() + Send + 'static {
        let stop = Arc::clone(&self.0);
        move || {
            while !stop.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        }
    }
}

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
