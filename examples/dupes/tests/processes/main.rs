//! `dupes --processes` prints what `dupes` prints. The workers are this program, so its `main` begins with `heist::init()`.
#![cfg(target_os = "linux")]

#[expect(
    dead_code,
    unused_imports,
    reason = "`main` is for the example, the tests call `run`"
)]
#[path = "../../main.rs"]
mod dupes;
#[expect(dead_code, reason = "the other test program uses all of it")]
#[path = "../dupes/tree.rs"]
mod tree;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use clap::Parser;
use dupes::Options;
use libtest_mimic::{Arguments, Trial};
use tree::{Tree, random_tree};

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
            "names_that_are_no_text_travel",
            names_that_are_no_text_travel,
        ),
        test("an_empty_directory", an_empty_directory),
    ];
    libtest_mimic::run(&Arguments::from_args(), tests).exit();
}

/// The output on stdout and stderr, with so many processes.
fn output(directory: &Path, flag: Option<&str>, processes: usize) -> (Vec<u8>, Vec<u8>) {
    let arguments = ["dupes", "--quiet"].map(OsStr::new).into_iter();
    let arguments = arguments
        .chain(flag.map(OsStr::new))
        .chain([directory.as_os_str()]);
    let mut options = Options::try_parse_from(arguments).expect("the arguments are right");
    options.processes = processes;
    let (mut output, mut notes) = (Vec::new(), Vec::new());
    dupes::run(&options, &mut output, &mut notes).expect("the program runs");
    (output, notes)
}

fn check(directory: &Path) -> Vec<u8> {
    for flag in [Some("--json"), None] {
        let expected = output(directory, flag, 0);
        for processes in [1, 2, 8] {
            let found = output(directory, flag, processes);
            assert_eq!(found, expected, "{processes} processes");
        }
    }
    output(directory, None, 0).0
}

fn threads_and_processes_print_the_same_bytes() {
    for seed in 0..3 {
        let tree = random_tree(seed);
        assert!(!check(&tree.root).is_empty());
    }
}

fn names_that_are_no_text_travel() {
    let tree = Tree::new();
    for name in [&b"a\xff\xfe"[..], b"b\n\t", b"\xc3("] {
        tree.file(OsStr::from_bytes(name), "the same content");
    }
    assert!(!check(&tree.root).is_empty());
}

fn an_empty_directory() {
    check(&Tree::new().root);
}
