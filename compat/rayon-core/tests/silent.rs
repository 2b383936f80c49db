//! The shim prints nothing, and without a handler a panic that no caller receives aborts the process. The tests run in separate processes.

use rayon_core::{ThreadPoolBuilder, join, spawn};
use std::process::{Command, Output};

/// Runs this test again in a child process with `CHILD` set.
fn child(test: &str, threads: &str) -> Output {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--quiet"])
        .env("CHILD", "1")
        .env("RAYON_NUM_THREADS", threads)
        .output()
        .unwrap()
}

fn is_child() -> bool {
    std::env::var_os("CHILD").is_some()
}

#[test]
fn work_prints_nothing() {
    if is_child() {
        assert_eq!(
            rayon_core::current_num_threads(),
            3,
            "RAYON_NUM_THREADS says so"
        );
        assert_eq!(join(|| 1, || 2), (1, 2));
        ThreadPoolBuilder::new().build().unwrap().spawn(|| ());
        return;
    }
    let output = child("work_prints_nothing", "3");
    assert!(output.status.success(), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
}

#[test]
fn a_lost_panic_ends_the_process() {
    if is_child() {
        spawn(|| panic!("nobody waits for this"));
        std::thread::sleep(std::time::Duration::from_secs(60));
        return;
    }
    let output = child("a_lost_panic_ends_the_process", "2");
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("nobody waits for this"), "{text}");
}
