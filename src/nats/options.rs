//! How a program connects to a queue.

use super::names::Address;
use crate::BuildError;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// How a program connects to a queue, and what the queue is like if it is new.
///
/// [`Cluster::connect`](super::Cluster::connect) and [`Worker::connect`](super::Worker::connect) use the defaults.
/// The program that connects first creates the queue on the server, with the settings it has.
///
/// ```no_run
/// use heist::nats::Options;
/// use std::time::Duration;
///
/// let options = Options::new("tls://nats.example.org:4222/thumbs")?
///     .tls_ca("ca.pem")
///     .nkey(std::fs::read_to_string("worker.nk").unwrap())
///     .connect_timeout(Duration::from_secs(30));
/// let cluster = options.cluster()?;
/// # Ok::<(), heist::BuildError>(())
/// ```
#[derive(Clone)]
#[must_use = "options do nothing until `cluster` or `worker`"]
pub struct Options {
    pub(super) address: Address,
    pub(super) nkey: Option<String>,
    pub(super) credentials: Option<PathBuf>,
    pub(super) tls_ca: Option<PathBuf>,
    pub(super) connect_timeout: Duration,
    pub(super) ack_wait: Option<Duration>,
    pub(super) keep_results: Option<Duration>,
    pub(super) queue_capacity: Option<u32>,
    pub(super) replicas: usize,
    pub(super) room: usize,
}

impl Options {
    /// Reads an address, `nats://host:4222/queue`. The scheme `tls` asks for an encrypted connection. There can be
    /// several hosts, separated by commas, and `user:password@` before them, in which `%3A` stands for a colon.
    ///
    /// # Errors
    ///
    /// Returns an error if the address is not of this form. The error does not contain the address.
    pub fn new(address: &str) -> Result<Self, BuildError> {
        Ok(Options {
            address: Address::parse(address).map_err(BuildError::of_backend)?,
            nkey: None,
            credentials: None,
            tls_ca: None,
            connect_timeout: Duration::from_secs(5),
            ack_wait: None,
            keep_results: None,
            queue_capacity: None,
            replicas: 1,
            room: 1 << 16,
        })
    }

    /// Sets the seed of the nkey by which the server knows this program.
    pub fn nkey(mut self, seed: impl Into<String>) -> Self {
        self.nkey = Some(seed.into().trim().to_owned());
        self
    }

    /// Sets the file with the credentials by which the server knows this program, as the tool `nsc` writes it.
    pub fn credentials_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.credentials = Some(path.into());
        self
    }

    /// Sets the file with the certificates, in PEM, of those who may sign the server's certificate.
    pub fn tls_ca(mut self, path: impl Into<PathBuf>) -> Self {
        self.tls_ca = Some(path.into());
        self
    }

    /// Sets how long the first connection may take. The default is 5 seconds. Later the program waits for a server
    /// that is away as long as it takes.
    pub fn connect_timeout(mut self, time: Duration) -> Self {
        self.connect_timeout = time;
        self
    }

    /// Sets how long a worker may be silent before the server gives its task to another one. The default is
    /// 10 seconds, the least 500 ms.
    ///
    /// It belongs to the queue: if the queue exists and has another time, connecting fails.
    pub fn ack_wait(mut self, time: Duration) -> Self {
        self.ack_wait = Some(time.max(Duration::from_millis(500)));
        self
    }

    /// Sets how long results are kept, at least two minutes. The default is 24 hours. A task must end within this
    /// time. It is a setting of a new queue, and has no effect on one that exists.
    pub fn keep_results(mut self, time: Duration) -> Self {
        self.keep_results = Some(time.max(Duration::from_secs(120)));
        self
    }

    /// Sets how many tasks may wait and run in the queue, at least 1. The default is a million. It is a setting of
    /// a new queue, and has no effect on one that exists.
    pub fn queue_capacity(mut self, tasks: u32) -> Self {
        self.queue_capacity = Some(tasks.max(1));
        self
    }

    /// Sets on how many servers of a cluster of servers the queue is kept: 1, the default, 3 or 5. It is a setting
    /// of a new queue, and has no effect on one that exists.
    pub fn replicas(mut self, servers: usize) -> Self {
        self.replicas = servers.clamp(1, 5);
        self
    }

    /// Sets how many messages of one subscription wait in this program at most, for tests of what happens to the rest.
    #[doc(hidden)]
    pub fn room_for_messages(mut self, messages: usize) -> Self {
        self.room = messages.max(1);
        self
    }
}

impl fmt::Debug for Options {
    /// Leaves out passwords, keys and credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("address", &self.address.shown())
            .finish_non_exhaustive()
    }
}
