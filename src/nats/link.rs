//! The connection to a server: streams, messages that are stored or looked up, objects.
//!
//! Each operation can fail because the server is away, and then nobody knows whether it has happened. Callers repeat it, after a look if that matters.

use super::names::{LANES, Names};
use super::options::Options;
use super::record::{self, Stored};
use async_nats::connection::State;
use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, pull};
use async_nats::jetstream::context::{CreateStreamErrorKind, GetStreamErrorKind};
use async_nats::jetstream::object_store::{self, ObjectStore};
use async_nats::jetstream::stream::{
    Config, DiscardPolicy, LastRawMessageErrorKind, RetentionPolicy, Stream,
};
use async_nats::jetstream::{self, Context};
use async_nats::{
    Client, ConnectErrorKind, ConnectOptions, Event, HeaderMap, Request, RequestErrorKind,
};
use bytes::Bytes;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt;
use tokio::sync::{Semaphore, mpsc, watch};

/// The oldest server that is used. Older ones keep tasks that are done after a crash.
const FLOOR: (i64, i64) = (2, 11);

/// How long a request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// A look-up that has no answer after so long is made once more beside the first. Messages are lost where a connection ends, and looking twice is harmless.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// How many look-ups are under way at a time. The server answers them one after the other, and drops all that wait if they are too many.
const LOOKS: usize = 64;

/// The bytes of a message that its headers may take up.
const HEADER_ROOM: usize = 16 << 10;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The answer to a request.
#[derive(Debug)]
pub(super) enum Answer {
    Is(Bytes),
    /// No program has subscribed to the subject.
    Nobody,
    /// There was no answer in time.
    Silence,
}

/// A stored message.
pub(super) struct Found {
    pub(super) headers: Option<HeaderMap>,
    pub(super) payload: Bytes,
}

/// The error of an operation for which the server cannot be reached or does not answer.
#[derive(Debug)]
pub(super) struct Away;

/// What the connection reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    Connected,
    Disconnected,
    /// The client has dropped messages, because it did not read them fast enough.
    SlowConsumer,
}

#[derive(Clone)]
pub(super) struct Link {
    pub(super) client: Client,
    pub(super) names: Names,
    pub(super) ack_wait: Duration,
    todo: Stream,
    claim: Stream,
    done: Stream,
    blobs: ObjectStore,
    /// Limits the look-ups that are under way.
    looks: Arc<Semaphore>,
    /// The number of connections so far and the time of the last one.
    connections: watch::Receiver<(u64, Instant)>,
}

/// Connects, checks the server, and creates the queue if it is new.
pub(super) async fn connect(
    options: &Options,
    name: &str,
) -> Result<(Link, mpsc::UnboundedReceiver<News>), String> {
    let deadline = Instant::now() + options.connect_timeout;
    let shown = options.address.shown();
    let (sender, news) = mpsc::unbounded_channel();
    let (count, connections) = watch::channel((0, Instant::now()));
    let count = Arc::new(count);
    let client = dial(options, name, &sender, &count, deadline).await?;
    check(&client, &shown)?;
    let context = jetstream::new(client.clone());
    let names = Names {
        queue: options.address.queue.as_str().into(),
    };
    let Queue {
        todo,
        claim,
        done,
        blobs,
        ack_wait,
    } = loop {
        match create(&context, &names, options).await {
            Ok(created) => break created,
            Err(Trouble::Final(text)) => return Err(text),
            Err(Trouble::Now(_)) if Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(Trouble::Now(text)) => {
                return Err(format!(
                    "the server at {shown} does not create the queue: {text}"
                ));
            }
        }
    };
    let link = Link {
        claim,
        done,
        blobs,
        client,
        names,
        ack_wait,
        todo,
        looks: Arc::new(Semaphore::new(LOOKS)),
        connections,
    };
    Ok((link, news))
}

/// Tries to connect until the deadline, unless the server refuses.
async fn dial(
    options: &Options,
    name: &str,
    news: &mpsc::UnboundedSender<News>,
    count: &Arc<watch::Sender<(u64, Instant)>>,
    deadline: Instant,
) -> Result<Client, String> {
    let shown = options.address.shown();
    loop {
        let configured = configure(options, name, news, count).await?;
        match configured.connect(&options.address.servers[..]).await {
            Ok(client) => return Ok(client),
            Err(error) => match error.kind() {
                ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
                    return Err(format!(
                        "the server at {shown} refuses the login: check user and password, nkey or credentials"
                    ));
                }
                ConnectErrorKind::ServerParse => {
                    return Err(format!("{shown} is no address of a server"));
                }
                _ if is_about_certificates(&error) => {
                    return Err(format!(
                        "the certificate of the server at {shown} is not accepted: name the file with the certificates of those who may \
                         sign it (`Options::tls_ca`), and use a host name that the certificate has"
                    ));
                }
                _ if Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                kind => {
                    return Err(format!(
                        "no connection to {shown} within {:?}: {kind}. Is a nats-server running there, and are the \
                         scheme (nats or tls) and the certificates right?",
                        options.connect_timeout
                    ));
                }
            },
        }
    }
}

/// Whether a connection has failed because of the server's certificate.
fn is_about_certificates(error: &async_nats::ConnectError) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if error.to_string().contains("certificate") {
            return true;
        }
        source = error.source();
    }
    false
}

async fn configure(
    options: &Options,
    name: &str,
    news: &mpsc::UnboundedSender<News>,
    count: &Arc<watch::Sender<(u64, Instant)>>,
) -> Result<ConnectOptions, String> {
    let (news, count) = (news.clone(), Arc::clone(count));
    let mut configured = ConnectOptions::new()
        .name(name)
        .connection_timeout(Duration::from_secs(5))
        .max_reconnects(None)
        .reconnect_delay_callback(|attempts| Duration::from_millis((attempts as u64 * 20).min(500)))
        .ping_interval(Duration::from_secs(10))
        .request_timeout(Some(REQUEST_TIMEOUT))
        .client_capacity(16 << 10)
        .subscription_capacity(options.room)
        .event_callback(move |event| {
            let report = match event {
                Event::Connected => Some(News::Connected),
                Event::Disconnected => Some(News::Disconnected),
                Event::SlowConsumer(_) => Some(News::SlowConsumer),
                _ => None,
            };
            if report == Some(News::Connected) {
                count.send_modify(|(count, at)| (*count, *at) = (*count + 1, Instant::now()));
            }
            if let Some(report) = report {
                let _ = news.send(report);
            }
            async {}
        });
    if let Some((user, password)) = &options.address.login {
        configured = configured.user_and_password(user.clone(), password.clone());
    }
    if let Some(seed) = &options.nkey {
        configured = configured.nkey(seed.clone());
    }
    if let Some(path) = &options.credentials {
        configured = configured.credentials_file(path).await.map_err(|error| {
            format!(
                "the file with the credentials cannot be used: {}",
                error.kind()
            )
        })?;
    }
    if let Some(path) = &options.tls_ca {
        if !path.is_file() {
            return Err(format!(
                "there is no file {} with certificates",
                path.display()
            ));
        }
        configured = configured.add_root_certificates(path.clone());
    }
    Ok(configured)
}

fn check(client: &Client, shown: &str) -> Result<(), String> {
    let (major, minor) = FLOOR;
    if client.is_server_compatible(major, minor, 0) {
        return Ok(());
    }
    let version = client.server_info().version;
    Err(format!(
        "nats-server {version} at {shown}: heist needs {major}.{minor} or later, because older ones keep finished tasks \
         in the queue after a crash"
    ))
}

/// Why a queue could not be created.
enum Trouble {
    Now(String),
    Final(String),
}

/// What the server has of a queue.
struct Queue {
    todo: Stream,
    claim: Stream,
    done: Stream,
    blobs: ObjectStore,
    /// The time after which a silent worker is given up.
    ack_wait: Duration,
}

/// Creates what is not there of a queue.
async fn create(context: &Context, names: &Names, options: &Options) -> Result<Queue, Trouble> {
    let keep = options.keep_results.unwrap_or(DAY);
    let window = Duration::from_secs(120);
    let common = || Config {
        num_replicas: options.replicas,
        duplicate_window: window,
        discard: DiscardPolicy::New,
        allow_direct: true,
        ..Config::default()
    };
    let once = |name, subject: &str| Config {
        name,
        subjects: vec![names.subject(subject)],
        max_messages_per_subject: 1,
        discard_new_per_subject: true,
        max_age: keep,
        ..common()
    };
    let todo = stream(
        context,
        Config {
            name: names.todo_stream(),
            subjects: vec![names.subject("todo.>")],
            retention: RetentionPolicy::WorkQueue,
            max_messages: options.queue_capacity.unwrap_or(1_000_000).into(),
            ..common()
        },
    )
    .await?;
    let claim = stream(context, once(names.claim_stream(), "claim.>")).await?;
    let done = stream(context, once(names.done_stream(), "done.>")).await?;
    let bucket = object_store::Config {
        bucket: names.bucket(),
        max_age: keep,
        num_replicas: options.replicas,
        ..object_store::Config::default()
    };
    let blobs = match context.get_object_store(names.bucket()).await {
        Ok(blobs) => blobs,
        Err(_) => context
            .create_object_store(bucket)
            .await
            .map_err(|error| Trouble::Now(error.to_string()))?,
    };
    let ack_wait = consumers(&todo, names, options).await?;
    Ok(Queue {
        todo,
        claim,
        done,
        blobs,
        ack_wait,
    })
}

/// Creates what is not there of the consumers of the lanes. Returns the time after which a silent worker is given up.
async fn consumers(todo: &Stream, names: &Names, options: &Options) -> Result<Duration, Trouble> {
    let mut ack_wait = Duration::ZERO;
    for lane in LANES {
        let wanted = pull::Config {
            durable_name: Some(lane.to_owned()),
            ack_policy: AckPolicy::Explicit,
            ack_wait: options.ack_wait.unwrap_or(Duration::from_secs(10)),
            max_deliver: -1,
            max_ack_pending: -1,
            max_waiting: 1 << 15,
            filter_subject: names.subject(&format!("todo.{lane}.>")),
            ..pull::Config::default()
        };
        let consumer: PullConsumer = todo
            .get_or_create_consumer(lane, wanted)
            .await
            .map_err(|error| Trouble::Now(error.to_string()))?;
        ack_wait = consumer.cached_info().config.ack_wait;
    }
    match options.ack_wait {
        Some(wanted) if wanted != ack_wait => Err(Trouble::Final(format!(
            "the queue {} exists with an ack_wait of {ack_wait:?}, and this program wants {wanted:?}: leave the setting \
             out, or use another queue",
            names.queue
        ))),
        _ => Ok(ack_wait),
    }
}

/// A stream of this name, created if it is not there.
async fn stream(context: &Context, config: Config) -> Result<Stream, Trouble> {
    let error = match context.get_stream(&config.name).await {
        Ok(stream) => return Ok(stream),
        Err(error) => error,
    };
    if !matches!(error.kind(), GetStreamErrorKind::JetStream(_)) {
        return Err(Trouble::Now(format!(
            "{error}; is JetStream enabled (nats-server -js)?"
        )));
    }
    context
        .create_stream(config)
        .await
        .map_err(|error| match error.kind() {
            CreateStreamErrorKind::JetStreamUnavailable => {
                Trouble::Now("JetStream is not enabled: start nats-server with -js".to_owned())
            }
            _ => Trouble::Now(error.to_string()),
        })
}

impl Link {
    /// The most bytes of a body that travels in a message.
    pub(super) fn inline_max(&self) -> usize {
        self.client.max_payload().saturating_sub(HEADER_ROOM)
    }

    /// A receiver that changes with each new connection.
    pub(super) fn connections(&self) -> watch::Receiver<(u64, Instant)> {
        let mut connections = self.connections.clone();
        connections.mark_unchanged();
        connections
    }

    /// For how long the connection has lasted, if there is one.
    pub(super) fn connected_for(&self) -> Option<Duration> {
        let is_there = self.client.connection_state() == State::Connected;
        is_there.then(|| self.connections.borrow().1.elapsed())
    }

    /// Sends a message to a stream and waits until it is stored.
    pub(super) async fn store(
        &self,
        subject: String,
        headers: HeaderMap,
        payload: Bytes,
    ) -> Stored {
        let mut connections = self.connections();
        let request = Request::new().headers(headers).payload(payload);
        tokio::select! {
            answer = self.client.send_request(subject, request) => match answer {
                Ok(answer) => record::stored(&answer.payload),
                Err(error) => match error.kind() {
                    RequestErrorKind::InvalidSubject | RequestErrorKind::MaxPayloadExceeded => {
                        Stored::Refused(error.to_string())
                    }
                    _ => Stored::Unsure,
                },
            },
            _ = connections.changed() => Stored::Unsure,
        }
    }

    /// Sends a request to whoever has subscribed to the subject, and waits for one answer.
    pub(super) async fn ask(&self, subject: String, payload: Bytes, time: Duration) -> Answer {
        let request = Request::new().payload(payload).timeout(Some(time));
        match self.client.send_request(subject, request).await {
            Ok(answer) => Answer::Is(answer.payload),
            Err(error) if error.kind() == RequestErrorKind::NoResponders => Answer::Nobody,
            Err(_) => Answer::Silence,
        }
    }

    /// Says something to whoever listens. What is said while the server is away is said later, or never.
    pub(super) async fn say(&self, subject: String, payload: impl Into<Bytes>) {
        let _ = self.client.publish(subject, payload.into()).await;
    }

    /// The outcome that is stored for a call.
    pub(super) async fn done(&self, key: &str) -> Result<Option<Found>, Away> {
        let subject = self.names.done(key);
        self.look(|| last(&self.done, &subject)).await
    }

    pub(super) async fn claim(&self, key: &str, start: u32) -> Result<Option<Found>, Away> {
        let subject = self.names.claim(key, start);
        self.look(|| last(&self.claim, &subject)).await
    }

    /// Whether a worker has claimed a start of a call.
    pub(super) async fn is_claimed(&self, key: &str) -> Result<bool, Away> {
        let subject = self.names.claims(key);
        let found = self.look(|| last(&self.claim, &subject)).await?;
        Ok(found.is_some())
    }

    /// Stores how the items of a session's streams travel, unless that is stored already. Returns whether it is so.
    pub(super) async fn agree(&self, session: &str, how: &'static str) -> bool {
        let key = format!("{session}.streams");
        loop {
            let subject = self.names.claim(&key, 0);
            let body = Bytes::from_static(how.as_bytes());
            match self.store(subject, HeaderMap::new(), body).await {
                Stored::Yes => return true,
                Stored::Refused(_) => return false,
                Stored::Taken | Stored::Unsure => {
                    if let Some(found) = insist(|| self.claim(&key, 0)).await {
                        return found.payload == how;
                    }
                }
                Stored::Full => {}
            }
            pause().await;
        }
    }

    /// The message of a call that waits or runs.
    pub(super) async fn todo(&self, key: &str) -> Result<Option<Found>, Away> {
        let subject = self.names.todo_anywhere(key);
        self.look(|| last(&self.todo, &subject)).await
    }

    /// Looks something up, twice if the answer does not come, and not longer than the connection lasts: what was asked on the one before has no answer.
    async fn look<T, F>(&self, ask: impl Fn() -> F) -> Result<T, Away>
    where
        F: Future<Output = Result<T, Away>>,
    {
        // The semaphore is never closed.
        let _turn = self.looks.acquire().await;
        let mut connections = self.connections();
        let mut first = std::pin::pin!(ask());
        tokio::select! {
            answer = &mut first => return answer,
            _ = connections.changed() => return Err(Away),
            () = tokio::time::sleep(LOOK_AGAIN) => {}
        }
        tokio::select! {
            answer = first => answer,
            answer = ask() => answer,
            _ = connections.changed() => Err(Away),
        }
    }

    /// Removes a call from the queue. With a pattern for all lanes, the server would not tell the lanes, and the depth of the queue would be wrong.
    pub(super) async fn purge(&self, key: &str) -> Result<(), Away> {
        for lane in 0..LANES.len() {
            let purge = self.todo.purge().filter(self.names.todo(lane, key));
            purge.await.map(drop).map_err(|_| Away)?;
        }
        Ok(())
    }

    pub(super) async fn put_blob(&self, name: &str, bytes: &[u8]) -> Result<(), Away> {
        let mut source = bytes;
        self.blobs
            .put(name, &mut source)
            .await
            .map(drop)
            .map_err(|_| Away)
    }

    /// Returns an object, or nothing if it does not exist any more.
    pub(super) async fn blob(&self, name: &str) -> Result<Option<Bytes>, Away> {
        let mut object = match self.blobs.get(name).await {
            Ok(object) => object,
            Err(error) if error.kind() == object_store::GetErrorKind::NotFound => return Ok(None),
            Err(_) => return Err(Away),
        };
        let mut bytes = Vec::with_capacity(object.info.size);
        object.read_to_end(&mut bytes).await.map_err(|_| Away)?;
        Ok(Some(bytes.into()))
    }

    pub(super) async fn delete_blob(&self, name: &str) {
        // If this fails, the server removes the object when its time is over.
        let _ = self.blobs.delete(name).await;
    }

    /// The numbers of messages that wait, that workers have, and that were given out again, lane by lane, and the number of results.
    pub(super) async fn counts(&self) -> Result<([(u64, usize, usize); 3], u64), Away> {
        let mut lanes = [(0, 0, 0); 3];
        for (lane, name) in lanes.iter_mut().zip(LANES) {
            let info = self.todo.consumer_info(name).await.map_err(|_| Away)?;
            *lane = (info.num_pending, info.num_ack_pending, info.num_redelivered);
        }
        let info = self.done.get_info().await.map_err(|_| Away)?;
        Ok((lanes, info.state.messages))
    }
}

fn found(message: jetstream::message::StreamMessage) -> Found {
    Found {
        headers: Some(message.headers),
        payload: message.payload,
    }
}

/// The last message of a subject, asked of the server that leads the stream: it knows all that was stored.
async fn last(stream: &Stream, subject: &str) -> Result<Option<Found>, Away> {
    match stream.get_last_raw_message_by_subject(subject).await {
        Ok(message) => Ok(Some(found(message))),
        Err(error) => match error.kind() {
            LastRawMessageErrorKind::NoMessageFound => Ok(None),
            _ => Err(Away),
        },
    }
}

/// Waits before an operation is repeated.
pub(super) async fn pause() {
    tokio::time::sleep(Duration::from_millis(100)).await;
}

/// A name that nobody else has.
pub(super) fn fresh_name(link: &Link) -> Arc<str> {
    let inbox = link.client.new_inbox();
    inbox.rsplit('.').next().unwrap_or_default().into()
}

/// Repeats an operation until the server has answered.
pub(super) async fn insist<T, F>(mut operation: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, Away>>,
{
    loop {
        match operation().await {
            Ok(value) => return value,
            Err(Away) => pause().await,
        }
    }
}
