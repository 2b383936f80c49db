//! The variable `HEIST_TRACE` with a program that knows rayon-core only: this one, which a test starts again with the variable.

use std::path::PathBuf;
use std::process::Command;
use std::{env, fs};

/// The variable that makes this program the traced one.
const TRACED: &str = "HEIST_TEST_TRACED";

/// What the traced program does. As a test it does nothing.
#[test]
fn traced_program() {
    if env::var_os(TRACED).is_none() {
        return;
    }
    let (a, b) = rayon_core::join(|| 1, || 2);
    assert_eq!(a + b, 3);
    let (sender, receiver) = std::sync::mpsc::channel();
    rayon_core::spawn(move || sender.send(()).expect("the receiver waits"));
    receiver.recv().expect("the task runs");
    rayon_core::scope(|s| s.spawn(|_| ()));
}

/// Runs the traced program, which writes a file with this ending.
fn written(ending: &str) -> Vec<u8> {
    let name = format!("heist-shim-{}.{ending}", std::process::id());
    let file: PathBuf = env::temp_dir().join(name);
    let status = Command::new(env::current_exe().expect("this program"))
        .args(["--exact", "traced_program"])
        .env(TRACED, "1")
        .env("HEIST_TRACE", &file)
        .status()
        .expect("this program starts");
    assert!(status.success());
    let bytes = fs::read(&file).expect("the trace was written");
    fs::remove_file(&file).expect("the trace is removed");
    bytes
}

#[test]
fn a_program_of_rayon_writes_a_page() {
    let page = String::from_utf8(written("html")).expect("a page is text");
    assert!(page.starts_with("<!doctype html>"));
    assert!(page.contains("traced_program"), "the page names the tasks");
}

#[test]
fn a_program_of_rayon_writes_a_trace_for_perfetto() {
    let bytes = written("pftrace");
    // The tag of a packet begins the file.
    assert_eq!(bytes.first(), Some(&0x0a));
}
