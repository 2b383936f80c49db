//! Isolated tests: a test that needs its own process runs the test binary again, for that one test.

use super::watch::{limit, watched};
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// The variable that holds the name of the isolated test, in the process that runs it.
const MARK: &str = "HEIST_TEST_ISOLATED";

/// Whether this process runs the isolated test `name` and nothing else.
pub fn is_isolated(name: &str) -> bool {
    std::env::var_os(MARK).is_some_and(|mark| mark == name)
}

/// Runs `body` in a process that runs nothing else. `name` is the full name of the calling test.
#[track_caller]
pub fn isolated(name: &str, body: impl FnOnce() + Send + 'static) {
    isolated_with(name, &[], body);
}

/// Runs `body` like `isolated`, with environment variables set.
#[track_caller]
pub fn isolated_with(name: &str, env: &[(&str, &str)], body: impl FnOnce() + Send + 'static) {
    if is_isolated(name) {
        watched(body);
        return;
    }
    let mut child = Command::new(std::env::current_exe().expect("the path of the test binary"))
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env(MARK, name)
        .envs(env.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the test binary starts");
    let (output, hung) = read_all(&mut child);
    if hung {
        // `kill` fails only if the child has just ended by itself.
        let _ = child.kill();
    }
    let status = child.wait().expect("the exit status of the child");
    assert!(
        !hung && status.success() && output.contains("1 passed"),
        "{name} in its own process: {status}{}\n{output}",
        if hung { ", killed because it hung" } else { "" }
    );
}

/// Reads both streams until they end, or until the child has taken too long.
fn read_all(child: &mut Child) -> (String, bool) {
    let stdout = child.stdout.take().expect("stdout is piped");
    let stderr = child.stderr.take().expect("stderr is piped");
    let streams: [Box<dyn Read + Send>; 2] = [Box::new(stdout), Box::new(stderr)];
    let (lines, received) = mpsc::channel();
    for mut stream in streams {
        let lines = lines.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = stream.read(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
                if lines.send(text).is_err() {
                    break;
                }
            }
        });
    }
    drop(lines);
    let deadline = std::time::Instant::now() + limit() + Duration::from_secs(5);
    let mut output = String::new();
    loop {
        let left = deadline.saturating_duration_since(std::time::Instant::now());
        match received.recv_timeout(left) {
            Ok(text) => output.push_str(&text),
            Err(mpsc::RecvTimeoutError::Disconnected) => return (output, false),
            Err(mpsc::RecvTimeoutError::Timeout) => return (output, true),
        }
    }
}
