//! Programs that must not compile: the compiler refuses each program in `compile_fail/`, for the reason that it states.
//!
//! A program's `//@` line has the code of the error, or `none`, and a part of its message. These are stable from one
//! compiler to the next. The whole text, with its excerpts of this crate's sources, is not.

use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A program that must not compile.
struct Program {
    path: PathBuf,
    code: String,
    message: String,
}

fn programs(package: &Path) -> BTreeMap<String, Program> {
    let folder = package.join("tests/compile_fail");
    let mut programs = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("a folder of programs") {
        let path = entry.expect("an entry of that folder").path();
        let name = path.file_stem().and_then(|name| name.to_str());
        let name = name.expect("a program has a name").to_owned();
        let source = fs::read_to_string(&path).expect("a program is text");
        let (code, message) = source
            .lines()
            .find_map(|line| line.strip_prefix("//@ ")?.split_once(": "))
            .unwrap_or_else(|| panic!("{name} does not say why it is refused"));
        let program = Program {
            code: code.to_owned(),
            message: message.to_owned(),
            path,
        };
        programs.insert(name, program);
    }
    programs
}

/// Writes a package in which every program is a target, in the temporary folder of this test.
fn write_package(package: &Path, programs: &BTreeMap<String, Program>) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compile_fail");
    fs::create_dir_all(&folder).expect("a folder for the package");
    let mut manifest = format!(
        "[package]\nname = \"compile_fail\"\nedition = \"2024\"\n[workspace]\n\
         [dependencies]\nheist = {{ path = {package:?}, features = [\"process\"] }}\n"
    );
    for (name, program) in programs {
        let path = &program.path;
        let _ = write!(manifest, "[[bin]]\nname = {name:?}\npath = {path:?}\n");
    }
    fs::write(folder.join("Cargo.toml"), manifest).expect("the manifest is written");
    // With the lock file of this crate, cargo looks up no versions.
    if let Ok(lock) = fs::read(package.join("Cargo.lock")) {
        fs::write(folder.join("Cargo.lock"), lock).expect("the lock file is written");
    }
    folder
}

/// The errors of each program, as code and message, and the output of cargo itself.
fn errors(folder: &Path) -> (BTreeMap<String, Vec<(String, String)>>, String) {
    let output = Command::new(env!("CARGO"))
        .args(["check", "--offline", "--keep-going", "--quiet"])
        .args(["--bins", "--message-format=json"])
        .current_dir(folder)
        .env("CARGO_TARGET_DIR", folder.join("target"))
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .stdin(Stdio::null())
        .output()
        .expect("cargo runs");
    let mut errors: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let Ok(event) = serde_json::from_str::<Value>(line) else {
            continue;
        };
        let diagnostic = &event["message"];
        if event["reason"] == "compiler-message" && diagnostic["level"] == "error" {
            let text = |value: &Value| value.as_str().unwrap_or("none").to_owned();
            errors
                .entry(text(&event["target"]["name"]))
                .or_default()
                .push((
                    text(&diagnostic["code"]["code"]),
                    text(&diagnostic["message"]),
                ));
        }
    }
    (errors, String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn programs_that_would_share_or_outlive_data_do_not_compile() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let programs = programs(package);
    assert!(!programs.is_empty());
    let (errors, said) = errors(&write_package(package, &programs));
    let mut wrong = String::new();
    for (name, program) in &programs {
        let found = errors.get(name).map_or(&[][..], Vec::as_slice);
        let as_stated = |(code, text): &(String, String)| {
            *code == program.code && text.contains(&program.message)
        };
        if !found.iter().any(as_stated) {
            let (code, message) = (&program.code, &program.message);
            let _ = writeln!(
                wrong,
                "{name}: expected {code} {message:?}, found {found:?}"
            );
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}{said}");
}
