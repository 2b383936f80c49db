//! Tests that need a parent of their own: this program runs again in a mode that [`MODE`] names.

use crate::support::{LONG, Test, is_alive, pids, pool_of, until};
use crate::tasks::{self, sleep_ms, square};
use heist::Executor;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

pub const MODE: &str = "HEIST_TEST_MODE";

pub fn tests() -> Vec<Test> {
    vec![
        ("parents::a_parent_that_is_killed_leaves_no_child", || {
            a_parent_that_is_killed_leaves_no_child(LONG)
        }),
        (
            "parents::a_parent_that_is_killed_leaves_no_child_after_a_second",
            || a_parent_that_is_killed_leaves_no_child(Duration::from_secs(1)),
        ),
        (
            "parents::few_descriptors_are_enough",
            few_descriptors_are_enough,
        ),
        ("parents::the_output_is_the_users", the_output_is_the_users),
        ("parents::memory_of_queued_tasks", memory_of_queued_tasks),
    ]
}

/// Runs the mode that the variable names, if it is set. Returns the exit code.
pub fn run_as_parent() -> Option<i32> {
    match std::env::var(MODE).ok()?.as_str() {
        "say" => println!("a program"),
        "sleep" => {
            let pool = pool_of(2);
            let handles: Vec<_> = (0..20)
                .map(|_| pool.submit(sleep_ms::TASK, 60_000))
                .collect();
            until(LONG, || pids(&pool).len() == 2);
            println!("{} {}", pids(&pool)[0], pids(&pool)[1]);
            drop(heist::try_join_all(handles));
        }
        "few" => {
            let limit = libc::rlimit {
                rlim_cur: 256,
                rlim_max: 256,
            };
            // SAFETY: the call reads the limit.
            assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) }, 0);
            let pool = pool_of(8);
            let handles: Vec<_> = (0..100_000).map(|n| pool.submit(square::TASK, n)).collect();
            for (n, handle) in (0..).zip(handles) {
                assert_eq!(handle.join().unwrap(), n * n);
            }
            println!("done");
        }
        "print" => {
            let pool = pool_of(1);
            for n in 0..100 {
                pool.submit(tasks::prints::TASK, format!("line {n}"))
                    .join()
                    .unwrap();
            }
        }
        "memory" => memory(),
        mode => panic!("no mode {mode}"),
    }
    Some(0)
}

fn start(mode: &str) -> Child {
    Command::new(std::env::current_exe().expect("the path of this program"))
        .env(MODE, mode)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("this program runs")
}

fn output(mode: &str) -> (String, String) {
    let output = start(mode).wait_with_output().expect("this program ends");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    let (out, err) = (text(output.stdout), text(output.stderr));
    assert!(output.status.success(), "{out}{err}");
    (out, err)
}

fn a_parent_that_is_killed_leaves_no_child(limit: Duration) {
    for _ in 0..3 {
        let mut parent = start("sleep");
        let mut line = String::new();
        let out = parent.stdout.take().expect("stdout is piped");
        BufReader::new(out).read_line(&mut line).expect("a line");
        let pids: Vec<u32> = line
            .split_whitespace()
            .map(|pid| pid.parse().unwrap())
            .collect();
        assert!(pids.len() == 2 && pids.iter().all(|pid| is_alive(*pid)));
        parent.kill().unwrap();
        parent.wait().unwrap();
        until(limit, || !pids.iter().any(|pid| is_alive(*pid)));
    }
}

fn few_descriptors_are_enough() {
    assert_eq!(output("few").0, "done\n");
}

fn the_output_is_the_users() {
    let (out, err) = output("print");
    let expected: String = (0..100).map(|n| format!("line {n}\n")).collect();
    assert_eq!((&out, &err), (&expected, &expected));
}

fn memory_of_queued_tasks() {
    let out = output("memory").0;
    let each: f64 = out.trim().parse().expect("a number");
    assert!(each <= 300.0, "{each} bytes for each queued task");
}

/// The memory of this process in bytes.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").expect("the memory of this process");
    let pages: usize = text.split_whitespace().nth(1).unwrap().parse().unwrap();
    pages * 4096
}

/// Prints how many bytes a queued task takes up.
fn memory() {
    const TASKS: usize = 100_000;
    let pool = pool_of(1);
    let blocked = pool.submit(sleep_ms::TASK, 2000);
    let mut handles = Vec::with_capacity(TASKS);
    let before = resident();
    handles.extend((0..TASKS as u64).map(|n| pool.submit(square::TASK, n)));
    let after = resident();
    println!("{:.1}", (after - before) as f64 / TASKS as f64);
    blocked.join().unwrap();
    heist::try_join_all(handles).unwrap();
}
