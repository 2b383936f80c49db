//! What one machine can tell about the costs of the model.

use crate::sim::Measured;
use crate::workload::Ns;
use std::hint::{black_box, spin_loop};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// The number of deques and calls of which one measurement consists.
const CALLS: usize = 128;

/// How many times each measurement is made. The least one counts.
const ROUNDS: usize = 60;

/// Measures the costs. It takes about a second.
pub fn measure() -> Measured {
    membarrier::register();
    let alone = least_ns(membarrier::call);
    let beside = beside_a_busy_thread(|| least_ns(membarrier::call));
    let (wake_call, wake_latency) = wake_up();
    let deques: Vec<_> = (0..CALLS)
        .map(|_| crossbeam_deque::Worker::<usize>::new_lifo())
        .collect();
    let stealers: Vec<_> = deques.iter().map(|deque| deque.stealer()).collect();
    let word = AtomicU64::new(0);
    let each = |work: &dyn Fn(usize)| least_ns(|| (0..CALLS).for_each(work)) / CALLS as f64;
    let steal = each(&|index| _ = black_box(stealers[index].steal()));
    let look = each(&|index| _ = black_box(stealers[index].is_empty()));
    let cas = each(&|_| _ = black_box(word.fetch_add(1, Ordering::AcqRel)));
    let hint = each(&|_| spin_loop());
    let ns = |figure: f64| (figure.round() as Ns).max(1);
    Measured {
        barrier_base: ns(alone),
        barrier_per_thread: ns(beside - alone),
        wake_latency: ns(wake_latency),
        wake_call: ns(wake_call),
        pin: ns(steal),
        clean_line: ns(look),
        own_cas: ns(cas),
        spin_hint: ns(hint),
    }
}

/// The least time of one call of `work`, among means of a few calls.
fn least_ns(mut work: impl FnMut()) -> f64 {
    const BATCH: u32 = 20;
    let batch = |_| {
        let begin = Instant::now();
        (0..BATCH).for_each(|_| work());
        begin.elapsed().as_nanos() as f64 / f64::from(BATCH)
    };
    (0..ROUNDS).map(batch).fold(f64::MAX, f64::min)
}

/// Measures while another thread of this process runs.
fn beside_a_busy_thread(measure: impl FnOnce() -> f64) -> f64 {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                spin_loop();
            }
        });
        thread::sleep(Duration::from_millis(5));
        let figure = measure();
        stop.store(true, Ordering::Relaxed);
        figure
    })
}

/// A thread that sleeps on a condition variable, as heist's do, until the time in the cell comes.
#[derive(Default)]
struct Sleeper {
    called: Mutex<Option<Instant>>,
    condvar: Condvar,
}

/// The medians of the waker's time and of the time until the woken thread runs.
fn wake_up() -> (f64, f64) {
    let sleeper = Sleeper::default();
    let latencies = Mutex::new(Vec::new());
    let mut calls = Vec::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..ROUNDS {
                let mut called = sleeper.called.lock().expect("no thread panics");
                let begin = loop {
                    match called.take() {
                        Some(begin) => break begin,
                        None => called = sleeper.condvar.wait(called).expect("no thread panics"),
                    }
                };
                let mut latencies = latencies.lock().expect("no thread panics");
                latencies.push(begin.elapsed().as_nanos() as f64);
            }
        });
        for _ in 0..ROUNDS {
            // The thread takes what it is given, and sleeps again.
            thread::sleep(Duration::from_millis(2));
            while sleeper.called.lock().expect("no thread panics").is_some() {
                thread::sleep(Duration::from_millis(1));
            }
            let begin = Instant::now();
            *sleeper.called.lock().expect("no thread panics") = Some(begin);
            sleeper.condvar.notify_one();
            calls.push(begin.elapsed().as_nanos() as f64);
        }
    });
    let latencies = latencies.into_inner().expect("no thread panics");
    (median(calls), median(latencies))
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

#[cfg(target_os = "linux")]
mod membarrier {
    /// Tells the kernel that this process will call membarrier.
    pub fn register() {
        command(libc::MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED);
    }

    /// Interrupts the other running threads of this process.
    pub fn call() {
        command(libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED);
    }

    fn command(command: libc::c_int) {
        // SAFETY: membarrier takes three integers and touches no memory of the caller.
        unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) };
    }
}

/// heist uses a plain fence on other systems.
#[cfg(not(target_os = "linux"))]
mod membarrier {
    use std::sync::atomic::{Ordering, fence};

    /// Nothing.
    pub fn register() {}

    /// A fence.
    pub fn call() {
        fence(Ordering::SeqCst);
    }
}
