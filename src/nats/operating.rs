//! Operating a cluster: settings of the server, limits, users, scaling, and what to watch.
//!
//! # The server
//!
//! `nats-server` 2.11 or later with JetStream. A configuration to begin with:
//!
//! ```text
//! port: 4222
//! http: 127.0.0.1:8222            # its monitoring
//! max_payload: 1MB                # longer arguments and results travel as objects
//! jetstream {
//!     store_dir: /var/lib/nats
//!     max_file_store: 50GB        # less than the disk has
//!     sync_interval: always       # only if a power failure must cost nothing
//! }
//! ```
//!
//! The first program that connects creates the queue `q`: the streams `HEIST_q` (tasks that wait and run), `HEIST_q_CLAIM` (who has begun what), `HEIST_q_DONE` (outcomes) and the
//! object store `HEIST_q_BLOB`. Queues on one server are independent. To remove one, end its programs and delete the four. Never delete files of a server that runs.
//!
//! # Durability
//!
//! | what fails | by default |
//! |---|---|
//! | a process, also the server by `kill -9` | nothing is lost that a program was told |
//! | the power | the last two minutes may be undone, since the server writes to the disk every two minutes. With `sync_interval: always` nothing, at a fiftieth of the tasks a second on one disk |
//! | the disk | the queue is lost. Three servers and [`replicas(3)`](super::Options::replicas) survive the loss of one |
//!
//! For several servers, give all their addresses: `nats://a:4222,b:4222,c:4222/q`. After the loss of one the others choose new leaders, which takes some seconds in which
//! everybody waits.
//!
//! # Limits and retention
//!
//! | what | how much | set by |
//! |---|---|---|
//! | tasks that wait and run | a million | [`queue_capacity`](super::Options::queue_capacity). When it is full, calls wait or [are refused](super::ClusterBuilder::when_full) |
//! | results, claims, objects | 24 hours, about half a kilobyte a task and the values | [`keep_results`](super::Options::keep_results). Later, a result is [unknown](super::UnknownTask). A task must end within this time |
//! | silence of a worker | 10 seconds | [`ack_wait`](super::Options::ack_wait) |
//! | the disk | | `max_file_store` |
//!
//! All but the last belong to the queue, and are those of the program that created it.
//!
//! When `max_file_store` is reached, calls wait or are refused as if the queue were full, and workers keep their results until there is room: results expire, or somebody raises
//! the limit. When the disk itself is full, the server switches JetStream off. Everybody waits. Make room and start the server again, and they go on. So leave the
//! server less than the disk has.
//!
//! # Users and TLS
//!
//! Whoever may publish to `heist.q.todo.>` can run each task of the workers with any arguments. A server that others can reach needs users and TLS:
//!
//! ```text
//! tls { cert_file: server.pem, key_file: server.key }
//! authorization {
//!     client = { publish: ["heist.q.>", "$JS.API.>", "$JS.FC.>", "$O.HEIST_q_BLOB.>", "_INBOX.>"], subscribe: ["heist.q.>", "_INBOX.>"] }
//!     worker = { publish: ["heist.q.>", "$JS.API.>", "$JS.FC.>", "$O.HEIST_q_BLOB.>", "$JS.ACK.>", "_INBOX.>"], subscribe: ["heist.q.>", "_INBOX.>"] }
//!     users = [ { nkey: UD6PFX.., permissions: $client }, { nkey: UDKQ3H.., permissions: $worker } ]
//! }
//! ```
//!
//! The programs use `tls://` in the address, [`tls_ca`](super::Options::tls_ca) if the server's certificate is of an authority of your own, and
//! [`nkey`](super::Options::nkey), [`credentials_file`](super::Options::credentials_file) or `user:password@` in the address. Errors and `Debug` show none of these.
//!
//! # Scaling the workers
//!
//! Workers can be started and stopped at any time. On SIGTERM one gives back what it has not begun, finishes what it runs, for at most its
//! [drain timeout](super::Worker::drain_timeout), and exits with 0. Give the supervisor more time than that.
//!
//! The depth of the queue is `num_pending` of the consumers `high`, `normal` and `low` of the stream `HEIST_q`, and `num_ack_pending` is what workers have. Scalers that watch JetStream
//! consumers need nothing else. For KEDA:
//!
//! ```yaml
//! triggers:
//!   - type: nats-jetstream
//!     metadata: { natsServerMonitoringEndpoint: "nats:8222", account: "$G", stream: HEIST_q, consumer: normal, lagThreshold: "100" }
//! ```
//!
//! # What to watch
//!
//! - [`Cluster::stats`](super::Cluster::stats), [`running`](super::Cluster::running) and [`events`](super::Cluster::events), or the example `heist-top`, which shows them as a table.
//! - `http://127.0.0.1:8222/jsz?consumers=1`: a `num_pending` that grows (too few workers), `num_redelivered` (workers that die or are silent), `num_waiting` 0 (no worker asks),
//!   and the bytes of `HEIST_q_DONE` against `max_file_store`.
//! - `http://127.0.0.1:8222/healthz`, which fails when JetStream is off.
//! - A task that is refused because no worker knows it, or its signature has changed: a worker of an old version.
//!
//! # Other languages
//!
//! Each message can be read and written with any NATS client. A call is a message to `heist.q.todo.normal.<session>.<number>` with the headers `Heist-Task` (the name),
//! `Nats-Msg-Id` (`<session>.<number>`) and, if it may be started more than once, `Heist-Tries`. Its body is the argument in MessagePack, or the tuple of several. The outcome
//! comes to `heist.q.done.<session>.<number>`: the header `Heist-Outcome` is `value`, `panic`, `lost`, `timeout`, `cancelled`, `refused`, `bad-args` or
//! `bad-result`, and the body is the value in MessagePack, or a text. A message with the header `Heist-Items` is a chunk: its body is an array of that many
//! encoded arguments, and its outcome `chunk` an array of pairs, a tag and an encoded value. The tags are 0 for a value, 1 panic, 2 bad arguments, 3 bad result.
//!
//! `examples/cluster/stranger.py` in the repository does it in Python: the depth of a queue, the result of a call, and a call of its own.
