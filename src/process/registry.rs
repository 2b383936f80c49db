//! The tasks that this program knows.

use super::task::{Task, TaskEntry};
use crate::sync::{Mutex, lock};
use linkme::distributed_slice;
use std::collections::HashMap;

/// The tasks that `#[heist::task]` has linked into the program.
#[distributed_slice]
pub static TASKS: [TaskEntry];

/// A task that every program has, so that the list is never empty: some linkers refuse an empty one.
#[derive(Clone, Copy)]
struct Ping;

impl Task for Ping {
    type Args = u64;
    type Output = u64;
    const NAME: &'static str = "heist::ping";
    const SIGNATURE: &'static str = "(u64) -> u64";
    const PLACE: (&'static str, u32) = (file!(), line!());

    fn run(args: u64) -> u64 {
        args
    }
}

#[distributed_slice(TASKS)]
static PING: TaskEntry = TaskEntry::of::<Ping>();

/// The tasks that were registered by hand.
static REGISTERED: Mutex<Vec<&'static TaskEntry>> = Mutex::new(Vec::new());

/// Makes a task known that was not made by `#[heist::task]`.
///
/// Call it before [`heist::init`](crate::init()), so that worker processes know the task too.
///
/// See [`Task`] for an example.
pub fn register<T: Task>(task: T) {
    let _ = task;
    let entry = const { &TaskEntry::of::<T>() };
    let mut registered = lock(&REGISTERED);
    if !registered.iter().any(|other| other.is_same(entry)) {
        registered.push(entry);
    }
}

/// Returns the tasks that this program knows: those that are linked into it, and those that were
/// [registered](register).
///
/// Rust does not link a library of which a program uses nothing, nor its tasks. Then `use library as _;` in the
/// program links them.
///
/// ```
/// #[heist::task]
/// fn resize() {}
///
/// assert!(heist::tasks().iter().any(|task| task.name().ends_with("::resize")));
/// ```
pub fn tasks() -> Vec<&'static TaskEntry> {
    let mut all: Vec<_> = TASKS.iter().collect();
    all.extend(lock(&REGISTERED).iter());
    all
}

/// The tasks by name.
pub(crate) fn by_name() -> HashMap<&'static str, &'static TaskEntry> {
    tasks()
        .into_iter()
        .map(|entry| (entry.name(), entry))
        .collect()
}

/// Says which two tasks have one name, if there are such.
pub(crate) fn check_names() -> Result<(), String> {
    let mut known: HashMap<_, &TaskEntry> = HashMap::new();
    for entry in tasks() {
        if let Some(other) = known.insert(entry.name(), entry) {
            let ((a, line_a), (b, line_b)) = (other.place(), entry.place());
            return Err(format!(
                "two tasks are called `{}` ({a}:{line_a}, {b}:{line_b}): give one of them another name with \
                 #[heist::task(name = \"..\")]",
                entry.name()
            ));
        }
    }
    Ok(())
}
