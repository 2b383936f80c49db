//! How the tests run programs, and the files and inputs that they give them.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::thread;

use fastrand::Rng;
use tempfile::TempDir;

/// A block size below the default, so that little input makes many blocks.
pub const BLOCK: usize = 32 * 1024;

const FLAGS: [&str; 3] = ["-q", "-b", "32"];

/// The program, built once and with optimisations, since the crates that compress are slow without.
pub fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let built = Command::new(cargo)
            .args(["build", "--locked", "--release", "--example", "pgz"])
            .args(["--message-format", "json"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .stderr(Stdio::inherit())
            .output()
            .expect("cargo can be run");
        assert!(built.status.success(), "pgz cannot be built");
        let messages = String::from_utf8(built.stdout).unwrap();
        let path = messages
            .lines()
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
            .filter(|message| message["target"]["name"] == "pgz")
            .find_map(|message| Some(PathBuf::from(message["executable"].as_str()?)));
        path.expect("cargo names what it has built")
    })
}

pub fn pgz(args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
    let mut command = Command::new(program());
    command.args(FLAGS).args(args).stdin(Stdio::null());
    command
}

/// The output of a program for `input`. All pipes are served at the same time.
pub fn filter(command: &mut Command, input: &[u8]) -> Output {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    thread::scope(|scope| {
        // A program that fails may not read the whole input.
        scope.spawn(move || drop(stdin.write_all(input)));
        child.wait_with_output().unwrap()
    })
}

#[track_caller]
pub fn succeeds(command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    output.stdout
}

/// The text on stderr.
#[track_caller]
pub fn fails(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{command:?}: {said}");
    said
}

pub fn gzip_is_here() -> bool {
    let here = Command::new("gzip").arg("--version").output().is_ok();
    if !here {
        eprintln!("skipped: gzip is not installed");
    }
    here
}

/// The names in a directory, sorted.
pub fn names(directory: &TempDir) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

pub fn directory() -> TempDir {
    tempfile::tempdir().unwrap()
}

pub fn file(directory: &TempDir, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = directory.path().join(name);
    fs::write(&path, content).unwrap();
    path
}

/// A sparse file of zeros.
pub fn zeros(directory: &TempDir, name: &str, bytes: u64) -> PathBuf {
    let path = directory.path().join(name);
    File::create(&path).unwrap().set_len(bytes).unwrap();
    path
}

pub fn noise(bytes: usize) -> Vec<u8> {
    let mut noise = vec![0; bytes];
    Rng::with_seed(bytes as u64).fill(&mut noise);
    noise
}

/// Text of words, of which some are more frequent than others.
pub fn text(bytes: usize) -> Vec<u8> {
    let mut random = Rng::with_seed(1);
    let words: Vec<String> = (0..5000)
        .map(|_| {
            let length = random.usize(2..10);
            (0..length).map(|_| random.lowercase()).collect()
        })
        .collect();
    let mut text = Vec::with_capacity(bytes + 16);
    while text.len() < bytes {
        let most = random.usize(1..=words.len());
        text.extend(words[random.usize(0..most)].bytes());
        text.push(if random.u8(0..12) == 0 { b'\n' } else { b' ' });
    }
    text.truncate(bytes);
    text
}

pub fn inputs() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("empty", Vec::new()),
        ("one byte", vec![b'x']),
        ("a block", text(BLOCK)),
        ("a block and one", text(BLOCK + 1)),
        ("two blocks less one", text(2 * BLOCK - 1)),
        ("text", text(3_000_000)),
        ("noise", noise(1_000_000)),
        ("zeros", vec![0; 5_000_000]),
    ]
}
