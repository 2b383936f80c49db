//! Two versions of a program serve one queue while one replaces the other. They are two programs with tasks of the same names, `versions/old.rs` and
//! `versions/new.rs`, and each can be a worker or a client.

use crate::server::Server;
use crate::support::{LONG, Test, child, until};
use serde_json::Value;
use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

pub fn tests() -> Vec<Test> {
    vec![
        (
            "versions::an_old_worker_serves_a_new_client",
            an_old_worker_serves_a_new_client,
        ),
        (
            "versions::a_new_worker_serves_an_old_client",
            a_new_worker_serves_an_old_client,
        ),
        (
            "versions::a_new_task_waits_for_a_new_worker",
            a_new_task_waits_for_a_new_worker,
        ),
        (
            "versions::both_serve_both_meanwhile",
            both_serve_both_meanwhile,
        ),
    ]
}

/// The program of a version. Both are built when one is first wanted, in the profile of this program.
fn program(version: &str) -> &'static Path {
    static PROGRAMS: OnceLock<HashMap<String, PathBuf>> = OnceLock::new();
    &PROGRAMS.get_or_init(build)[version]
}

fn build() -> HashMap<String, PathBuf> {
    let heist = Path::new(env!("CARGO_MANIFEST_DIR"));
    let temporary = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let folder = temporary.join("versions");
    let sources = heist.join("tests/cluster/versions");
    let (old, new) = (sources.join("old.rs"), sources.join("new.rs"));
    let manifest = format!(
        "[package]\nname = \"versions\"\nedition = \"2024\"\n[workspace]\n\
         [dependencies]\nheist = {{ path = {heist:?}, features = [\"nats\"] }}\n\
         serde = {{ version = \"1\", features = [\"derive\"] }}\n\
         [[bin]]\nname = \"versions-old\"\npath = {old:?}\n\
         [[bin]]\nname = \"versions-new\"\npath = {new:?}\n\
         [profile.release]\ndebug = 1\n"
    );
    fs::create_dir_all(&folder).expect("a folder for the package");
    fs::write(folder.join("Cargo.toml"), manifest).expect("the manifest is written");
    // With the lock file of this crate, cargo looks up no versions.
    fs::copy(heist.join("Cargo.lock"), folder.join("Cargo.lock")).expect("a lock file");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--offline", "--quiet", "--bins"]);
    cargo.arg("--message-format=json-render-diagnostics");
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    let output = cargo
        .current_dir(&folder)
        // What this program has been built with is not built again.
        .env("CARGO_TARGET_DIR", temporary.parent().expect("a folder"))
        .stderr(Stdio::inherit())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "both versions can be built");
    let messages = String::from_utf8(output.stdout).expect("text of cargo");
    let programs = messages.lines().filter_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        let name = message["target"]["name"].as_str()?;
        let version = name.strip_prefix("versions-")?.to_owned();
        Some((version, PathBuf::from(message["executable"].as_str()?)))
    });
    programs.collect()
}

/// A worker or a client. It ends with this value.
struct Other(Child);

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a worker of a version that leaves unknown tasks to others for so long.
fn worker(version: &str, server: &Server, isolate: bool, unknown_for: Duration) -> Other {
    let mut command = Command::new(program(version));
    command.args(["worker", &server.address(), &isolate.to_string()]);
    Other(child(command.arg(unknown_for.as_secs().to_string())))
}

/// A client, and what it says of each task.
struct Client {
    _program: Other,
    lines: Receiver<String>,
}

fn client(version: &str, server: &Server) -> Client {
    let mut command = Command::new(program(version));
    command.args(["client", &server.address()]);
    let mut program = child(command.stdout(Stdio::piped()));
    let output = BufReader::new(program.stdout.take().expect("its output"));
    let (send, lines) = mpsc::channel();
    std::thread::spawn(move || {
        let lines = output.lines().map_while(Result::ok);
        lines.for_each(|line| send.send(line).unwrap_or_default());
    });
    Client {
        _program: Other(program),
        lines,
    }
}

impl Client {
    fn line(&self) -> String {
        self.lines.recv_timeout(LONG).expect("a line of the client")
    }

    /// The client says this of the next task.
    #[track_caller]
    fn says(&self, of: &str, what: &str) {
        assert_eq!(self.line(), format!("{of}: {what}"));
    }

    /// The next task is refused, with a text that has all these parts.
    #[track_caller]
    fn is_refused(&self, of: &str, parts: &[&str]) {
        let line = self.line();
        let begin = format!("{of}: refused: ");
        assert!(line.starts_with(&begin), "{line}");
        assert!(parts.iter().all(|part| line.contains(part)), "{line}");
    }
}

const SIGNATURES: [&str; 2] = ["(u32) -> u32", "(u64) -> u64"];

fn an_old_worker_serves_a_new_client() {
    for isolate in [false, true] {
        let server = Server::start();
        let _old = worker("old", &server, isolate, Duration::from_secs(1));
        let client = client("new", &server);
        client.says("both", "144");
        client.is_refused("changed", &SIGNATURES);
        client.says("added", "102");
        client.says("exchanged", "Point { y: 102, x: 2 }");
        client.says("only new", "submitted");
        let parts = ["`only new`", "1 workers, of the versions old"];
        client.is_refused("only new", &parts);
    }
}

fn a_new_worker_serves_an_old_client() {
    for isolate in [false, true] {
        let server = Server::start();
        let _new = worker("new", &server, isolate, LONG);
        let client = client("old", &server);
        client.says("both", "144");
        client.is_refused("changed", &SIGNATURES);
        client.says("added", "102");
        client.says("exchanged", "Point { x: 2, y: 102 }");
    }
}

fn a_new_task_waits_for_a_new_worker() {
    let server = Server::start();
    let _old = worker("old", &server, false, LONG * 60);
    let client = client("new", &server);
    until(LONG, || client.line() == "only new: submitted");
    let waits = client.lines.recv_timeout(Duration::from_secs(2));
    assert!(waits.is_err(), "{waits:?}");
    let _new = worker("new", &server, false, LONG * 60);
    client.says("only new", "8");
}

/// While both workers serve the queue, a task whose parameters were changed is refused or right, and all others are right.
fn both_serve_both_meanwhile() {
    let server = Server::start();
    let _old = worker("old", &server, false, LONG * 60);
    let _new = worker("new", &server, true, LONG * 60);
    for _ in 0..10 {
        for version in ["old", "new"] {
            let client = client(version, &server);
            client.says("both", "144");
            let line = client.line();
            let refused =
                |part: &str| line.starts_with("changed: refused: ") && line.contains(part);
            assert!(
                line == "changed: 1" || SIGNATURES.into_iter().all(refused),
                "{line}"
            );
            let line = client.line();
            assert!(
                line == "added: 102" || version == "new" && line == "added: 30102",
                "{line}"
            );
            let line = client.line();
            if version == "old" {
                assert_eq!(line, "exchanged: Point { x: 2, y: 102 }");
            } else {
                assert_eq!(line, "exchanged: Point { y: 102, x: 2 }");
                client.says("only new", "submitted");
                client.says("only new", "8");
            }
        }
    }
}
