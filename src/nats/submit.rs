//! How a call gets to the server, and what becomes of it there.
//!
//! **Look, then send.** A message whose fate is unknown is looked for before it is sent again, first in the queue, then among the outcomes. That is right because a task
//! leaves the queue only after its outcome is stored: whoever finds it in neither place may send it. The server's own detection of duplicates does not survive its crash.

use super::client::{Client, Item};
use super::link::{Found, insist, pause};
use super::names::Key;
use super::record::{self, Kind, Record, Stored};
use crate::executor::remote::Failure;
use async_nats::HeaderMap;
use bytes::Bytes;
use futures_util::StreamExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How many calls are looked up at the same time.
const LOOKUPS: usize = 64;

/// How long a full queue is left alone.
const FULL: Duration = Duration::from_millis(10);

/// How often a call is looked up whose outcome does not come by the session's subscription.
const FOLLOW: Duration = Duration::from_secs(2);

/// Where a call is.
enum Place {
    /// In the queue: the name of its task.
    Todo(String),
    Done(Record),
    Nowhere,
}

async fn locate(client: &Client, key: &str) -> Place {
    if let Some(found) = insist(|| client.link.todo(key)).await {
        let task = found
            .headers
            .as_ref()
            .and_then(|headers| record::text(headers, record::TASK));
        return Place::Todo(task.unwrap_or_default().to_owned());
    }
    match insist(|| client.link.done(key)).await.and_then(read) {
        Some(record) => Place::Done(record),
        None => Place::Nowhere,
    }
}

/// Whether the server has the call, or its outcome.
pub(super) async fn is_known(client: &Client, key: &str) -> bool {
    // Most calls that are looked for have ended.
    insist(|| client.link.done(key)).await.is_some()
        || !matches!(locate(client, key).await, Place::Nowhere)
}

fn read(found: Found) -> Option<Record> {
    Record::parse(found.headers.as_ref(), found.payload)
}

/// Carries a call to the server. Thousands of these futures wait at a time, so what few calls need is in boxes of its own.
pub(super) async fn carry(client: Arc<Client>, item: Item) {
    let key = Arc::clone(&item.key);
    let is_foreign = item.is_foreign;
    match send(&client, item).await {
        Ok(()) => {}
        Err(failure) => client.fail(&key, failure),
    }
    // A call that was cancelled on its way is given up now that its fate is known.
    let (is_open, is_cancelled) = {
        let mut state = client.lock();
        let open = state.open.get_mut(&key);
        let found = open.map_or((false, false), |open| {
            // A cancel from now on tells the cluster itself.
            open.stored.get_or_insert_with(Instant::now);
            (true, open.is_cancelled)
        });
        state.unsaid += usize::from(found.1);
        found
    };
    client.note_stored();
    if is_cancelled {
        client.give_up(&key);
        Box::pin(say_cancelled(client, key)).await;
    } else if is_open && is_foreign {
        Box::pin(follow(client, key)).await;
    }
}

/// Sends a call until it is stored.
async fn send(client: &Arc<Client>, item: Item) -> Result<(), Failure> {
    let Item {
        key,
        lane,
        mut headers,
        mut body,
        mut is_unsure,
        ..
    } = item;
    let task = record::text(&headers, record::TASK)
        .unwrap_or_default()
        .to_owned();
    headers.insert(async_nats::header::NATS_MESSAGE_ID, &*key);
    if body.len() > client.link.inline_max() {
        body = Box::pin(pack(client, &key, &mut headers, &body)).await;
    }
    let subject = client.link.names.todo(lane, &key);
    // Whoever holds this is the only one that sends to a full queue.
    let mut turn = None;
    loop {
        if is_unsure {
            match Box::pin(locate(client, &key)).await {
                Place::Nowhere => {}
                Place::Todo(found) => return is_same(&found, &task, client, turn.is_some()),
                Place::Done(record) => {
                    is_same(&record.task, &task, client, turn.is_some())?;
                    Box::pin(settle(client, &key, record)).await;
                    return Ok(());
                }
            }
        }
        // A call that is not stored and not wanted any more need not be sent.
        if client
            .lock()
            .open
            .get(&key)
            .is_none_or(|open| open.is_cancelled)
        {
            end_turn(client, turn.is_some());
            return Ok(());
        }
        if turn.is_none() && client.lock().is_full {
            turn = Some(client.turn.lock().await);
        }
        match client
            .link
            .store(subject.clone(), headers.clone(), body.clone())
            .await
        {
            Stored::Yes | Stored::Taken => {
                end_turn(client, turn.is_some());
                return Ok(());
            }
            Stored::Full if client.rejects => return Err(Failure::Full),
            Stored::Full => {
                client.lock().is_full = true;
                if turn.is_none() {
                    turn = Some(client.turn.lock().await);
                }
                tokio::time::sleep(FULL).await;
            }
            Stored::Refused(text) => {
                end_turn(client, turn.is_some());
                let text = format!("the server does not take it: {text}");
                return Err(Failure::Refused(text.into()));
            }
            Stored::Unsure => {
                is_unsure = true;
                pause().await;
            }
        }
    }
}

/// Makes an object of arguments that are too long for a message.
async fn pack(client: &Client, key: &str, headers: &mut HeaderMap, body: &[u8]) -> Bytes {
    let name = format!("args.{key}");
    insist(|| client.link.put_blob(&name, body)).await;
    headers.insert(record::BLOB, name);
    Bytes::new()
}

/// Whether the call that was found is one of the same task. An id can be used for another one by mistake.
fn is_same(found: &str, task: &str, client: &Client, has_turn: bool) -> Result<(), Failure> {
    end_turn(client, has_turn);
    if found.is_empty() || found == task {
        return Ok(());
    }
    let text = format!("its id belongs to a call of the task `{found}`");
    Err(Failure::Refused(text.into()))
}

/// The queue was full, and has taken a call.
fn end_turn(client: &Client, has_turn: bool) {
    if has_turn {
        client.lock().is_full = false;
        client.note_change();
    }
}

/// Ends a call with its outcome, whose body may be an object.
async fn settle(client: &Client, key: &str, mut record: Record) {
    if let Some(name) = &record.blob {
        match insist(|| client.link.blob(name)).await {
            Some(bytes) => record.body = bytes,
            None => {
                let text = "its result is not kept any more";
                return client.fail(key, Failure::Refused(text.into()));
            }
        }
    }
    client.finish(key, &record);
}

/// Ends a call with what is stored for it. It may be on its way, if its message was seen.
pub(super) async fn fetch(client: Arc<Client>, key: Key) {
    for _ in 0..50 {
        if !client.lock().open.contains_key(&key) {
            return;
        }
        match client.link.done(&key).await {
            Ok(Some(found)) => match read(found) {
                Some(record) => return settle(&client, &key, record).await,
                None => {
                    let text = "what is stored as its result is none";
                    return client.fail(&key, Failure::Refused(text.into()));
                }
            },
            Ok(None) => tokio::time::sleep(Duration::from_millis(20)).await,
            // The next sweep finds it.
            Err(_) => return,
        }
    }
}

/// Looks up at most so many calls whose outcomes have not come. If that is under way already, it is done once more afterwards, however many have asked for it: each message that a
/// slow program drops is a reason.
pub(super) async fn sweep(client: Arc<Client>, most: usize) {
    // ORDERING: the number publishes nothing.
    client.to_sweep.fetch_max(most, Ordering::Relaxed);
    let Ok(_turn) = client.sweeping.try_lock() else {
        return;
    };
    loop {
        // ORDERING: the number publishes nothing. One that is set after the last look waits for the next sweep, which is never far.
        let most = client.to_sweep.swap(0, Ordering::Relaxed);
        if most == 0 {
            return;
        }
        let looks = client.waiting(most).into_iter();
        let looks = looks.map(|(key, is_old)| check(&client, key, is_old));
        futures_util::stream::iter(looks)
            .buffer_unordered(LOOKUPS)
            .collect::<()>()
            .await;
    }
}

async fn check(client: &Arc<Client>, key: Key, is_old: bool) {
    let Ok(found) = client.link.done(&key).await else {
        return;
    };
    if let Some(record) = found.and_then(read) {
        return settle(client, &key, record).await;
    }
    if !is_old || !matches!(client.link.todo(&key).await, Ok(None)) {
        return;
    }
    // It has left the queue, so if it has an outcome, that is stored by now.
    match client.link.done(&key).await {
        Ok(Some(found)) => {
            if let Some(record) = read(found) {
                settle(client, &key, record).await;
            }
        }
        Ok(None) => {
            let text = "the server knows neither the task nor a result: somebody has removed it, or the result was not \
                        kept long enough";
            client.fail(&key, Failure::Refused(text.into()));
        }
        Err(_) => {}
    }
}

/// Waits for the outcome of a call that is not of this session.
pub(super) async fn follow(client: Arc<Client>, key: Key) {
    // Most calls that somebody finds have ended.
    check(&client, Arc::clone(&key), false).await;
    if !client.lock().open.contains_key(&key) {
        return;
    }
    let subject = client.link.names.done(&key);
    let mut results = loop {
        match client.link.client.subscribe(subject.clone()).await {
            Ok(results) => break results,
            Err(_) => pause().await,
        }
    };
    loop {
        if !client.lock().open.contains_key(&key) {
            return;
        }
        check(&client, Arc::clone(&key), false).await;
        // A cancelled call is forgotten without a message, and what was missed is found by a look.
        if tokio::time::timeout(FOLLOW, results.next()).await.is_ok() {
            fetch(Arc::clone(&client), Arc::clone(&key)).await;
        }
    }
}

/// Tells the cluster that nobody wants a call any more. The outcome that is stored first counts.
pub(super) async fn say_cancelled(client: Arc<Client>, key: Key) {
    let record = Record::new(Kind::Cancelled, "", Bytes::new());
    let subject = client.link.names.done(&key);
    loop {
        match client
            .link
            .store(subject.clone(), record.headers(), Bytes::new())
            .await
        {
            // A call that has an outcome is on its way out of the queue, so that removing it changes nothing.
            Stored::Yes | Stored::Taken | Stored::Refused(_) => break,
            Stored::Full | Stored::Unsure => pause().await,
        }
    }
    let subject = client.link.names.subject(&format!("cancel.{key}"));
    client.link.say(subject, Bytes::new()).await;
    insist(|| client.link.purge(&key)).await;
    client.lock().unsaid -= 1;
    client.note_change();
}
