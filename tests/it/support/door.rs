//! Futures that a test controls: a door that opens when the test says so.

use super::spin_until;
use heist::{JoinHandle, ThreadPool};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

/// A door through which futures pass once it is open. Clones share it.
#[derive(Clone, Default)]
pub struct Door(Arc<Inner>);

#[derive(Default)]
struct Inner {
    open: AtomicBool,
    wakers: Mutex<Vec<Waker>>,
    polls: AtomicUsize,
    dropped: Mutex<Vec<String>>,
}

/// A future that is ready when its door is open. It records where it is dropped.
pub struct Passage(Door);

impl Door {
    /// A future that waits for the door.
    pub fn pass(&self) -> Passage {
        Passage(self.clone())
    }

    /// Opens the door for good, and wakes those who wait.
    pub fn open(&self) {
        self.0.open.store(true, Ordering::SeqCst);
        self.knock();
    }

    /// Calls the wakers of all polls so far.
    pub fn knock(&self) {
        let wakers = std::mem::take(&mut *self.wakers());
        wakers.into_iter().for_each(Waker::wake);
    }

    /// The wakers of all polls since the last knock.
    pub fn take_wakers(&self) -> Vec<Waker> {
        std::mem::take(&mut *self.wakers())
    }

    /// Waits until somebody has been polled, and returns the last waker.
    pub fn waker(&self) -> Waker {
        let mut found = None;
        spin_until(|| {
            found = self.wakers().last().cloned();
            found.is_some()
        });
        found.expect("a waker")
    }

    fn wakers(&self) -> std::sync::MutexGuard<'_, Vec<Waker>> {
        self.0.wakers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of polls.
    pub fn polls(&self) -> usize {
        self.0.polls.load(Ordering::SeqCst)
    }

    /// The names of the threads on which passages were dropped.
    pub fn dropped_on(&self) -> Vec<String> {
        self.0.dropped.lock().unwrap().clone()
    }
}

impl Future for Passage {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let door = &self.0;
        door.wakers().push(context.waker().clone());
        door.0.polls.fetch_add(1, Ordering::SeqCst);
        // After the waker is there, so that an opening is not missed.
        if door.0.open.load(Ordering::SeqCst) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        let name = std::thread::current().name().unwrap_or("").to_owned();
        self.0.0.dropped.lock().unwrap().push(name);
    }
}

/// Submits a passage and waits until it is suspended: the pool has no other future.
pub fn suspended(pool: &ThreadPool, door: &Door) -> JoinHandle<()> {
    let before = pool.stats().suspended;
    let handle = pool.submit_async(door.pass());
    spin_until(|| pool.stats().suspended == before + 1);
    handle
}
