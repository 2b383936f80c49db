//! Loom models of the fork job's word: a thief that runs the job against an owner that waits for it.

use super::{ForkHeader, ForkJob, ForkState};
use crate::sleep::Parker;
use crate::sync::Arc;
use crate::testing::{Place, small_model};
use loom::thread;
use std::ptr::NonNull;

/// The slots of the owner and of the thief.
const OWNER: usize = 3;
const THIEF: usize = 5;

/// Runs `owner` beside the thief of a job. Together with the outcome, the owner must see what the closure of the job has written.
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
    // SAFETY: the thief runs the job, and the original is never touched.
    let job = unsafe { ForkJob::copy_of::<()>(&*closure) };
    let thief = {
        let (job, parker) = (Stolen(job.as_ptr()), Arc::clone(&parker));
        thread::spawn(move || {
            let job = job;
            let job = NonNull::new(job.0).unwrap();
            // SAFETY: this thread is the only thief, and runs the job once.
            let waiter = unsafe { ForkHeader::execute(job, THIEF, None) };
            if let Some(waiter) = waiter {
                assert_eq!(waiter, OWNER);
                parker.unpark();
            }
        })
    };
    owner(job.header(), &parker);
    assert_eq!(job.header().state(), ForkState::Done);
    assert_eq!(written.get(), 42);
    // SAFETY: the state is `Done`, and the outcome is taken once.
    let outcome = unsafe { job.take_outcome() };
    assert_eq!(outcome.ok(), Some("outcome"));
    thief.join().unwrap();
}

struct Stolen(*mut ForkHeader);
// SAFETY: the closure and the result of the job are `Send`, and the frame of the owner waits for the thief.
unsafe impl Send for Stolen {}

/// Waits until the thief runs the job. Returns `None` if the job is done already.
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

/// The owner looks until the job is done.
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

/// The owner announces that it waits, and parks. It is woken, or sees that the job is done.
#[test]
fn execute_against_wait() {
    small_model(|| {
        stolen(|job, parker| {
            if let Some(state) = running(job)
                && job.announce_wait(state, OWNER)
            {
                parker.park();
            }
        });
    });
}

/// The owner announces that it waits, withdraws that, and announces it again.
#[test]
fn execute_against_unwait() {
    small_model(|| {
        stolen(|job, parker| {
            let Some(state) = running(job) else { return };
            if job.announce_wait(state, OWNER)
                && job.withdraw_wait(state, OWNER)
                && job.announce_wait(state, OWNER)
            {
                parker.park();
            }
            // A token may be left from a wake-up that was no longer needed.
            while job.state() != ForkState::Done {
                parker.park();
            }
        });
    });
}
