//! Tasks: functions that another process can find by their names.

use super::codec::{self, Format};
use super::wire;
use crate::unwind;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::time::Duration;

/// A function that another process can find by its name. `#[heist::task]` implements it.
///
/// The attribute leaves the function as it is, and adds a type of the same name with a constant `TASK`. Types and
/// functions have different namespaces, so `resize(..)` is a call, `resize` the function, `resize::TASK` the
/// task, and `let resize = ..` a local variable.
///
/// ```
/// use heist::{Executor, ThreadPool};
///
/// #[heist::task]
/// fn area(width: u32, height: u32) -> u32 {
///     width * height
/// }
///
/// fn on_any(executor: &impl Executor) -> u32 {
///     executor.submit(area::TASK, (6, 7)).join().unwrap()
/// }
///
/// assert_eq!(area(6, 7), 42);
/// assert_eq!(on_any(&ThreadPool::new()?), 42);
/// # Ok::<(), heist::BuildError>(())
/// ```
///
/// # Implementing it by hand
///
/// This gives a task without the macro, for example one for each type of a generic function. It has to be
/// [registered](crate::register) before [`heist::init`](crate::init()).
///
/// ```
/// #[derive(Clone, Copy)]
/// struct Sum;
///
/// impl heist::Task for Sum {
///     type Args = Vec<u32>;
///     type Output = u32;
///     const NAME: &'static str = "sum";
///
///     fn run(args: Vec<u32>) -> u32 {
///         args.into_iter().sum()
///     }
/// }
///
/// heist::register(Sum);
/// heist::init();
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a task",
    label = "an executor runs tasks, not functions or closures",
    note = "for a function `f`: put `#[heist::task]` above it, and write `f::TASK` here",
    note = "a closure cannot leave its process: make it a function, and its captures parameters"
)]
pub trait Task: Copy + Send + Sync + 'static {
    /// The arguments: the type of the only parameter, a tuple of several, or `()`.
    type Args: Serialize + DeserializeOwned + Send + 'static;
    /// The result.
    type Output: Serialize + DeserializeOwned + Send + 'static;
    /// The name by which a worker finds the task, at most 1,000 bytes.
    const NAME: &'static str;
    /// The parameters and the result, as text.
    const SIGNATURE: &'static str = "";
    /// The source file and line of the task.
    const PLACE: (&'static str, u32) = ("", 0);
    /// How many times the task may be started, if the process that runs it ends.
    const TRIES: u32 = 1;
    /// How long the task may run.
    const TIMEOUT: Option<Duration> = None;

    /// Runs the task.
    fn run(args: Self::Args) -> Self::Output;
}

/// A task without its types: what a program knows about it. See [`tasks`](crate::tasks).
pub struct TaskEntry {
    name: &'static str,
    signature: &'static str,
    place: (&'static str, u32),
    pub(super) tries: u32,
    pub(super) timeout: Option<Duration>,
    run: fn(Format, &[u8], &mut Vec<u8>) -> u8,
}

impl TaskEntry {
    /// Returns the entry of a task.
    pub const fn of<T: Task>() -> Self {
        assert!(
            T::NAME.len() <= 1000,
            "a task's name has at most 1000 bytes"
        );
        TaskEntry {
            name: T::NAME,
            signature: T::SIGNATURE,
            place: T::PLACE,
            tries: T::TRIES,
            timeout: T::TIMEOUT,
            run: run_encoded::<T>,
        }
    }

    /// Returns the name of the task.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Returns the parameters and the result of the task, as text.
    pub fn signature(&self) -> &'static str {
        self.signature
    }

    /// Returns the source file and the line of the task.
    pub fn place(&self) -> (&'static str, u32) {
        self.place
    }

    /// Runs the task with encoded arguments and appends its outcome. Returns the tag of the outcome.
    pub(crate) fn run(&self, format: Format, args: &[u8], out: &mut Vec<u8>) -> u8 {
        (self.run)(format, args, out)
    }

    /// Whether both are entries of one task.
    pub(super) fn is_same(&self, other: &TaskEntry) -> bool {
        self.name == other.name && self.place == other.place && self.signature == other.signature
    }
}

impl fmt::Debug for TaskEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} ({}:{})",
            self.name, self.signature, self.place.0, self.place.1
        )
    }
}

/// The entry of a task.
pub(crate) fn entry<T: Task>() -> &'static TaskEntry {
    const { &TaskEntry::of::<T>() }
}

fn run_encoded<T: Task>(format: Format, args: &[u8], out: &mut Vec<u8>) -> u8 {
    let start = out.len();
    let mut fail = |tag: u8, text: String| {
        out.truncate(start);
        out.extend_from_slice(text.as_bytes());
        tag
    };
    let args = match unwind::catch(|| codec::decode::<T::Args>(format, args)) {
        Ok(Ok(args)) => args,
        Ok(Err(error)) => return fail(wire::BAD_ARGS, error),
        Err(payload) => return fail(wire::BAD_ARGS, codec::panic_text(payload)),
    };
    match unwind::catch(|| T::run(args)) {
        Ok(value) => {
            let written = unwind::catch(|| codec::encode(format, &value, out));
            // The value travels, so it is not this process whose code sees a panic of its drop.
            unwind::drop_quietly(value);
            let text = match written {
                Ok(Ok(())) => return wire::VALUE,
                Ok(Err(error)) => error,
                Err(payload) => codec::panic_text(payload),
            };
            out.truncate(start);
            out.extend_from_slice(text.as_bytes());
            wire::BAD_RESULT
        }
        Err(payload) => {
            codec::encode_panic(format, &payload, out);
            unwind::drop_quietly(payload);
            wire::PANIC
        }
    }
}
