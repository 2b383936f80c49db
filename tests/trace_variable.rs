//! The variable `HEIST_TRACE`, with this program as the one that is traced: a test starts it again, with the variable and with what it should do.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

/// The variable that says what the traced program does.
const PART: &str = "HEIST_TEST_TRACED";

/// What the traced program does. As a test it does nothing.
#[test]
fn traced_program() {
    match env::var(PART).as_deref() {
        Ok("global") => {
            heist::submit(|| heist::mark("in the global pool"))
                .join()
                .unwrap();
        }
        Ok("pools") => {
            for n in 0..3 {
                let pool = heist::ThreadPool::with_threads(1).unwrap();
                assert_eq!(pool.submit(move || n).join().unwrap(), n);
            }
        }
        Ok("unused") => drop(heist::ThreadPool::with_threads(1).unwrap()),
        Ok("exit") => {
            heist::spawn(|| {
                loop {
                    thread::sleep(Duration::from_millis(1));
                    heist::mark("works on");
                }
            });
            heist::submit(|| ()).join().unwrap();
            std::process::exit(3);
        }
        _ => {}
    }
}

/// Runs a part with the variable set to `file`. Returns the exit code and what was written to the standard error.
fn traced(part: &str, file: &Path) -> (Option<i32>, String) {
    let program = env::current_exe().expect("this program");
    let mut child = Command::new(program)
        .args(["--exact", "traced_program", "--nocapture"])
        .env(PART, part)
        .env("HEIST_TRACE", file)
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("a child");
    let limit = Instant::now() + Duration::from_secs(50);
    while child.try_wait().expect("a state").is_none() {
        if Instant::now() > limit {
            child.kill().expect("a child");
            panic!("the traced program hangs at its end");
        }
        thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output().expect("an output");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), text)
}

/// The names and the lengths of the files of a folder.
fn files(folder: &Path) -> Vec<(String, u64)> {
    let entries = fs::read_dir(folder).expect("a folder").flatten();
    let mut files: Vec<_> = entries
        .map(|entry| {
            let length = entry.metadata().map_or(0, |data| data.len());
            (entry.file_name().to_string_lossy().into_owned(), length)
        })
        .collect();
    files.sort();
    files
}

fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("run.html");
    (folder, file)
}

fn names(folder: &Path) -> Vec<String> {
    let files = files(folder);
    assert!(files.iter().all(|&(_, length)| length > 0), "{files:?}");
    files.into_iter().map(|(name, _)| name).collect()
}

#[test]
fn the_global_pool_is_written_at_the_exit() {
    let (folder, file) = folder();
    assert_eq!(traced("global", &file).0, Some(0));
    assert_eq!(names(folder.path()), ["run.html"]);
    let page = fs::read_to_string(&file).expect("a page");
    assert!(page.contains("in the global pool"));
}

#[test]
fn each_pool_has_a_file() {
    let (folder, file) = folder();
    assert_eq!(traced("pools", &file).0, Some(0));
    assert_eq!(
        names(folder.path()),
        ["run-2.html", "run-3.html", "run.html"]
    );
}

#[test]
fn a_pool_that_did_nothing_has_no_file() {
    let (folder, file) = folder();
    assert_eq!(traced("unused", &file).0, Some(0));
    assert!(names(folder.path()).is_empty());
}

#[test]
fn a_program_exits_while_its_threads_work() {
    let (folder, file) = folder();
    assert_eq!(traced("exit", &file).0, Some(3));
    assert_eq!(names(folder.path()), ["run.html"]);
}

#[test]
fn an_empty_name_is_the_standard_error() {
    let (code, text) = traced("global", Path::new(""));
    assert_eq!(code, Some(0));
    assert!(text.contains("trace_variable"), "{text}");
}

#[test]
fn a_file_that_cannot_be_written_is_reported() {
    let (code, text) = traced("global", Path::new("/nowhere/at/all/run.html"));
    assert_eq!(code, Some(0));
    assert!(text.contains("HEIST_TRACE"), "{text}");
}
