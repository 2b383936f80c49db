//! Loom models of the fork job's word: the thief that runs it against the owner that waits for it.

use super::{ForkHeader, ForkJob, ForkState};
use crate::sleep::Parker;
use crate::sync::Arc;
use crate::testing::{Place, small_model};
use loom::thread;
use std::ptr::NonNull;

/// Slots of the owner and of the thief.
const OWNER: usize = 3;
const THIEF: usize = 5;

/// A job that was stolen, and what its closure writes: what the owner must see with the outcome.
fn stolen(owner: impl FnOnce(&ForkHeader, &Parker)) {
    let written = Arc::new(Place::default());
    let parker = Arc::new(Parker::default());
    let closure = {
        let written = Arc::clone(&written);
        move |_: bool| {
            written.set(42);
            "outcome"
        }
    };
    let closure = std::mem::ManuallyDrop::new(closure);
    // SAFETY: only the job's copy is used.
    let job = unsafe { ForkJob::copy_of(&*closure) };
    let thief = {
        let (job, parker) = (Stolen(job.as_ptr()), Arc::clone(&parker));
        thread::spawn(move || {
            let job = job;
            let job = NonNull::new(job.0).unwrap();
            // SAFETY: this is the one thief.
            let waiter = unsafe { ForkHeader::execute(job, THIEF) };
            if let Some(waiter) = waiter {
                assert_eq!(waiter, OWNER);
                parker.unpark();
            }
        })
    };
    owner(job.header(), &parker);
    assert_eq!(job.header().state(), ForkState::Done);
    assert_eq!(written.get(), 42);
    // SAFETY: done, and taken once.
    let outcome = unsafe { job.take_outcome() };
    assert_eq!(outcome.ok(), Some("outcome"));
    thief.join().unwrap();
}

struct Stolen(*mut ForkHeader);
// SAFETY: the job's closure and result are `Send`, and the owner's frame waits.
unsafe impl Send for Stolen {}

/// Waits for the thief to say that it runs the job. None: it is done already.
fn running(job: &ForkHeader) -> Option<ForkState> {
    loop {
        match job.state() {
            ForkState::Taken => thread::yield_now(),
            ForkState::Running { slot } => {
                assert_eq!(slot, THIEF);
                return Some(job.state());
            }
            ForkState::Done => return None,
        }
    }
}

/// The owner only looks.
#[test]
fn execute_against_a_look() {
    small_model(|| {
        stolen(|job, _| {
            while job.state() != ForkState::Done {
                thread::yield_now();
            }
        });
    });
}

/// The owner says that it waits and parks: it is woken, or told that it came too late.
#[test]
fn execute_against_wait() {
    small_model(|| {
        stolen(|job, parker| {
            if let Some(state) = running(job)
                && job.wait(state, OWNER)
            {
                parker.park();
            }
        });
    });
}

/// The owner says that it waits, takes that back, and says it again.
#[test]
fn execute_against_unwait() {
    small_model(|| {
        stolen(|job, parker| {
            let Some(state) = running(job) else { return };
            if job.wait(state, OWNER) && job.unwait(state, OWNER) && job.wait(state, OWNER) {
                parker.park();
            }
            // A token may be left from a wake-up that was no longer needed.
            while job.state() != ForkState::Done {
                parker.park();
            }
        });
    });
}
