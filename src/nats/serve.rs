//! What a worker does with one task, from its message to its acknowledgement.
//!
//! **At most so many starts.** The start number k of a task begins with a message to the subject `claim.<task>.<k>`, of which the stream keeps the first and refuses others. So of all workers
//! that were given the task, after any crash, one begins it, and knows. A claim names its worker and this very handling. Whoever finds a claim of another asks that one: if it runs the task, it is
//! left alone; if not, that start is lost, and the next one is claimed, or the task is lost if it has no more tries.
//!
//! What few tasks need is in boxes, so that the futures of the others are small.
//!
//! **Invariant.** A worker answers for a task from before its claim until after its outcome is stored.

use super::events;
use super::link::{Answer, insist, pause};
use super::record::{self, Kind, Record, Stored};
use super::remote::{self, Blob, Remote, RemoteChunk};
use super::station::{Delivery, Place, Station};
use crate::process::tag;
use crate::{CancelToken, Executor, JoinError};
use async_nats::HeaderMap;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A worker whose connection is younger does not judge others, which may not be connected again yet.
const YOUNG: Duration = Duration::from_secs(2);

/// What a claim says.
#[derive(Serialize, Deserialize)]
struct Claim {
    worker: String,
    pid: u32,
    /// Of this handling of the task, so that a message that was sent twice is known again.
    nonce: String,
}

/// A task as its message has it.
struct Work<'a> {
    station: &'a Arc<Station>,
    delivery: &'a Delivery,
    name: String,
    tries: u32,
    /// The number of calls that travel together, if it is a chunk.
    items: Option<u32>,
    timeout: Option<Duration>,
    token: CancelToken,
}

/// What is to be done with a task now.
enum End {
    /// It has ended so.
    Record(Record),
    /// Its outcome is stored.
    Done,
    /// It is to be given out again, after a time.
    Later(Duration),
}

pub(super) async fn serve(place: Place, delivery: Delivery) {
    let station = &Arc::clone(&place.0);
    let empty = HeaderMap::new();
    let headers = delivery.message.headers.as_ref().unwrap_or(&empty);
    let name = record::text(headers, record::TASK)
        .unwrap_or_default()
        .to_owned();
    let work = Work {
        station,
        delivery: &delivery,
        tries: delivery.tries,
        items: record::number(headers, record::ITEMS),
        timeout: record::number(headers, record::TIMEOUT).map(Duration::from_millis),
        token: station.hold(&delivery, &name),
        name,
    };
    let key = &delivery.key;
    let end = work.run(headers).await;
    // The next task begins while the outcome is stored.
    drop(place);
    match end {
        End::Record(record) => {
            work.store(record).await;
            station.release(key, Bytes::from_static(b"+ACK")).await;
            if let Some(blob) = record::text(headers, record::BLOB) {
                Box::pin(station.link.delete_blob(blob)).await;
            }
        }
        End::Done => station.release(key, Bytes::from_static(b"+ACK")).await,
        End::Later(Duration::ZERO) => station.release(key, Bytes::from_static(b"-NAK")).await,
        End::Later(time) => {
            let word = format!(r#"-NAK {{"delay":{}}}"#, time.as_nanos());
            station.release(key, word.into()).await;
        }
    }
}

impl Work<'_> {
    async fn run(&self, headers: &HeaderMap) -> End {
        let link = &self.station.link;
        let key = &*self.delivery.key;
        // It was given out before, so it may have ended.
        if self.delivery.times > 1 {
            let done = Box::pin(insist(|| link.done(key)));
            if done.await.is_some() {
                return End::Done;
            }
        }
        let version = record::text(headers, record::VERSION).unwrap_or(record::PROTOCOL);
        let Some(entry) = remote::entry(&self.name).filter(|_| version == record::PROTOCOL) else {
            return Box::pin(self.unknown()).await;
        };
        self.station.lock().unknown.remove(key);
        let signature = record::text(headers, record::SIGNATURE).unwrap_or_default();
        if !signature.is_empty() && signature != entry.signature() {
            return self.refused(format!(
                "the task `{}` is {signature} for its client and {} for the worker {}: give it a new name when its \
                 parameters change, with #[heist::task(name = \"..\")]",
                self.name,
                entry.signature(),
                self.station.name
            ));
        }
        let args = match record::text(headers, record::BLOB) {
            None => self.delivery.message.payload.to_vec(),
            Some(blob) => match Box::pin(insist(|| link.blob(blob))).await {
                Some(args) => args.to_vec(),
                None => return self.refused("its arguments are not kept any more".to_owned()),
            },
        };
        match self.claim().await {
            Ok(start) => self.execute(args, start).await,
            Err(end) => end,
        }
    }

    fn record(&self, kind: Kind, body: impl Into<Bytes>) -> Record {
        let mut record = Record::new(kind, &self.name, body.into());
        record.worker.clone_from(&self.station.name);
        record
    }

    fn refused(&self, text: String) -> End {
        let mut record = self.record(Kind::Refused, text);
        record.starts = 1;
        End::Record(record)
    }

    /// Leaves a task that this program does not know to others for a while.
    async fn unknown(&self) -> End {
        let station = self.station;
        let since = {
            let mut state = station.lock();
            *state
                .unknown
                .entry(Arc::clone(&self.delivery.key))
                .or_insert_with(Instant::now)
        };
        let waited = since.elapsed();
        if waited < station.settings.unknown_for {
            let delay = (waited / 4).clamp(Duration::from_millis(50), Duration::from_secs(1));
            return End::Later(delay);
        }
        station.lock().unknown.remove(&self.delivery.key);
        let notices = events::ask_all(&station.link).await;
        let mut versions: Vec<_> = notices
            .iter()
            .map(|notice| notice.worker.version.as_str())
            .collect();
        versions.sort_unstable();
        versions.dedup();
        self.refused(format!(
            "no worker knows the task `{}` (asked for {:?}; the queue {} has {} workers, of the versions {}): link its crate \
             into the worker's program (`use thumbs as _;`), or register it (`Worker::task`)",
            self.name,
            station.settings.unknown_for,
            station.link.names.queue,
            notices.len(),
            versions.join(", ")
        ))
    }

    /// Claims a start of the task. Returns its number.
    async fn claim(&self) -> Result<u32, End> {
        let station = self.station;
        let key = &self.delivery.key;
        let claim = Claim {
            worker: station.name.clone(),
            pid: std::process::id(),
            nonce: station.link.client.new_inbox(),
        };
        let body = Bytes::from(serde_json::to_vec(&claim).unwrap_or_default());
        let mut owner = None;
        for start in 1..=self.tries {
            loop {
                let subject = station.link.names.claim(key, start);
                match station
                    .link
                    .store(subject, HeaderMap::new(), body.clone())
                    .await
                {
                    Stored::Yes => return Ok(self.begun(start)),
                    Stored::Taken => {}
                    Stored::Refused(text) => return Err(self.refused(text)),
                    Stored::Full | Stored::Unsure => {
                        pause().await;
                        continue;
                    }
                }
                let found = Box::pin(insist(|| station.link.claim(key, start)));
                let Some(found) = found.await else {
                    continue;
                };
                let other: Option<Claim> = serde_json::from_slice(&found.payload).ok();
                if other
                    .as_ref()
                    .is_some_and(|other| other.nonce == claim.nonce)
                {
                    return Ok(self.begun(start));
                }
                Box::pin(self.judge(other.as_ref())).await?;
                owner = other;
                break;
            }
        }
        let mut record = self.record(Kind::Lost, Bytes::new());
        record.starts = self.tries;
        record.pid = owner.map_or(0, |owner| owner.pid);
        Err(End::Record(record))
    }

    fn begun(&self, start: u32) -> u32 {
        if let Some(running) = self.station.lock().running.get_mut(&self.delivery.key) {
            running.start = start;
        }
        start
    }

    /// Finds out what has become of a start that another has claimed. Returns if it is lost.
    async fn judge(&self, claim: Option<&Claim>) -> Result<(), End> {
        let link = &self.station.link;
        let key = &*self.delivery.key;
        let again = (link.ack_wait / 2).min(Duration::from_secs(2));
        if let Some(claim) = claim
            && claim.worker != self.station.name
        {
            let subject = link.names.subject(&format!("worker.{}", claim.worker));
            let patience =
                (link.ack_wait / 2).clamp(Duration::from_millis(250), Duration::from_secs(2));
            match link
                .ask(subject, Bytes::copy_from_slice(key.as_bytes()), patience)
                .await
            {
                Answer::Is(answer) if &*answer == b"yes" => return Err(End::Later(again)),
                Answer::Is(_) => {}
                Answer::Nobody | Answer::Silence => {
                    let young = YOUNG.max(link.ack_wait);
                    if link.connected_for().is_none_or(|time| time < young) {
                        return Err(End::Later(again));
                    }
                }
            }
        }
        // Whoever does not run it any more may have ended it.
        match insist(|| link.done(key)).await {
            Some(_) => Err(End::Done),
            None => Ok(()),
        }
    }

    /// Runs the task.
    async fn execute(&self, args: Vec<u8>, start: u32) -> End {
        let station = self.station;
        let handle = {
            let mut call = station.backend.task().tries(1).token(&self.token);
            if let Some(timeout) = self.timeout {
                call = call.timeout(timeout);
            }
            let args = (self.name.clone(), Blob(args));
            match self.items {
                None => call.submit(Remote, args),
                Some(_) => call.submit(RemoteChunk, args),
            }
        };
        let outcome = handle.await;
        let mut record = match outcome {
            Ok((tag, body, ran)) => {
                let ran = Duration::from_nanos(ran);
                station.note_time(ran);
                let mut record = self.outcome(tag, body.0);
                record.ran = ran;
                record
            }
            Err(error) => match self.failure(&error, start) {
                Some(record) => record,
                None => return End::Later(Duration::ZERO),
            },
        };
        record.starts = start;
        let mut state = station.lock();
        let items = u64::from(self.items.unwrap_or(1));
        state.done += items;
        if !matches!(record.kind, Kind::Value | Kind::Chunk) {
            state.failed += items;
        }
        drop(state);
        End::Record(record)
    }

    fn outcome(&self, tag: u8, body: Vec<u8>) -> Record {
        match tag {
            tag::VALUE if self.items.is_some() => self.record(Kind::Chunk, body),
            tag::VALUE => self.record(Kind::Value, body),
            tag::PANIC => self.record(Kind::Panic, body),
            tag::BAD_ARGS => self.record(Kind::BadArgs, body),
            tag::UNKNOWN => self.record(
                Kind::Refused,
                format!(
                    "the task `{}` was registered after heist::init() in the worker",
                    self.name
                ),
            ),
            _ => self.record(Kind::BadResult, body),
        }
    }

    /// The outcome of a task that did not return, or nothing if it may be started again.
    fn failure(&self, error: &JoinError, start: u32) -> Option<Record> {
        let lost = error.lost();
        if lost.is_some() || self.station.is_forced() {
            if start < self.tries {
                return None;
            }
            let mut record = self.record(Kind::Lost, Bytes::new());
            record.pid = lost.map_or(std::process::id(), |lost| lost.worker);
            record.signal = lost.and_then(|lost| lost.signal);
            record.code = lost.and_then(|lost| lost.code);
            return Some(record);
        }
        Some(if error.is_timeout() {
            self.record(Kind::Timeout, Bytes::new())
        } else if error.is_cancelled() {
            self.record(Kind::Cancelled, Bytes::new())
        } else {
            self.record(Kind::Refused, error.to_string())
        })
    }

    /// Stores the outcome, unless there is one.
    async fn store(&self, mut record: Record) {
        let link = &self.station.link;
        let key = &*self.delivery.key;
        if record.body.len() > link.inline_max() {
            let name = format!("result.{key}.{}", record.starts);
            Box::pin(insist(|| link.put_blob(&name, &record.body))).await;
            record.blob = Some(name);
            record.body = Bytes::new();
        }
        loop {
            match link
                .store(link.names.done(key), record.headers(), record.body.clone())
                .await
            {
                Stored::Yes | Stored::Taken => return,
                Stored::Refused(text) => {
                    let starts = record.starts;
                    record = self.record(Kind::BadResult, text);
                    record.starts = starts;
                }
                Stored::Full | Stored::Unsure => pause().await,
            }
        }
    }
}
