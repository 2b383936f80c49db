//! The `pages` example on threads and in processes. The workers are this program, so its `main` begins with `heist::init()`.
#![cfg(target_os = "linux")]

#[expect(dead_code, reason = "`main` is for the example, the tests call `run`")]
#[path = "../../main.rs"]
mod pages;

use std::fs;
use std::path::Path;

use libtest_mimic::{Arguments, Trial};
use pages::Options;
use tempfile::TempDir;

fn main() {
    heist::init();
    let test = |name, body: fn()| {
        Trial::test(name, move || {
            body();
            Ok(())
        })
    };
    let tests = vec![
        test(
            "threads_and_processes_print_the_same_bytes",
            threads_and_processes_print_the_same_bytes,
        ),
        test(
            "a_file_that_crashes_its_process_is_named",
            a_file_that_crashes_its_process_is_named,
        ),
        test("a_wrong_address_is_a_failure", a_wrong_address_is_a_failure),
    ];
    libtest_mimic::run(&Arguments::from_args(), tests).exit();
}

/// The output on stdout and stderr.
fn output(directory: &Path, executor: &str) -> (String, String) {
    let options = Options {
        directory: directory.to_owned(),
        executor: executor.to_owned(),
        trace: None,
        quiet: true,
        #[cfg(feature = "nats")]
        worker: false,
    };
    let (mut output, mut notes) = (Vec::new(), Vec::new());
    pages::run(&options, &mut output, &mut notes).expect("the program runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (text(output), text(notes))
}

fn write(directory: &TempDir, name: &str, text: &str) {
    let path = directory.path().join(name);
    fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
    fs::write(path, text).expect("a file");
}

fn threads_and_processes_print_the_same_bytes() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../src");
    let (expected, notes) = output(&sources, "threads://1");
    assert!(expected.lines().count() > 100 && notes.is_empty());
    for size in [1, 2, 8] {
        for scheme in ["threads", "processes"] {
            let found = output(&sources, &format!("{scheme}://{size}"));
            assert_eq!(
                found,
                (expected.clone(), String::new()),
                "{scheme}://{size}"
            );
        }
    }
}

fn a_file_that_crashes_its_process_is_named() {
    let directory = TempDir::new().expect("a directory");
    for n in 0..200 {
        write(
            &directory,
            &format!("{:02}/{n}.txt", n % 7),
            &format!("the file of number {n}"),
        );
    }
    let (expected, _) = output(directory.path(), "threads://2");
    let expected = expected.replace(", 0 files skipped", ", 2 files skipped");
    write(&directory, "03/bad.txt", "%CRASH\n");
    write(&directory, "06/worse.txt", "%CRASH\nwords words words\n");
    for size in [1, 2, 8] {
        let (found, notes) = output(directory.path(), &format!("processes://{size}"));
        assert_eq!(found, expected);
        let lines: Vec<_> = notes.lines().collect();
        assert_eq!(lines.len(), 2, "{notes}");
        assert!(
            lines[0].contains("03/bad.txt: ") && lines[0].contains("died of signal 6"),
            "{notes}"
        );
        assert!(lines[1].contains("06/worse.txt: "), "{notes}");
    }
}

fn a_wrong_address_is_a_failure() {
    let options = Options {
        directory: ".".into(),
        executor: "steam://4".to_owned(),
        trace: None,
        quiet: true,
        #[cfg(feature = "nats")]
        worker: false,
    };
    let failure = pages::run(&options, &mut Vec::new(), &mut Vec::new()).unwrap_err();
    assert!(
        failure.to_string().contains("threads://4 or processes://4"),
        "{failure}"
    );
}
