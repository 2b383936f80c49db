//! The client's side: which calls are open, and what becomes of them.
//!
//! Threads that submit put a call into the table and send it to the client's thread ([`drive`](super::drive)), which carries it to the server
//! ([`submit`](super::submit)). Outcomes come by a subscription. What it may have missed is looked up: after each new connection, and from time to time.

use super::events::Watch;
use super::link::Link;
use super::names::Key;
use super::record::{Kind, Record};
use super::remote::Blob;
use crate::executor::remote::Failure;
use crate::process::{Defaults, Ends, Format, Outcome, TaskEntry, tag};
use crate::sync::{Mutex, lock};
use crate::{sys, unwind};
use async_nats::HeaderMap;
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Condvar, MutexGuard, OnceLock};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

/// A call that was stored so long ago and is neither in the queue nor done has been removed.
const OLD: Duration = Duration::from_secs(6);

/// The most calls that are sent and not known to be stored.
pub(super) const WINDOW: usize = 4096;

/// How long a question whether a call runs may take.
const ASKED: Duration = Duration::from_secs(1);

/// Whether the client accepts calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    Open,
    /// The client accepts no calls, and completes those that are open.
    Leaving,
    /// The client's thread has ended.
    Over,
}

/// A call without an outcome.
pub(super) struct Open {
    pub(super) ends: Arc<dyn Ends>,
    /// The index of its first item, and the number of its items: several travel together in a chunk.
    pub(super) index: u32,
    pub(super) items: u32,
    pub(super) name: Option<Arc<str>>,
    pub(super) entry: &'static TaskEntry,
    /// When the client learned that the server has stored the call.
    pub(super) stored: Option<Instant>,
    pub(super) is_cancelled: bool,
    /// Handles of the same call that were made later.
    pub(super) others: Vec<Open>,
}

/// A call on its way to the server.
pub(super) struct Item {
    pub(super) key: Key,
    pub(super) lane: usize,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// Whether the call may be stored already.
    pub(super) is_unsure: bool,
    /// Its outcome does not come by the session's subscription, because the user gave the id.
    pub(super) is_foreign: bool,
}

/// Totals since the client has connected.
#[derive(Clone, Copy, Default)]
pub(super) struct Totals {
    pub(super) submitted: u64,
    pub(super) completed: u64,
    pub(super) failed: u64,
    pub(super) timed_out: u64,
    pub(super) lost: u64,
    pub(super) cancelled: u64,
    pub(super) retried: u64,
}

pub(super) struct State {
    pub(super) next: u64,
    pub(super) open: HashMap<Key, Open>,
    /// The number of calls that are not known to be stored.
    pub(super) unstored: usize,
    /// The number of cancels that the server does not know yet.
    pub(super) unsaid: usize,
    /// The server's queue is full.
    pub(super) is_full: bool,
    /// The number of threads that wait for a change.
    pub(super) waiters: usize,
    pub(super) gate: Gate,
    pub(super) totals: Totals,
}

pub(super) struct Client {
    pub(super) link: Link,
    pub(super) session: Arc<str>,
    /// Whether the session had an earlier client, so that each call may be stored already.
    pub(super) resumed: bool,
    /// Whether items of streams may travel in chunks. Asked of the server when the first ones do.
    pub(super) chunks: OnceLock<bool>,
    pub(super) rejects: bool,
    pub(super) defaults: Defaults,
    pub(super) state: Mutex<State>,
    pub(super) changed: Condvar,
    pub(super) runtime: Handle,
    /// Where threads that submit put calls for the client's thread. It takes many at a time, so that it need not be woken for each.
    pub(super) outbox: mpsc::UnboundedSender<Item>,
    pub(super) thread: ThreadId,
    pub(super) forks: u64,
    /// Held by the future that tries to store a call while the queue is full, so that only one future tries at a time.
    pub(super) turn: tokio::sync::Mutex<()>,
    /// Held by the future that looks up calls, and how many calls others want it to look up when it is done.
    pub(super) sweeping: tokio::sync::Mutex<()>,
    pub(super) to_sweep: AtomicUsize,
    pub(super) watch: Arc<Watch>,
    pub(super) stop: tokio::sync::Notify,
}

impl Client {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Tells those that wait for a change, and the thread if it may end.
    pub(super) fn note_change(&self) {
        let state = self.lock();
        let (is_awaited, may_end) = (state.waiters > 0, state.gate != Gate::Open);
        drop(state);
        // Each of the two notifications costs a system call or a turn of the thread, and most changes concern nobody.
        if is_awaited {
            self.changed.notify_all();
        }
        if may_end {
            self.stop.notify_one();
        }
    }

    /// Waits until `done` is true, or the time has come. Returns whether it is true.
    pub(super) fn wait_until(&self, until: Option<Instant>, done: impl Fn(&State) -> bool) -> bool {
        let mut state = self.lock();
        while !done(&state) {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                return false;
            }
            state.waiters += 1;
            state = match left {
                Some(left) => {
                    let waited = self.changed.wait_timeout(state, left);
                    waited.unwrap_or_else(|poison| poison.into_inner()).0
                }
                None => self
                    .changed
                    .wait(state)
                    .unwrap_or_else(|poison| poison.into_inner()),
            };
            state.waiters -= 1;
        }
        true
    }

    /// Whether this process is a fork of that which has connected. It has no thread of the client.
    pub(super) fn is_forked(&self) -> bool {
        self.forks != sys::fork_generation()
    }

    pub(super) fn is_own_thread(&self) -> bool {
        self.thread == thread::current().id()
    }

    /// Runs something on the client's thread.
    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        drop(self.runtime.spawn(work));
    }

    /// Runs something on the client's thread and waits for it. Returns nothing if the thread has ended, or if this is the thread.
    pub(super) fn ask<R: Send + 'static>(
        &self,
        work: impl Future<Output = R> + Send + 'static,
    ) -> Option<R> {
        if self.is_own_thread() || self.is_forked() {
            return None;
        }
        let (sender, answer) = std::sync::mpsc::channel();
        self.spawn(async move { drop(sender.send(work.await)) });
        answer.recv().ok()
    }

    /// Whether a worker has claimed a call. This asks the server.
    pub(super) fn runs(self: &Arc<Self>, key: &Key) -> bool {
        let is_stored = |open: &Open| open.stored.is_some();
        if self.is_own_thread()
            || self.is_forked()
            || !self.lock().open.get(key).is_some_and(is_stored)
        {
            return false;
        }
        let (sender, answer) = std::sync::mpsc::channel();
        let (client, key) = (Arc::clone(self), Arc::clone(key));
        self.spawn(async move { drop(sender.send(client.link.is_claimed(&key).await)) });
        matches!(answer.recv_timeout(ASKED), Ok(Ok(true)))
    }

    /// Forgets a call whose handle was cancelled.
    pub(super) fn give_up(&self, key: &str) {
        let mut state = self.lock();
        let mut open = state.open.remove(key);
        state.totals.cancelled += open.as_ref().map_or(0, |open| u64::from(open.items));
        let others = open.as_mut().map(|open| std::mem::take(&mut open.others));
        if let Some(mut others) = others
            && let Some(mut next) = others.pop()
        {
            // The other handles of the call wait for the outcome that the cancel leads to.
            next.others = others;
            state.open.insert(key.into(), next);
        }
        drop(state);
        // Dropping the call can run the user's code, so the lock is released first.
        unwind::drop_quietly(open);
        self.note_change();
    }

    /// Notes that a call is stored, or never will be.
    pub(super) fn note_stored(&self) {
        let mut state = self.lock();
        state.unstored -= 1;
        let is_news = state.unstored <= WINDOW / 2;
        drop(state);
        // A thread that waits for room goes on when there is a lot of it, so that it is not woken for each call.
        if is_news {
            self.note_change();
        }
    }

    /// Ends a call with a failure of this side.
    pub(super) fn fail(&self, key: &str, failure: Failure) {
        let mut state = self.lock();
        let Some(open) = state.open.remove(key) else {
            return;
        };
        state.totals.cancelled += u64::from(open.items) + open.others.len() as u64;
        drop(state);
        let copy = || match &failure {
            Failure::ShutDown => Failure::ShutDown,
            Failure::Full => Failure::Full,
            Failure::Refused(text) => Failure::Refused(Arc::clone(text)),
            // A client fails a call with no other failure than these and `Closed`.
            _ => Failure::Closed,
        };
        for open in with_others(open) {
            end(open, |_| Outcome::Failure(copy()));
        }
        self.note_change();
    }

    /// Ends a call with what is stored for it.
    pub(super) fn finish(&self, key: &str, record: &Record) {
        let mut state = self.lock();
        let Some(open) = state.open.remove(key) else {
            return;
        };
        let others = open.others.len() as u64;
        let chunk = Chunk::read(record, open.items);
        let items = u64::from(open.items);
        let totals = &mut state.totals;
        // Handles that were made later count as what they are: calls that have ended.
        totals.completed += others;
        totals.retried += u64::from(record.starts.saturating_sub(1));
        match record.kind {
            // A cancel of the handle may be on its way to this table.
            _ if open.is_cancelled || open.ends.is_cancelled() => totals.cancelled += items,
            Kind::Value => totals.completed += items,
            Kind::Chunk => {
                let good = chunk.count(|tag| tag == tag::VALUE);
                let unread = chunk.count(|tag| matches!(tag, tag::BAD_ARGS | tag::UNKNOWN));
                totals.completed += good;
                totals.cancelled += unread;
                totals.failed += items - good - unread;
            }
            Kind::Panic | Kind::BadResult => totals.failed += items,
            Kind::Lost => {
                (totals.failed, totals.lost) = (totals.failed + items, totals.lost + items);
            }
            Kind::Timeout => {
                (totals.failed, totals.timed_out) =
                    (totals.failed + items, totals.timed_out + items);
            }
            Kind::BadArgs | Kind::Refused | Kind::Cancelled => totals.cancelled += items,
        }
        drop(state);
        if record.kind == Kind::Lost {
            self.watch.task_lost(record);
        }
        for open in with_others(open) {
            open.ends.ran(record.ran);
            end(open, |item| {
                chunk.outcome(item).unwrap_or_else(|| outcome(record))
            });
        }
        self.note_change();
    }

    /// Asks the thread to end when everything that is open has ended.
    pub(super) fn leave(&self) {
        let mut state = self.lock();
        if state.gate == Gate::Open {
            state.gate = Gate::Leaving;
        }
        drop(state);
        self.note_change();
    }

    /// The calls that are stored and have no outcome, the oldest first, and when they were stored.
    pub(super) fn waiting(&self, most: usize) -> Vec<(Key, bool)> {
        let state = self.lock();
        let waiting = state.open.iter().filter_map(|(key, open)| {
            let stored = open.stored?;
            Some((stored, Arc::clone(key)))
        });
        let mut waiting: Vec<_> = waiting.collect();
        drop(state);
        waiting.sort_unstable_by_key(|(stored, _)| *stored);
        waiting.truncate(most);
        let is_old = |(stored, key): (Instant, Key)| (key, stored.elapsed() > OLD);
        waiting.into_iter().map(is_old).collect()
    }
}

/// The outcomes of a chunk, or nothing for other records.
struct Chunk(Vec<(u8, Blob)>);

impl Chunk {
    /// Reads the outcomes of a chunk of so many items.
    fn read(record: &Record, items: u32) -> Self {
        let outcomes: Vec<_> = match record.kind {
            Kind::Chunk => rmp_serde::from_slice(&record.body).unwrap_or_default(),
            _ => Vec::new(),
        };
        let fits = outcomes.len() == items as usize;
        Chunk(if fits { outcomes } else { Vec::new() })
    }

    fn count(&self, which: impl Fn(u8) -> bool) -> u64 {
        self.0.iter().filter(|(tag, _)| which(*tag)).count() as u64
    }

    fn outcome(&self, item: u32) -> Option<Outcome<'_>> {
        let (tag, bytes) = self.0.get(item as usize)?;
        Some(Outcome::Sent(Format::Named, *tag, &bytes.0))
    }
}

fn outcome(record: &Record) -> Outcome<'_> {
    if record.kind == Kind::Chunk {
        let text = "what is stored as its result is that of a chunk, and does not fit";
        return Outcome::Failure(Failure::Refused(text.into()));
    }
    if let Some(failure) = record.failure() {
        return Outcome::Failure(failure);
    }
    let tag = match record.kind {
        Kind::Value => tag::VALUE,
        Kind::Panic => tag::PANIC,
        Kind::BadArgs => tag::BAD_ARGS,
        _ => tag::BAD_RESULT,
    };
    Outcome::Sent(Format::Named, tag, &record.body)
}

/// A call and the handles of it that were made later.
fn with_others(mut open: Open) -> impl Iterator<Item = Open> {
    let others = std::mem::take(&mut open.others);
    std::iter::once(open).chain(others)
}

/// Ends a call, or all items of a chunk, whose outcomes are given by their places in it.
pub(super) fn end<'a>(open: Open, outcome: impl Fn(u32) -> Outcome<'a>) {
    for item in 0..open.items {
        let name = open.name.clone();
        finish(
            &*open.ends,
            open.index + item,
            outcome(item),
            name,
            open.entry,
        );
    }
    unwind::drop_quietly(open.ends);
}

/// Reports an outcome. This runs the user's code.
pub(super) fn finish(
    ends: &dyn Ends,
    index: u32,
    outcome: Outcome<'_>,
    name: Option<Arc<str>>,
    entry: &'static TaskEntry,
) {
    let name = || name.clone().unwrap_or_else(|| entry.name().into());
    unwind::catch(|| ends.end(index, outcome, &name)).unwrap_or_else(unwind::drop_quietly);
}
