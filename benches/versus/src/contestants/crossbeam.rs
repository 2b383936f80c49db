//! A bare fork-join pool over crossbeam's deques: what a join costs when each one pushes to and pops from a deque.
//!
//! It is stripped to the least that can run the kernels: a panic aborts, and its workers yield instead of sleeping
//! while any caller is inside. It is a lower bound for schedulers of this kind, not a pool to use.

use super::peer::{JoinPeer, Peer};
use crate::common::contract::Join;
use crossbeam_deque::{Injector, Steal, Stealer, Worker as Deque};
use std::cell::{Cell, UnsafeCell};
use std::mem::{ManuallyDrop, MaybeUninit};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};

/// A pool with a deque per worker.
pub struct Crossbeam {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    injector: Injector<JobRef>,
    stealers: Vec<Stealer<JobRef>>,
    /// Callers inside. Written under `gate`; read by workers that found nothing.
    inside: AtomicUsize,
    /// Whether the pool is being dropped.
    gate: Mutex<bool>,
    /// A caller came in, or the pool is being dropped.
    opened: Condvar,
    /// A job from the injector is done.
    finished: Condvar,
}

struct Worker {
    deque: Deque<JobRef>,
    shared: Arc<Shared>,
    index: usize,
}

thread_local! {
    /// The worker of this thread, or null.
    static CURRENT: Cell<*const Worker> = const { Cell::new(ptr::null()) };
}

/// A type-erased pointer to a [`StackJob`].
#[derive(Clone, Copy)]
struct JobRef {
    job: *const (),
    /// # Safety
    /// `job` is alive and has not been executed.
    execute: unsafe fn(*const ()),
}

// SAFETY: `Send` requires that another thread may run the job. Its closure and its result are `Send`, as `StackJob::as_job_ref` demands.
unsafe impl Send for JobRef {}

/// A closure on the stack of its waiter, and the place for its result.
struct StackJob<F, R> {
    closure: UnsafeCell<ManuallyDrop<F>>,
    result: UnsafeCell<MaybeUninit<R>>,
    is_done: AtomicBool,
}

impl<F, R> StackJob<F, R>
where
    F: FnOnce() -> R + Send,
    R: Send,
{
    fn new(closure: F) -> Self {
        Self {
            closure: UnsafeCell::new(ManuallyDrop::new(closure)),
            result: UnsafeCell::new(MaybeUninit::uninit()),
            is_done: AtomicBool::new(false),
        }
    }

    fn as_job_ref(&self) -> JobRef {
        JobRef {
            job: ptr::from_ref(self).cast(),
            execute: Self::execute,
        }
    }

    /// # Safety
    /// `job` points to a `Self` that is alive until `is_done`, and nothing else takes its closure.
    unsafe fn execute(job: *const ()) {
        // SAFETY: `&*` requires a pointer to a `Self` that stays alive while `this` is used. Our caller guarantees it until `is_done`, which is set
        // by the last use of `this`.
        let this = unsafe { &*job.cast::<Self>() };
        let bomb = AbortOnUnwind;
        // SAFETY: `take` requires to be called once. Our caller guarantees that nothing else takes the closure.
        let closure = unsafe { this.take() };
        let result = closure();
        // SAFETY: `&mut *` requires that nothing else uses the place. The waiter reads it only after `is_done`.
        let place = unsafe { &mut *this.result.get() };
        place.write(result);
        std::mem::forget(bomb);
        // ORDERING: Release publishes the result to the Acquire in `is_done`. This is the last use of `this`.
        this.is_done.store(true, Ordering::Release);
    }

    /// # Safety
    /// It is called once, by the thread that took the job.
    unsafe fn take(&self) -> F {
        // SAFETY: `&mut *` requires that nothing else uses the closure. Our caller has taken the job.
        let closure = unsafe { &mut *self.closure.get() };
        // SAFETY: `ManuallyDrop::take` requires that the value is not used again. Our caller calls this once.
        unsafe { ManuallyDrop::take(closure) }
    }

    fn is_done(&self) -> bool {
        // ORDERING: Acquire pairs with the Release in `execute`.
        self.is_done.load(Ordering::Acquire)
    }

    fn into_result(self) -> R {
        assert!(self.is_done());
        // SAFETY: `assume_init` requires a written value. `execute` writes it before it sets `is_done`, which is asserted above.
        unsafe { self.result.into_inner().assume_init() }
    }
}

/// A guard that aborts when it is dropped, since unwinding must not leave a frame that a thief still uses.
struct AbortOnUnwind;

impl Drop for AbortOnUnwind {
    #[cold]
    fn drop(&mut self) {
        eprintln!("a kernel panicked inside the crossbeam pool");
        std::process::abort();
    }
}

/// The join of the crossbeam pool: a push, a call and a pop.
pub struct CrossbeamJoin;

impl Join for CrossbeamJoin {
    type Context<'c> = ();

    #[inline(always)]
    fn join<A, B, RA, RB>(_context: &mut (), a: A, b: B) -> (RA, RB)
    where
        A: FnOnce(&mut ()) -> RA + Send,
        B: FnOnce(&mut ()) -> RB + Send,
        RA: Send,
        RB: Send,
    {
        let worker = CURRENT.get();
        assert!(!worker.is_null(), "join outside the pool");
        // SAFETY: `&*` requires a worker that is alive. `Worker::run` sets the pointer and outlives everything that runs on its thread.
        let worker = unsafe { &*worker };
        let job_b = StackJob::new(move || b(&mut ()));
        let bomb = AbortOnUnwind;
        worker.deque.push(job_b.as_job_ref());
        let result_a = a(&mut ());
        // Joins nest, so the newest job is `b`. If `b` was stolen, so were all older jobs.
        let result_b = if worker.deque.pop().is_some() {
            // SAFETY: `take` requires to be called once, by the thread that took the job. This thread has popped it.
            let b = unsafe { job_b.take() };
            b()
        } else {
            worker.wait_for(|| job_b.is_done());
            job_b.into_result()
        };
        std::mem::forget(bomb);
        (result_a, result_b)
    }
}

impl Worker {
    fn run(self) {
        CURRENT.set(&self);
        loop {
            if let Some(job) = self.steal() {
                // SAFETY: `execute` requires a job that is alive and not executed. This thread has taken it, and its waiter waits for it.
                unsafe { (job.execute)(job.job) };
            } else if let Some(job) = retry(|| self.shared.injector.steal()) {
                // SAFETY: `execute` requires a job that is alive and not executed. This thread has taken it, and its waiter waits for it.
                unsafe { (job.execute)(job.job) };
                let _gate = self.shared.gate.lock().expect("never poisoned");
                self.shared.finished.notify_all();
            } else if self.shared.inside.load(Ordering::Relaxed) > 0 {
                thread::yield_now();
            } else if self.shared.sleep_until_open() {
                return;
            }
        }
    }

    #[cold]
    fn wait_for(&self, is_done: impl Fn() -> bool) {
        while !is_done() {
            match self.steal() {
                // SAFETY: `execute` requires a job that is alive and not executed. This thread has taken it, and its waiter waits for it.
                Some(job) => unsafe { (job.execute)(job.job) },
                None => thread::yield_now(),
            }
        }
    }

    fn steal(&self) -> Option<JobRef> {
        let stealers = &self.shared.stealers;
        (1..stealers.len())
            .map(|step| &stealers[(self.index + step) % stealers.len()])
            .find_map(|stealer| retry(|| stealer.steal()))
    }
}

fn retry(mut steal: impl FnMut() -> Steal<JobRef>) -> Option<JobRef> {
    loop {
        match steal() {
            Steal::Success(job) => return Some(job),
            Steal::Empty => return None,
            Steal::Retry => {}
        }
    }
}

impl Shared {
    /// Sleeps while no caller is inside. Returns true if the pool is being dropped.
    fn sleep_until_open(&self) -> bool {
        let mut closed = self.gate.lock().expect("never poisoned");
        while !*closed && self.inside.load(Ordering::Relaxed) == 0 {
            closed = self.opened.wait(closed).expect("never poisoned");
        }
        *closed
    }
}

impl Peer for Crossbeam {
    const NAME: &'static str = "crossbeam";

    fn build(threads: usize) -> Self {
        let deques: Vec<_> = (0..threads).map(|_| Deque::new_lifo()).collect();
        let shared = Arc::new(Shared {
            injector: Injector::new(),
            stealers: deques.iter().map(Deque::stealer).collect(),
            inside: AtomicUsize::new(0),
            gate: Mutex::new(false),
            opened: Condvar::new(),
            finished: Condvar::new(),
        });
        let threads = deques
            .into_iter()
            .enumerate()
            .map(|(index, deque)| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    let worker = Worker {
                        deque,
                        shared,
                        index,
                    };
                    worker.run();
                })
            })
            .collect();
        Self { shared, threads }
    }
}

impl JoinPeer for Crossbeam {
    type Join = CrossbeamJoin;

    fn enter<R, F>(&self, work: F) -> R
    where
        R: Send,
        F: FnOnce(&mut ()) -> R + Send,
    {
        let job = StackJob::new(move || work(&mut ()));
        let bomb = AbortOnUnwind;
        let mut gate = self.shared.gate.lock().expect("never poisoned");
        self.shared.inside.fetch_add(1, Ordering::Relaxed);
        self.shared.injector.push(job.as_job_ref());
        self.shared.opened.notify_all();
        while !job.is_done() {
            gate = self.shared.finished.wait(gate).expect("never poisoned");
        }
        self.shared.inside.fetch_sub(1, Ordering::Relaxed);
        drop(gate);
        std::mem::forget(bomb);
        job.into_result()
    }
}

impl Drop for Crossbeam {
    fn drop(&mut self) {
        *self.shared.gate.lock().expect("never poisoned") = true;
        self.shared.opened.notify_all();
        for thread in self.threads.drain(..) {
            thread.join().expect("a worker panicked");
        }
    }
}
