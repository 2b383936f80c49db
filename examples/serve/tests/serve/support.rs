//! A running service, and clients of it that wait for everything with a limit.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// The time after which a test has failed.
pub const LIMIT: Duration = Duration::from_secs(300);

/// The program, with debug assertions.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let built = Command::new(cargo)
            .args(["build", "--locked", "--example", "serve"])
            .args(["--message-format", "json"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .stderr(Stdio::inherit())
            .output()
            .expect("cargo can be run");
        assert!(built.status.success(), "serve cannot be built");
        let messages = String::from_utf8(built.stdout).unwrap();
        let path = messages
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter(|message| message["target"]["name"] == "serve")
            .find_map(|message| Some(PathBuf::from(message["executable"].as_str()?)));
        path.expect("cargo names what it has built")
    })
}

/// A service that runs until it is dropped or ended.
pub struct Server {
    child: Child,
    address: SocketAddr,
    pub root: TempDir,
}

impl Server {
    /// Starts a service of an empty directory, with `HEIST_TEST_THREADS` threads, or 2.
    pub fn start(flags: &[&str]) -> Self {
        let threads = std::env::var("HEIST_TEST_THREADS").unwrap_or_else(|_| "2".to_owned());
        let root = tempfile::tempdir().unwrap();
        let mut child = Command::new(program())
            .args(["--port", "0", "--threads", &threads])
            .args(flags)
            .arg(root.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let output = child.stdout.as_mut().unwrap();
        BufReader::new(output).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on http://");
        let address = address.expect("the first line tells the address");
        Server {
            child,
            address: address.parse().unwrap(),
            root,
        }
    }

    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.root.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// A sparse file that takes hours to hash.
    pub fn huge(&self, name: &str) {
        self.zeros(name, 1 << 42);
    }

    pub fn zeros(&self, name: &str, bytes: u64) {
        let file = File::create(self.root.path().join(name)).unwrap();
        file.set_len(bytes).unwrap();
    }

    pub fn connect(&self) -> Client {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.set_write_timeout(Some(LIMIT)).unwrap();
        Client {
            reader: BufReader::new(stream),
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn is_open(&self) -> bool {
        TcpStream::connect(self.address).is_ok()
    }

    /// The answer to a request on a connection of its own.
    pub fn get(&self, target: &str) -> Answer {
        self.connect().get(target)
    }

    pub fn stats(&self) -> Stats {
        self.connect().stats()
    }

    /// Waits until the statistics are as `is_so` says.
    #[track_caller]
    pub fn wait_for(&self, is_so: impl Fn(&Stats) -> bool) -> Stats {
        self.connect().wait_for(is_so)
    }

    /// Waits until only the accept loop and the connection that asks are left.
    #[track_caller]
    pub fn wait_until_idle(&self) -> Stats {
        self.connect().wait_until_idle()
    }

    /// Waits until the service is idle. Returns the number of its open descriptors, with one connection.
    #[cfg(target_os = "linux")]
    pub fn descriptors(&self) -> usize {
        let mut client = self.connect();
        client.wait_until_idle();
        let directory = format!("/proc/{}/fd", self.child.id());
        fs::read_dir(directory).unwrap().count()
    }

    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let status = Command::new("kill").args(["-s", name, &id]).status();
        assert!(status.unwrap().success());
    }

    /// Waits for the end of the service. Returns its status and what it has printed to stderr.
    pub fn ended(mut self) -> (ExitStatus, String) {
        let begin = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(begin.elapsed() < LIMIT, "it does not end");
            thread::sleep(Duration::from_millis(2));
        };
        let mut said = String::new();
        let mut stderr = self.child.stderr.take().unwrap();
        stderr.read_to_string(&mut said).unwrap();
        (status, said)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What `/stats` says.
#[derive(Debug)]
pub struct Stats(Value);

impl Stats {
    /// The number with this name; `pool/queued` is one of the pool.
    pub fn number(&self, name: &str) -> u64 {
        let number = self.0.pointer(&format!("/{name}"));
        let number = number.and_then(Value::as_u64);
        number.unwrap_or_else(|| panic!("there is no {name} in {:#}", self.0))
    }
}

/// A connection to the service.
pub struct Client {
    reader: BufReader<TcpStream>,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// The lines of the head, in lower case.
    pub head: String,
    pub body: Vec<u8>,
    /// Whether the connection ended before the body did.
    pub is_cut: bool,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }
}

impl Client {
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.reader.get_mut().write_all(bytes.as_ref()).unwrap();
    }

    /// Asks for `target` and does not wait for the answer.
    pub fn ask(&mut self, target: &str) {
        self.send(format!("GET {target} HTTP/1.1\r\nhost: here\r\n\r\n"));
    }

    pub fn get(&mut self, target: &str) -> Answer {
        self.ask(target);
        self.answer().expect("there is an answer")
    }

    pub fn stats(&mut self) -> Stats {
        let answer = self.get("/stats");
        assert_eq!(answer.status, 200);
        Stats(serde_json::from_slice(&answer.body).unwrap())
    }

    #[track_caller]
    pub fn wait_for(&mut self, is_so: impl Fn(&Stats) -> bool) -> Stats {
        let begin = Instant::now();
        loop {
            let stats = self.stats();
            if is_so(&stats) {
                return stats;
            }
            assert!(begin.elapsed() < LIMIT, "still not so: {:#}", stats.0);
            thread::sleep(Duration::from_millis(2));
        }
    }

    #[track_caller]
    pub fn wait_until_idle(&mut self) -> Stats {
        self.wait_for(|stats| {
            let left = ["under_way", "pool/queued"];
            left.iter().all(|name| stats.number(name) == 0)
                && stats.number("open") == 1
                && stats.number("pool/suspended") == 1
        })
    }

    /// Reads an answer. `None` if the connection is closed or reset before it begins.
    pub fn answer(&mut self) -> Option<Answer> {
        let mut head = String::new();
        loop {
            let before = head.len();
            match self.reader.read_line(&mut head) {
                Ok(0) => break,
                Ok(_) if &head[before..] == "\r\n" => break,
                Ok(_) => {}
                Err(error) => {
                    assert_gone(&error);
                    break;
                }
            }
        }
        if head.is_empty() {
            return None;
        }
        head.make_ascii_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let field = |name| head.lines().find_map(|line| line.strip_prefix(name));
        let (body, is_cut) = match field("content-length: ") {
            Some(length) => self.sized(length.parse().unwrap()),
            None if field("transfer-encoding: chunked").is_some() => self.chunked(),
            None => panic!("an answer without a length: {head}"),
        };
        Some(Answer {
            status,
            head,
            body,
            is_cut,
        })
    }

    fn sized(&mut self, length: u64) -> (Vec<u8>, bool) {
        let mut body = Vec::new();
        if let Err(error) = (&mut self.reader).take(length).read_to_end(&mut body) {
            assert_gone(&error);
        }
        let is_cut = (body.len() as u64) < length;
        (body, is_cut)
    }

    fn chunked(&mut self) -> (Vec<u8>, bool) {
        let mut body = Vec::new();
        loop {
            let mut line = String::new();
            if let Err(error) = self.reader.read_line(&mut line) {
                assert_gone(&error);
            }
            let Ok(length) = u64::from_str_radix(line.trim(), 16) else {
                assert!(line.is_empty(), "no chunk: {line}");
                return (body, true);
            };
            // The chunk, and the end of its line.
            let (mut chunk, is_cut) = self.sized(length + 2);
            chunk.truncate(length as usize);
            body.extend(chunk);
            if is_cut || length == 0 {
                return (body, is_cut);
            }
        }
    }

    /// Reads up to `most` bytes of whatever comes. Returns 0 at the end.
    pub fn some(&mut self, most: usize) -> usize {
        let mut bytes = vec![0; most];
        loop {
            match self.reader.read(&mut bytes) {
                Ok(read) => return read,
                // A process that is stopped and continued.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    assert_gone(&error);
                    return 0;
                }
            }
        }
    }

    /// Waits until the service closes the connection, and asserts that it says nothing before.
    #[track_caller]
    pub fn assert_closed(&mut self) {
        let mut rest = Vec::new();
        if let Err(error) = self.reader.read_to_end(&mut rest) {
            assert_gone(&error);
        }
        assert!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
    }
}

/// A reset is one way to close a connection. A timeout is a test that has failed.
#[track_caller]
fn assert_gone(error: &std::io::Error) {
    assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
}

/// The output of a service that does not start.
pub fn output(arguments: &[&str]) -> std::process::Output {
    Command::new(program()).args(arguments).output().unwrap()
}
