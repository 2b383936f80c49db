//! Whole pools of four to eight threads in schedules that shuttle chooses: half of them at random, half by PCT (priorities that change a few
//! times). This is a separate package, which builds heist's sources for shuttle. Run it by `.ci/deep shuttle`, or by
//!
//! ```sh
//! cargo test --release --manifest-path tests/shuttle/Cargo.toml
//! ```
//!
//! | variable | meaning |
//! |---|---|
//! | `HEIST_SCHEDULES` | schedules for each program, 200 if it is not set |
//! | `HEIST_SEED` | the seed; it determines the schedules of each program |
//! | `HEIST_STRICT` | rings fence at each step, as in the suite |
//!
//! A schedule that fails is written to `target/schedules`, and its path is printed. To keep it, move it to `tests/shuttle/kept`, as the program's
//! name, a hyphen and any unique text. From then on it is repeated before all others. It
//! is valid as long as the crate takes these steps, so a bug that was found gets its own test in any case.

mod futures;
mod programs;

use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, FailurePersistence, MaxSteps, Runner};
use std::path::{Path, PathBuf};
use std::time::Instant;

fn number(variable: &str, default: usize) -> usize {
    std::env::var(variable).map_or(default, |text| text.parse().expect("a number"))
}

fn config() -> Config {
    let failing = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/schedules");
    std::fs::create_dir_all(&failing).expect("target can be written to");
    let mut config = Config::new();
    config.stack_size = 256 << 10;
    config.max_steps = MaxSteps::FailAfter(100_000);
    config.silence_warnings = true;
    config.failure_persistence = FailurePersistence::File(Some(failing));
    config
}

/// Repeats the schedules that were kept for this program, then tries new ones.
fn explore(name: &str, program: fn()) {
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("kept");
    let mut kept: Vec<PathBuf> = std::fs::read_dir(kept)
        .expect("the kept schedules can be listed")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| {
            let file = path.file_name().unwrap_or_default().to_string_lossy();
            file.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with('-'))
        })
        .collect();
    kept.sort();
    for path in &kept {
        let schedule = std::fs::read_to_string(path).expect("a kept schedule can be read");
        replay(program, schedule.trim());
    }
    let (schedules, seed) = (
        number("HEIST_SCHEDULES", 200),
        number("HEIST_SEED", 1) as u64,
    );
    let start = Instant::now();
    let random = schedules.div_ceil(2);
    run(RandomScheduler::new_from_seed(seed, random), program);
    let mut done = random;
    // A few changes of priority find most bugs. Bugs that need more are rare, and so are schedules that show them.
    for (depth, parts) in [(2, 4), (3, 4), (5, 4), (10, 4)] {
        let part = (schedules - random) / parts;
        run(
            PctScheduler::new_from_seed(seed, depth, part.max(1)),
            program,
        );
        done += part.max(1);
    }
    println!(
        "shuttle: {name}: {} kept, {done} schedules in {:.1} s",
        kept.len(),
        start.elapsed().as_secs_f64()
    );
}

fn run(scheduler: impl Scheduler + 'static, program: fn()) {
    Runner::new(scheduler, config()).run(program);
}

fn replay(program: fn(), schedule: &str) {
    let mut scheduler = shuttle::scheduler::ReplayScheduler::new_from_encoded(schedule);
    // A kept schedule may no longer fit once the code takes other steps.
    scheduler.set_allow_incomplete();
    run(scheduler, program);
}

macro_rules! programs {
    ($module:ident: $($(#[$doc:meta])* $name:ident)*) => {
        $($(#[$doc])* #[test] fn $name() { explore(stringify!($name), $module::$name); })*
    };
}

programs! { programs:
    join_trees
    scopes
    maps
    submit_join_cancel
    streams
    shutdown_against_submit
    resize_against_steal
    guests_come_and_go
    deadlines_against_ends
    priorities
    full_queues
    sets_and_callbacks
    starts_that_fail
    panics
    broadcasts
    tokens
    two_pools
    a_lock_across_waits
    waiting_threads_run_what_the_last_one_makes
    idle_and_timeouts
}

programs! { futures:
    futures_and_joins
    futures_that_wake_each_other
    wakes_against_polls
    wakes_against_cancels
    wakes_against_a_shutdown
    wakes_against_shutdown_now
    wakes_against_a_drop_of_the_pool
    wakes_against_deadlines
    permits_and_cancels
    a_limited_pool
    blocking_beside_joins
    scopes_of_futures
    a_waker_outlives_its_scope
    sleeps_and_time_limits
    repeated_closures
    continuations_and_sets
    threads_that_block_on_futures
    futures_in_full_queues
    futures_while_the_pool_is_resized
}
