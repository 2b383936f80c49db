//! What is stored of an outcome, as headers and a body that any NATS client can read.

use crate::Lost;
use crate::executor::remote::Failure;
use async_nats::HeaderMap;
use bytes::Bytes;
use std::time::Duration;

pub(super) const TASK: &str = "Heist-Task";
pub(super) const SIGNATURE: &str = "Heist-Signature";
pub(super) const TRIES: &str = "Heist-Tries";
pub(super) const TIMEOUT: &str = "Heist-Timeout-Ms";
pub(super) const VERSION: &str = "Heist-Version";
/// The name of the object that holds the body.
pub(super) const BLOB: &str = "Heist-Blob";
const OUTCOME: &str = "Heist-Outcome";
const RAN: &str = "Heist-Ran-Ns";
const STARTS: &str = "Heist-Starts";
const WORKER: &str = "Heist-Worker";
const PID: &str = "Heist-Pid";
const SIGNAL: &str = "Heist-Signal";
const CODE: &str = "Heist-Code";

/// How many calls the message of a chunk holds.
pub(super) const ITEMS: &str = "Heist-Items";

/// The version of the protocol.
pub(super) const PROTOCOL: &str = "1";

/// How a call has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Value,
    /// The outcomes of a chunk, each with a tag of its own.
    Chunk,
    Panic,
    BadArgs,
    BadResult,
    Refused,
    Lost,
    Timeout,
    Cancelled,
}

pub(super) const KINDS: [(Kind, &str); 9] = [
    (Kind::Value, "value"),
    (Kind::Chunk, "chunk"),
    (Kind::Panic, "panic"),
    (Kind::BadArgs, "bad-args"),
    (Kind::BadResult, "bad-result"),
    (Kind::Refused, "refused"),
    (Kind::Lost, "lost"),
    (Kind::Timeout, "timeout"),
    (Kind::Cancelled, "cancelled"),
];

/// The outcome of a call.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) kind: Kind,
    /// A value or a panic in MessagePack, or for the other kinds a text.
    pub(super) body: Bytes,
    /// The name of the object that holds the body.
    pub(super) blob: Option<String>,
    pub(super) task: String,
    /// How long the task ran.
    pub(super) ran: Duration,
    /// How many times the call was started.
    pub(super) starts: u32,
    /// The name of the worker.
    pub(super) worker: String,
    /// The id of the process that was lost.
    pub(super) pid: u32,
    pub(super) signal: Option<i32>,
    pub(super) code: Option<i32>,
}

impl Record {
    pub(super) fn new(kind: Kind, task: &str, body: Bytes) -> Self {
        Record {
            kind,
            body,
            blob: None,
            task: task.to_owned(),
            ran: Duration::ZERO,
            starts: 0,
            worker: String::new(),
            pid: 0,
            signal: None,
            code: None,
        }
    }

    pub(super) fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let kind = KINDS.iter().find(|(kind, _)| *kind == self.kind);
        headers.insert(OUTCOME, kind.map_or("", |(_, name)| name));
        headers.insert(TASK, &*self.task);
        headers.insert(STARTS, self.starts.to_string());
        if !self.worker.is_empty() {
            headers.insert(WORKER, &*self.worker);
            headers.insert(RAN, self.ran.as_nanos().to_string());
        }
        if self.kind == Kind::Lost {
            headers.insert(PID, self.pid.to_string());
        }
        if let Some(signal) = self.signal {
            headers.insert(SIGNAL, signal.to_string());
        }
        if let Some(code) = self.code {
            headers.insert(CODE, code.to_string());
        }
        if let Some(blob) = &self.blob {
            headers.insert(BLOB, &**blob);
        }
        headers
    }

    /// Reads a record. Headers that are missing have a default, because other programs may write records too.
    pub(super) fn parse(headers: Option<&HeaderMap>, body: Bytes) -> Option<Self> {
        let headers = headers?;
        let outcome = text(headers, OUTCOME)?;
        let (kind, _) = KINDS.iter().find(|(_, name)| *name == outcome)?;
        Some(Record {
            kind: *kind,
            body,
            blob: text(headers, BLOB).map(str::to_owned),
            task: text(headers, TASK).unwrap_or_default().to_owned(),
            ran: Duration::from_nanos(number(headers, RAN).unwrap_or(0)),
            starts: number(headers, STARTS).unwrap_or(1),
            worker: text(headers, WORKER).unwrap_or_default().to_owned(),
            pid: number(headers, PID).unwrap_or(0),
            signal: number(headers, SIGNAL),
            code: number(headers, CODE),
        })
    }

    /// Why there is no value, for outcomes that carry nothing of the task's.
    pub(super) fn failure(&self) -> Option<Failure> {
        let text = || String::from_utf8_lossy(&self.body).into_owned();
        match self.kind {
            Kind::Value | Kind::Chunk | Kind::Panic | Kind::BadArgs | Kind::BadResult => None,
            Kind::Refused => Some(Failure::Refused(text().into())),
            Kind::Lost => Some(Failure::Lost(Lost::new(
                self.pid,
                self.signal,
                self.code,
                self.starts,
            ))),
            Kind::Timeout => Some(Failure::Timeout),
            Kind::Cancelled => Some(Failure::Refused("it was cancelled".into())),
        }
    }

    /// Whether another outcome of the same call can exist: only what is stored counts then.
    pub(super) fn has_rivals(&self) -> bool {
        self.starts != 1 || matches!(self.kind, Kind::Lost | Kind::Cancelled)
    }
}

/// A header as text.
pub(super) fn text<'a>(headers: &'a HeaderMap, name: &'static str) -> Option<&'a str> {
    headers.get(name).map(|value| value.as_str())
}

/// A header as a number.
pub(super) fn number<N: std::str::FromStr>(headers: &HeaderMap, name: &'static str) -> Option<N> {
    text(headers, name)?.parse().ok()
}

/// How an attempt to store a message has ended.
#[derive(Debug)]
pub(super) enum Stored {
    Yes,
    /// The stream already holds a message with this subject, and accepts only one.
    Taken,
    /// The stream is full.
    Full,
    /// The server has refused the message for good, for the reason that the text gives.
    Refused(String),
    /// There was no answer, so the message may be stored or not.
    Unsure,
}

/// What the server's answer to a message for a stream says.
pub(super) fn stored(answer: &[u8]) -> Stored {
    #[derive(serde::Deserialize)]
    struct Answer {
        error: Option<Refusal>,
    }
    #[derive(serde::Deserialize)]
    struct Refusal {
        err_code: Option<u64>,
        #[serde(default)]
        description: String,
    }
    let Ok(answer) = serde_json::from_slice::<Answer>(answer) else {
        return Stored::Unsure;
    };
    let Some(Refusal {
        err_code,
        description,
    }) = answer.error
    else {
        return Stored::Yes;
    };
    match err_code {
        // Several refusals of a stream have this code. Only the text tells which one it is.
        Some(10077) if description.contains("per subject") => Stored::Taken,
        Some(10077) if description.contains("exceeded") => Stored::Full,
        // The disk, or what the server may use of it, is full.
        Some(10023 | 10028 | 10047) => Stored::Full,
        Some(10054) => Stored::Refused(description),
        _ => Stored::Unsure,
    }
}
