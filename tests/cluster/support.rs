//! Clusters of each size, a watchdog, and what the tasks of tests/process need.

pub use crate::common::{LONG, Log, Test, note, until};
use crate::parents::{self, Role};
use crate::server::Server;
pub use crate::signals::{kill, signal};
use heist::Backend;
use heist::nats::{Cluster, Options};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

/// How long a worker may be silent in the tests.
pub const ACK_WAIT: Duration = Duration::from_secs(1);

/// Runs `body` on a new thread. Ends the program if it takes longer than sixty times [`LONG`]: twenty seeds of chaos take ten minutes and more.
pub fn watched(body: fn()) {
    let (done, ended) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        let _done = done;
        body();
    });
    match ended.recv_timeout(LONG * 60) {
        Err(RecvTimeoutError::Timeout) => {
            eprintln!("the test hangs");
            std::process::abort();
        }
        Ok(()) | Err(RecvTimeoutError::Disconnected) => {}
    }
    if let Err(payload) = thread.join() {
        std::panic::resume_unwind(payload);
    }
}

/// Runs a test on a cluster with a worker of threads and one of processes, and on several workers.
pub fn each(test: fn(&dyn Backend)) {
    for (workers, places, isolate) in [(1, 1, true), (1, 2, false), (2, 1, true), (2, 4, false)] {
        let server = Server::start();
        let cluster = connect(&server);
        let _workers: Vec<_> = (0..workers)
            .map(|_| Worker::start(&server.address(), places, isolate))
            .collect();
        until(LONG, || cluster.num_workers() == workers * places);
        test(&cluster);
    }
}

pub fn options(server: &Server) -> Options {
    let options = Options::new(&server.address()).expect("an address");
    options
        .ack_wait(ACK_WAIT)
        .connect_timeout(Duration::from_secs(20))
}

pub fn connect(server: &Server) -> Cluster {
    options(server).cluster().expect("a cluster")
}

/// Starts a program that ends with the thread that has started it.
pub fn child(command: &mut Command) -> Child {
    // SAFETY: the closure makes one call of the system.
    unsafe { command.pre_exec(die_with_parent) };
    command.spawn().expect("the program starts")
}

fn die_with_parent() -> std::io::Result<()> {
    // SAFETY: the call takes integers.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    Ok(())
}

/// A worker process.
pub struct Worker(Child);

impl Worker {
    pub fn start(address: &str, places: usize, isolate: bool) -> Self {
        Self::with(address, places, isolate, &[])
    }

    /// Starts a worker with more environment variables.
    pub fn with(address: &str, places: usize, isolate: bool, more: &[(&str, &str)]) -> Self {
        let mut command = parents::other(Role::Worker);
        Self::by(&mut command, address, places, isolate, more)
    }

    /// Starts a worker by a command that runs this program.
    pub fn by(
        command: &mut Command,
        address: &str,
        places: usize,
        isolate: bool,
        more: &[(&str, &str)],
    ) -> Self {
        command.env(parents::MODE, format!("{:?}", Role::Worker));
        command.env(parents::ADDRESS, address);
        command.env(parents::PLACES, places.to_string());
        command.env(parents::ISOLATE, isolate.to_string());
        command.envs(more.iter().copied());
        Worker(child(command))
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    pub fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    /// Sends SIGTERM, and returns the exit code.
    pub fn end(&mut self) -> Option<i32> {
        signal(self.pid(), libc::SIGTERM);
        self.wait()
    }

    pub fn wait(&mut self) -> Option<i32> {
        self.0.wait().expect("the worker has ended").code()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.kill();
    }
}
