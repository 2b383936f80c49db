//! Starts the program and looks at each of its pages.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The program, which is built if only tests were.
fn program() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--locked", "--example", "dashboard"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .expect("cargo can be run");
    assert!(built.success(), "the dashboard cannot be built");
    let own = std::env::current_exe().expect("the path of this test");
    let target = own
        .parent()
        .and_then(Path::parent)
        .expect("the folder of the profile");
    let name = format!("dashboard{}", std::env::consts::EXE_SUFFIX);
    target.with_file_name("debug").join("examples").join(name)
}

/// Ends the program if the test fails.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The status and the body of an answer, or as much of it as `most` bytes hold.
fn get(address: &str, path: &str, most: u64) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .expect("a limit");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").expect("a request");
    let mut reader = BufReader::new(stream.take(most));
    let mut status = String::new();
    reader.read_line(&mut status).expect("a status");
    let mut line = String::new();
    while reader.read_line(&mut line).expect("a line of the head") > 2 {
        line.clear();
    }
    let mut body = Vec::new();
    if path == "/live" {
        reader
            .read_until(b'\n', &mut body)
            .expect("a line of figures");
    } else {
        reader.read_to_end(&mut body).expect("a body");
    }
    (status, body)
}

#[test]
fn each_page_is_served_and_the_end_is_told() {
    let folder = std::env::temp_dir().join(format!("heist-dashboard-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("a"), "to be").expect("a file");
    let trace = folder.join("own.html");
    let mut child = Command::new(program())
        .arg(&folder)
        .args(["--threads", "2", "--trace"])
        .arg(&trace)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map(Running)
        .expect("the program");
    let mut output = BufReader::new(child.0.stdout.take().expect("its output"));
    let mut line = String::new();
    output.read_line(&mut line).expect("its address");
    let address = line
        .trim()
        .trim_start_matches("http://")
        .trim_end_matches('/')
        .to_owned();

    let text = |path| {
        let (status, body) = get(&address, path, u64::MAX);
        assert!(status.contains("200"), "{path}: {status}");
        String::from_utf8(body).expect("text")
    };
    assert!(text("/").contains("EventSource(\"/live\")"));
    assert!(text("/report").starts_with("<!doctype html>"));
    assert!(text("/metrics").contains("pool=\"dashboard\""));
    assert!(text("/dump").contains("worker"));
    assert!(!text("/summary").is_empty());
    let (status, packets) = get(&address, "/trace.pftrace", u64::MAX);
    assert!(
        status.contains("200") && packets.first() == Some(&0x0a),
        "{status}"
    );
    let (_, figures) = get(&address, "/live", u64::MAX);
    assert!(
        figures.starts_with(b"data: 2 threads"),
        "{}",
        String::from_utf8_lossy(&figures)
    );
    let (status, _) = get(&address, "/nothing", u64::MAX);
    assert!(status.contains("404"));

    let mut input = child.0.stdin.take().expect("its input");
    input.write_all(b"q\n").expect("it reads");
    let mut rest = String::new();
    output.read_to_string(&mut rest).expect("its last words");
    assert!(child.0.wait().expect("its end").success());
    assert!(rest.contains(" rounds, "), "{rest}");
    let page = std::fs::read_to_string(&trace).expect("the trace");
    assert!(
        page.contains("load.rs"),
        "the page shows where tasks are made"
    );
    std::fs::remove_dir_all(&folder).expect("the folder is removed");
}
