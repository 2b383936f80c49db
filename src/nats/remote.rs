//! The task by which a worker runs any task, on threads or in a process of its own.

use crate::Task;
use crate::process::{Format, TASKS, TaskEntry, by_name, tag};
use linkme::distributed_slice;
use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};
use std::collections::HashMap;
use std::fmt;
use std::sync::OnceLock;
use std::time::Instant;

/// Bytes that are serialised as one piece.
pub(super) struct Blob(pub(super) Vec<u8>);

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Blob;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Blob, E> {
                Ok(Blob(bytes.to_vec()))
            }

            fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<Blob, E> {
                Ok(Blob(bytes))
            }
        }
        deserializer.deserialize_byte_buf(Bytes)
    }
}

/// Runs the task of this name with arguments in MessagePack. Returns the tag of the outcome, the outcome, and how many nanoseconds the task ran.
#[derive(Clone, Copy)]
pub(super) struct Remote;

impl Task for Remote {
    type Args = (String, Blob);
    type Output = (u8, Blob, u64);
    const NAME: &'static str = "heist::nats::remote";
    const SIGNATURE: &'static str = "(String, Bytes) -> (u8, Bytes, u64)";
    const PLACE: (&'static str, u32) = (file!(), line!());

    fn run((name, args): Self::Args) -> Self::Output {
        let mut out = Vec::new();
        let Some(entry) = entry(&name) else {
            return (tag::UNKNOWN, Blob(out), 0);
        };
        // A program in another language may send nothing where there is nothing to send.
        let args = if args.0.is_empty() {
            &[NIL]
        } else {
            &args.0[..]
        };
        let begin = Instant::now();
        let tag = entry.run(Format::Named, args, &mut out);
        let ran = u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX);
        (tag, Blob(out), ran)
    }
}

/// Nothing, in MessagePack.
const NIL: u8 = 0xc0;

#[distributed_slice(TASKS)]
static REMOTE: TaskEntry = TaskEntry::of::<Remote>();

/// Runs the task of this name with each of the arguments of a chunk. Returns the outcomes in MessagePack, each with its tag, and how many nanoseconds the items ran.
/// If the call is cancelled, the rest of the items does not run, and has no outcomes.
#[derive(Clone, Copy)]
pub(super) struct RemoteChunk;

impl Task for RemoteChunk {
    type Args = (String, Blob);
    type Output = (u8, Blob, u64);
    const NAME: &'static str = "heist::nats::remote_chunk";
    const SIGNATURE: &'static str = "(String, Bytes) -> (u8, Bytes, u64)";
    const PLACE: (&'static str, u32) = (file!(), line!());

    fn run((name, args): Self::Args) -> Self::Output {
        let items: Vec<Blob> = match rmp_serde::from_slice(&args.0) {
            Ok(items) => items,
            Err(error) => return (tag::BAD_ARGS, Blob(error.to_string().into_bytes()), 0),
        };
        let Some(entry) = entry(&name) else {
            return (tag::UNKNOWN, Blob(Vec::new()), 0);
        };
        let token = crate::current_token();
        let begin = Instant::now();
        let outcomes: Vec<(u8, Blob)> = items
            .iter()
            .take_while(|_| !token.is_cancelled())
            .map(|args| {
                let mut out = Vec::new();
                let tag = entry.run(Format::Named, &args.0, &mut out);
                (tag, Blob(out))
            })
            .collect();
        let ran = u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let mut out = Vec::new();
        // Bytes always become MessagePack.
        let _ = rmp_serde::encode::write(&mut out, &outcomes);
        (tag::VALUE, Blob(out), ran)
    }
}

#[distributed_slice(TASKS)]
static REMOTE_CHUNK: TaskEntry = TaskEntry::of::<RemoteChunk>();

/// The task of this name. Tasks that are registered after the first call are not found.
pub(super) fn entry(name: &str) -> Option<&'static TaskEntry> {
    static TASKS_BY_NAME: OnceLock<HashMap<&'static str, &'static TaskEntry>> = OnceLock::new();
    TASKS_BY_NAME.get_or_init(by_name).get(name).copied()
}
