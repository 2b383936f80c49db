//! Bad input: what is refused, and with which text.

use crate::support::{Log, Test, each, pool_of, pool_with, sizes};
use crate::tasks::{self, bytes, many_bytes, prepare, prepared, square};
use heist::{Backend, Executor, ProcessPool, Task, WhenFull};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::time::{Duration, Instant};

pub fn tests() -> Vec<Test> {
    vec![
        (
            "inputs::a_task_that_is_not_registered",
            a_task_that_is_not_registered,
        ),
        (
            "inputs::a_task_that_is_registered_by_hand",
            a_task_that_is_registered_by_hand,
        ),
        (
            "inputs::arguments_that_cannot_be_written_or_read",
            arguments_that_cannot_be_written_or_read,
        ),
        (
            "inputs::results_that_cannot_be_written_or_read",
            results_that_cannot_be_written_or_read,
        ),
        (
            "inputs::messages_that_are_too_long",
            messages_that_are_too_long,
        ),
        (
            "inputs::a_worker_that_never_says_hello",
            a_worker_that_never_says_hello,
        ),
        (
            "inputs::a_worker_that_is_not_prepared",
            a_worker_that_is_not_prepared,
        ),
        (
            "inputs::no_workers_means_the_default",
            no_workers_means_the_default,
        ),
        ("inputs::a_pool_in_a_worker", a_pool_in_a_worker),
        ("inputs::a_pool_in_a_forked_child", a_pool_in_a_forked_child),
        ("inputs::addresses", addresses),
        ("inputs::ids_are_refused", || each(ids_are_refused)),
        ("inputs::what_a_worker_inherits", what_a_worker_inherits),
        ("inputs::the_tasks_are_listed", the_tasks_are_listed),
    ]
}

#[derive(Clone, Copy)]
pub struct Registered;

impl Task for Registered {
    type Args = u64;
    type Output = u64;
    const NAME: &'static str = "registered by hand";

    fn run(args: u64) -> u64 {
        args + 1
    }
}

#[derive(Clone, Copy)]
struct Unregistered;

impl Task for Unregistered {
    type Args = u64;
    type Output = u64;
    const NAME: &'static str = "unknown";

    fn run(args: u64) -> u64 {
        args
    }
}

fn a_task_that_is_not_registered() {
    for workers in sizes() {
        let pool = pool_of(workers);
        let error = pool.submit(Unregistered, 1).join().unwrap_err();
        assert!(
            error.is_refused() && error.to_string().contains("does not know the task"),
            "{error}"
        );
        assert!(pool.imap(Unregistered, 0..20).all(|result| result.is_err()));
        assert_eq!(pool.submit(square::TASK, 3).join().unwrap(), 9);
    }
}

fn a_task_that_is_registered_by_hand() {
    assert_eq!(pool_of(2).submit(Registered, 41).join().unwrap(), 42);
}

/// A value that can be written or read only where that is wanted.
#[derive(Debug)]
pub struct Odd(pub u8);

pub const UNWRITABLE: u8 = 1;
pub const PANICS_WHEN_WRITTEN: u8 = 2;
pub const UNREADABLE: u8 = 3;
pub const PANICS_WHEN_READ: u8 = 4;

impl Serialize for Odd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 == PANICS_WHEN_WRITTEN {
            // As a panic that the hook has printed.
            std::panic::resume_unwind(Box::new("cannot be written"));
        }
        if self.0 == UNWRITABLE {
            return Err(serde::ser::Error::custom("unwritable"));
        }
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Odd {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = u8::deserialize(deserializer)?;
        if value == PANICS_WHEN_READ {
            std::panic::resume_unwind(Box::new("cannot be read"));
        }
        if value == UNREADABLE {
            return Err(serde::de::Error::custom("unreadable"));
        }
        Ok(Odd(value))
    }
}

#[heist::task]
fn takes(odd: Odd) -> u8 {
    odd.0
}

#[heist::task]
fn gives(kind: u8) -> Odd {
    Odd(kind)
}

fn arguments_that_cannot_be_written_or_read() {
    for workers in sizes() {
        let pool = pool_of(workers);
        for kind in [UNWRITABLE, PANICS_WHEN_WRITTEN] {
            let error = pool.submit(takes::TASK, Odd(kind)).join().unwrap_err();
            assert!(
                error.is_refused() && error.to_string().contains("cannot be serialised"),
                "{error}"
            );
        }
        for kind in [UNREADABLE, PANICS_WHEN_READ] {
            let error = pool.submit(takes::TASK, Odd(kind)).join().unwrap_err();
            assert!(
                error.is_refused() && error.to_string().contains("cannot read its arguments"),
                "{error}"
            );
        }
        assert_eq!(pool.submit(takes::TASK, Odd(9)).join().unwrap(), 9);
        let stats = pool.stats();
        assert_eq!(
            (stats.submitted, stats.cancelled, stats.completed),
            (5, 4, 1)
        );
    }
}

fn results_that_cannot_be_written_or_read() {
    for workers in sizes() {
        let pool = pool_of(workers);
        for kind in [UNWRITABLE, PANICS_WHEN_WRITTEN] {
            let error = pool.submit(gives::TASK, kind).join().unwrap_err();
            assert!(
                error.is_failed() && error.to_string().contains("cannot be sent"),
                "{error}"
            );
        }
        for kind in [UNREADABLE, PANICS_WHEN_READ] {
            let error = pool.submit(gives::TASK, kind).join().unwrap_err();
            assert!(
                error.is_failed() && error.to_string().contains("cannot be read"),
                "{error}"
            );
        }
        assert_eq!(pool.submit(gives::TASK, 9).join().unwrap().0, 9);
    }
}

fn messages_that_are_too_long() {
    let pool = pool_with(|builder| builder.num_workers(2).max_message(100_000));
    let error = pool.submit(many_bytes::TASK, 200_000).join().unwrap_err();
    assert!(
        error.is_failed() && error.to_string().contains("max_message"),
        "{error}"
    );
    let large = serde_bytes::ByteBuf::from(vec![1; 200_000]);
    let error = pool.submit(bytes::TASK, large).join().unwrap_err();
    assert!(
        error.is_refused() && error.to_string().contains("max_message"),
        "{error}"
    );
    assert_eq!(
        pool.submit(many_bytes::TASK, 90_000).join().unwrap().len(),
        90_000
    );
    assert_eq!(pool.stats().lost, 0);
}

fn a_worker_that_never_says_hello() {
    let begin = Instant::now();
    let error = ProcessPool::builder()
        .num_workers(1)
        .init(tasks::sleep_first::TASK, 60_000)
        .start_timeout(Duration::from_millis(200))
        .build()
        .unwrap_err();
    assert!(
        error.to_string().contains("did not say hello in time"),
        "{error}"
    );
    assert!(begin.elapsed() < Duration::from_secs(20));
}

fn a_worker_that_is_not_prepared() {
    let build = |text: &str| {
        let builder = ProcessPool::builder().num_workers(2);
        builder.init(prepare::TASK, text.to_owned()).build()
    };
    let error = build("panic").unwrap_err();
    assert!(error.to_string().contains("not prepared"), "{error}");
    let error = build("exit").unwrap_err();
    assert!(error.to_string().contains("exited with code 5"), "{error}");
    let pool = build("well").unwrap();
    for _ in 0..10 {
        assert_eq!(
            pool.submit(prepared::TASK, ()).join().unwrap().as_deref(),
            Some("well")
        );
    }
}

fn no_workers_means_the_default() {
    let pool = pool_of(0);
    assert_eq!(
        pool.num_workers(),
        std::thread::available_parallelism().unwrap().get()
    );
    let error = ProcessPool::builder()
        .when_full(WhenFull::CallerRuns)
        .build()
        .unwrap_err();
    assert!(error.to_string().contains("WhenFull::Block"), "{error}");
}

fn a_pool_in_a_worker() {
    let text = pool_of(1)
        .submit(tasks::builds_a_pool::TASK, ())
        .join()
        .unwrap();
    assert!(
        text.contains("a worker process cannot build a process pool"),
        "{text}"
    );
    // A program that a task starts is no worker, even if it is this one.
    let text = pool_of(1)
        .submit(tasks::runs_the_program::TASK, ())
        .join()
        .unwrap();
    assert_eq!(text, "a program\n");
}

fn a_pool_in_a_forked_child() {
    let pool = pool_of(2);
    let log = Log::new();
    assert_eq!(pool.submit(square::TASK, 2).join().unwrap(), 4);
    // SAFETY: the child uses no lock that another thread of this process may hold: the pool's thread sleeps.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let error = pool.submit(square::TASK, 2).join().unwrap_err();
        let good = error.is_refused() && error.to_string().contains("fork");
        drop(pool);
        // SAFETY: the call requires nothing.
        unsafe { libc::_exit(if good { 0 } else { 1 }) };
    }
    let mut status = 0;
    // SAFETY: the call writes the status.
    unsafe { libc::waitpid(child, &mut status, 0) };
    assert_eq!(status, 0);
    drop(log);
    assert_eq!(pool.submit(square::TASK, 3).join().unwrap(), 9);
}

fn addresses() {
    for bad in [
        "threads",
        "threads://x",
        "steam://host",
        "processes://-1",
        "",
    ] {
        let error = heist::open(bad).err().unwrap().to_string();
        assert!(error.contains("no address of a back end"), "{error}");
    }
    assert_eq!(heist::open("threads://3").unwrap().num_workers(), 3);
    assert!(heist::open("processes://").unwrap().num_workers() > 0);
}

fn what_a_worker_inherits() {
    let pool = pool_with(|builder| builder.num_workers(1).env("HEIST_TEST_OWN", "here"));
    let get = |name: &str| {
        pool.submit(tasks::environment::TASK, name.to_owned())
            .join()
            .unwrap()
    };
    assert_eq!(get("HEIST_TEST_OWN").as_deref(), Some("here"));
    assert_eq!(get("PATH"), std::env::var("PATH").ok());
    assert!(!heist::is_worker());
}

fn the_tasks_are_listed() {
    let tasks = heist::tasks();
    let task = tasks
        .iter()
        .find(|task| task.name() == "process::tasks::join_words");
    let task = task.expect("the task is linked");
    assert_eq!(task.signature(), "(String, String, usize) -> String");
    assert!(task.place().0.ends_with("tasks.rs") && task.place().1 > 0);
    assert!(tasks.iter().any(|task| task.name() == "heist::ping"));
    assert!(tasks.iter().any(|task| task.name() == "registered by hand"));
}

fn ids_are_refused(executor: &dyn Backend) {
    let error = executor
        .task()
        .id("order-17")
        .submit(square::TASK, 1)
        .join()
        .unwrap_err();
    assert!(
        error.is_refused() && error.to_string().contains("clusters"),
        "{error}"
    );
}
