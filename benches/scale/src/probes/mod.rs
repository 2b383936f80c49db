//! Probes of real pools. They need no machine with many cores: they count events, time one thread's work in a large pool, or run leaves that
//! block.

mod forces;
mod guests;
mod ramp;
mod search;

use crate::options::ProbeOptions;

/// Runs the probes that are wanted.
pub fn run(options: &ProbeOptions) {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!("{cores} cores, {} repetitions.", options.reps);
    if let Ok(load) = std::fs::read_to_string("/proc/loadavg") {
        let last_minute = load.split(' ').next().unwrap_or_default();
        println!(
            "Load of the minute before: {last_minute}. Beside other programs only minima and counts say something."
        );
    }
    let wants = |name: &str| {
        options
            .only
            .as_deref()
            .is_none_or(|part| name.contains(part))
    };
    if wants("search") {
        search::run(options);
    }
    if wants("ramp") {
        ramp::run(options);
    }
    if wants("guests") {
        guests::run(options);
    }
    if wants("forces") {
        forces::run(options);
    }
}
