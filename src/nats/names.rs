//! The names of a queue: its address, its streams and its subjects.

use crate::pool::Priority;
use std::sync::Arc;

/// Where the servers are, which queue is meant, and who asks.
#[derive(Clone)]
pub(super) struct Address {
    /// The addresses of the servers, each with a scheme and a port.
    pub(super) servers: Vec<String>,
    pub(super) login: Option<(String, String)>,
    pub(super) queue: String,
}

/// The advice of errors that reject an address.
const FORM: &str = "write nats://host:4222/queue or tls://host:4222/queue, with several hosts separated by commas, and \
                    user:password@ before them if the server wants that";

impl Address {
    /// Reads an address. The error does not contain it, because it can hold a password.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text.split_once("://").ok_or("no scheme").or_else(wrong)?;
        if !matches!(scheme, "nats" | "tls") {
            return wrong("the scheme is neither nats nor tls");
        }
        let (authority, queue) = rest.split_once('/').ok_or("no queue").or_else(wrong)?;
        if !is_token(queue) {
            return wrong(
                "the name of the queue is not made of 1 to 64 letters, digits and hyphens",
            );
        }
        let (login, hosts) = match authority.rsplit_once('@') {
            None => (None, authority),
            Some((login, hosts)) => {
                let (user, password) = login.split_once(':').unwrap_or((login, ""));
                (Some((unescape(user), unescape(password))), hosts)
            }
        };
        let mut servers = Vec::new();
        for host in hosts.split(',') {
            if host.is_empty() || host.chars().any(char::is_whitespace) {
                return wrong("a host is missing");
            }
            servers.push(format!("{scheme}://{host}"));
        }
        Ok(Address {
            servers,
            login,
            queue: queue.to_owned(),
        })
    }

    /// The servers and the queue, without secrets.
    pub(super) fn shown(&self) -> String {
        format!("{}/{}", self.servers.join(","), self.queue)
    }
}

fn wrong<T>(why: &str) -> Result<T, String> {
    Err(format!(
        "the address of the cluster cannot be used, {why}: {FORM}"
    ))
}

/// Whether a text can be one part of a subject and of the name of a stream.
fn is_token(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (1..=64).contains(&text.len()) && text.bytes().all(is_plain)
}

/// Replaces `%41` by `A`.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let code = tail
            .get(..2)
            .and_then(|code| std::str::from_utf8(code).ok());
        let code = code.and_then(|code| u8::from_str_radix(code, 16).ok());
        match (first, code) {
            (b'%', Some(code)) => {
                bytes.push(code);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A call's place in the subjects: its session and its number, `session.n`, or `id.` and the id that the user gave.
pub(super) type Key = Arc<str>;

pub(super) fn key_of(session: &str, number: u64) -> Key {
    format!("{session}.{number}").into()
}

/// The key of an id that the user gave. Letters, digits, `-` and `_` stay as they are, other bytes become `=` and two digits.
pub(super) fn key_of_id(id: &str) -> Key {
    let mut key = "id.".to_owned();
    for byte in id.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') {
            key.push(byte.into());
        } else {
            key.push_str(&format!("={byte:02x}"));
        }
    }
    key.into()
}

/// The three lanes, the most urgent first.
pub(super) const LANES: [&str; 3] = ["high", "normal", "low"];

/// The index of a priority in [`LANES`].
pub(super) fn lane_of(priority: Priority) -> usize {
    match priority {
        Priority::High => 0,
        Priority::Normal => 1,
        Priority::Low => 2,
    }
}

/// The subjects and streams of a queue.
#[derive(Clone)]
pub(super) struct Names {
    pub(super) queue: Arc<str>,
}

impl Names {
    pub(super) fn todo_stream(&self) -> String {
        format!("HEIST_{}", self.queue)
    }

    pub(super) fn claim_stream(&self) -> String {
        format!("HEIST_{}_CLAIM", self.queue)
    }

    pub(super) fn done_stream(&self) -> String {
        format!("HEIST_{}_DONE", self.queue)
    }

    pub(super) fn bucket(&self) -> String {
        format!("HEIST_{}_BLOB", self.queue)
    }

    /// A subject of the queue.
    pub(super) fn subject(&self, rest: &str) -> String {
        format!("heist.{}.{rest}", self.queue)
    }

    pub(super) fn todo(&self, lane: usize, key: &str) -> String {
        format!("heist.{}.todo.{}.{key}", self.queue, LANES[lane])
    }

    /// The subject of a call in any lane, for searches.
    pub(super) fn todo_anywhere(&self, key: &str) -> String {
        self.subject(&format!("todo.*.{key}"))
    }

    pub(super) fn claim(&self, key: &str, start: u32) -> String {
        format!("heist.{}.claim.{key}.{start}", self.queue)
    }

    /// The subject of all claims of a call, for searches.
    pub(super) fn claims(&self, key: &str) -> String {
        format!("heist.{}.claim.{key}.*", self.queue)
    }

    pub(super) fn done(&self, key: &str) -> String {
        format!("heist.{}.done.{key}", self.queue)
    }

    /// The lane and the key of a subject of [`todo`](Self::todo).
    pub(super) fn read_todo<'a>(&self, subject: &'a str) -> Option<(usize, &'a str)> {
        let rest = subject.strip_prefix(&self.subject("todo."))?;
        let (lane, key) = rest.split_once('.')?;
        let lane = LANES.iter().position(|name| *name == lane)?;
        Some((lane, key))
    }

    /// What follows `heist.<queue>.<kind>.` in a subject.
    pub(super) fn read<'a>(&self, kind: &str, subject: &'a str) -> Option<&'a str> {
        subject.strip_prefix(&self.subject(kind))?.strip_prefix('.')
    }
}
