//! A call of a task on its way to a back end, first with types, then without.

use super::codec::{self, Body, Format};
use super::options::{CallOptions, Defaults};
use super::task::{Task, TaskEntry};
use super::{threads, wire};
use crate::executor::remote::{Failure, Probe, promise_with};
use crate::pool::{Priority, ThreadPool};
use crate::sync::{Mutex, lock};
use crate::unwind;
use crate::{JoinError, JoinHandle, Promise, TaskId};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// One call of a task, or several in a chunk, for a [`Backend`](crate::Backend).
///
/// A back end gives it to a pool of threads, or refuses it. If it does neither, the call's handle resolves to an
/// error.
pub struct Call<'a> {
    work: &'a mut dyn Work,
    entry: &'static TaskEntry,
    options: &'a CallOptions,
}

impl<'a> Call<'a> {
    pub(super) fn new(
        work: &'a mut dyn Work,
        entry: &'static TaskEntry,
        options: &'a CallOptions,
    ) -> Self {
        Call {
            work,
            entry,
            options,
        }
    }

    /// Returns the task.
    pub fn entry(&self) -> &'static TaskEntry {
        self.entry
    }

    /// Returns the number of calls in this chunk, 1 for a single call.
    pub fn items(&self) -> u32 {
        self.work.items()
    }

    /// Submits the call to a pool of threads. Nothing is serialised.
    pub fn run_on(self, pool: &ThreadPool) {
        if self.options.id.is_some() {
            return self.refuse(NO_IDS);
        }
        self.work.run_on(pool, self.options, self.timeout());
    }

    /// Refuses the call: its handle resolves to an error that [says so](JoinError::is_refused), with this text.
    pub fn refuse(self, text: impl AsRef<str>) {
        self.fail(Failure::Refused(text.as_ref().into()));
    }

    pub(super) fn fail(self, failure: Failure) {
        let name = self.options.name.clone();
        let name = name.unwrap_or_else(|| self.entry.name().into());
        self.work.fail(failure, name);
    }

    fn timeout(&self) -> Option<Duration> {
        self.options.timeout.or(self.entry.timeout)
    }

    /// Takes the types away, and gives `send` the jobs. Usually it is one. Arguments that cannot be encoded, or are longer than a message may be, and options that the
    /// processes of this computer cannot honour, are refused. Returns the number of refused items.
    pub(crate) fn encode(self, defaults: &Defaults, send: &mut dyn FnMut(Job)) -> u32 {
        let items = self.work.items();
        if self.options.id.is_some() && !defaults.takes_ids {
            self.refuse(NO_IDS);
            return items;
        }
        let ends = self.work.promise(self.options);
        let (options, entry) = (self.options, self.entry);
        let timeout = self.timeout().or(defaults.timeout);
        let rare = Rare::new(options, timeout);
        // Only of an item that travels alone is it known when it began.
        let items_max = if timeout.is_some() { 1 } else { u32::MAX };
        let tries = options.tries.unwrap_or(entry.tries.max(defaults.tries));
        let mut job = |next: u32, end: u32, body: Vec<u8>| {
            send(Job(Box::new(Parts {
                entry,
                rare: rare.clone(),
                priority: options.priority,
                body: Body::new(body),
                offset: 0,
                next,
                end,
                starts: 0,
                tries,
                is_watched: false,
                ends: Arc::clone(&ends),
            })));
        };
        let (mut body, mut next, mut refused) = (Vec::new(), 0, 0);
        for index in 0..items {
            let start = body.len();
            let put = self.work.put(defaults.format, index, &mut body);
            if let Err(text) = fits(put, body.len() - start, defaults.max_message) {
                body.truncate(start);
                let name = || options.name.clone().unwrap_or_else(|| entry.name().into());
                ends.end(
                    index,
                    Outcome::Failure(Failure::Refused(text.into())),
                    &name,
                );
                refused += 1;
                if index > next {
                    job(next, index, std::mem::take(&mut body));
                }
                next = index + 1;
            } else if index + 1 - next >= items_max || body.len() >= BODY_BYTES {
                job(next, index + 1, std::mem::take(&mut body));
                next = index + 1;
            }
        }
        if next < items {
            job(next, items, body);
        }
        refused
    }
}

/// Whether an item was encoded, and is not too long for a message. The error says why not.
fn fits(put: Result<(), String>, length: usize, limit: usize) -> Result<(), String> {
    put.map_err(|text| format!("its arguments cannot be serialised: {text}"))?;
    if length > limit {
        return Err(format!(
            "its arguments take up {length} bytes, more than the {limit} that a message may have: pass a path, or raise \
             `max_message`"
        ));
    }
    Ok(())
}

/// The items of a chunk whose arguments take up so many bytes are a job. The rest of the chunk is in other jobs.
pub(super) const BODY_BYTES: usize = 1 << 20;

const NO_IDS: &str = "the option `id` is for clusters, which keep results: threads and processes of one program \
                      lose them with the program";

/// What a call is before its types are taken away.
pub(super) trait Work {
    fn items(&self) -> u32;
    fn run_on(&mut self, pool: &ThreadPool, options: &CallOptions, timeout: Option<Duration>);
    fn fail(&mut self, failure: Failure, name: Arc<str>);
    /// Appends the arguments of an item, each of which is asked for once.
    fn put(&mut self, format: Format, index: u32, body: &mut Vec<u8>) -> Result<(), String>;
    fn promise(&mut self, options: &CallOptions) -> Arc<dyn Ends>;
}

/// Where the outcomes of a call go. Only `is_cancelled`, `id` and `watch` may be called under a lock of a pool: the others run the user's code.
pub(crate) trait Ends: Send + Sync {
    fn end(&self, index: u32, outcome: Outcome<'_>, name: &dyn Fn() -> Arc<str>);
    /// Adds to the time that the items have run.
    fn ran(&self, _time: Duration) {}
    fn is_cancelled(&self) -> bool;
    fn id(&self) -> TaskId;
    /// Sets what is told when the handle is cancelled, and what is asked whether the call runs, if anything can tell.
    fn watch(&self, on_cancel: Box<dyn FnOnce() + Send>, probe: Option<Probe>);
}

pub(crate) enum Outcome<'a> {
    /// A tag of [`wire`], and what belongs to it.
    Sent(Format, u8, &'a [u8]),
    Failure(Failure),
}

/// A call without types, or what is left of it.
pub(crate) struct Job(Box<Parts>);

/// What is in a job. It is in a box, because a queue of many jobs should not hold room for twice as many.
pub(crate) struct Parts {
    pub(crate) entry: &'static TaskEntry,
    rare: Option<Box<Rare>>,
    pub(crate) priority: Priority,
    /// The items, each with its length.
    pub(crate) body: Body,
    /// Where the first item that has no outcome begins.
    pub(crate) offset: usize,
    /// The index of that item.
    pub(crate) next: u32,
    /// The index behind the last item.
    pub(crate) end: u32,
    /// How many times the first item was started.
    pub(crate) starts: u32,
    pub(crate) tries: u32,
    /// The pool is told when the handle is cancelled.
    pub(crate) is_watched: bool,
    pub(crate) ends: Arc<dyn Ends>,
}

/// What few jobs have.
#[derive(Clone)]
struct Rare {
    name: Option<Arc<str>>,
    #[cfg_attr(
        not(feature = "nats"),
        expect(dead_code, reason = "only clusters keep results by id")
    )]
    id: Option<Arc<str>>,
    timeout: Option<Duration>,
}

impl Rare {
    fn new(options: &CallOptions, timeout: Option<Duration>) -> Option<Box<Self>> {
        let (name, id) = (options.name.clone(), options.id.clone());
        let is_there = name.is_some() || id.is_some() || timeout.is_some();
        is_there.then(|| Box::new(Rare { name, id, timeout }))
    }
}

impl Deref for Job {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl DerefMut for Job {
    fn deref_mut(&mut self) -> &mut Parts {
        &mut self.0
    }
}

impl Job {
    pub(crate) fn items(&self) -> u32 {
        self.end - self.next
    }

    /// Ends all items with a failure, for a job that was not queued.
    pub(crate) fn refuse(mut self, failure: impl Fn() -> Failure) {
        while self.items() > 0 {
            let index = self.advance();
            self.ends
                .end(index, Outcome::Failure(failure()), &|| self.name());
        }
    }

    /// The name that the call was given.
    pub(crate) fn own_name(&self) -> Option<Arc<str>> {
        self.rare.as_ref()?.name.clone()
    }

    /// The id that the call was given.
    #[cfg(feature = "nats")]
    pub(crate) fn own_id(&self) -> Option<Arc<str>> {
        self.rare.as_ref()?.id.clone()
    }

    /// The encoded arguments of the first item that has no outcome.
    #[cfg(feature = "nats")]
    pub(crate) fn item(&self) -> &[u8] {
        wire::Reader(&self.body[self.offset..])
            .item()
            .unwrap_or_default()
    }

    /// The encoded arguments of all items that have no outcome.
    #[cfg(feature = "mpi")]
    pub(crate) fn all_items(&self) -> impl Iterator<Item = &[u8]> {
        let mut read = wire::Reader(&self.body[self.offset..]);
        (self.next..self.end).map(move |_| read.item().unwrap_or_default())
    }

    /// How long each item may run.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        self.rare.as_ref()?.timeout
    }

    pub(crate) fn name(&self) -> Arc<str> {
        self.own_name().unwrap_or_else(|| self.entry.name().into())
    }

    /// Goes on to the next item. Returns the index of the one before.
    pub(crate) fn advance(&mut self) -> u32 {
        let mut read = wire::Reader(&self.body[self.offset..]);
        let item = read.item().map_or(0, <[u8]>::len);
        self.offset += wire::PREFIX + item;
        self.next += 1;
        self.starts = 0;
        self.next - 1
    }

    /// Splits off everything behind the first `count` items.
    pub(super) fn split(&mut self, count: u32) -> Option<Job> {
        if count >= self.items() {
            return None;
        }
        let mut rest = Job(Box::new(Parts {
            rare: self.rare.clone(),
            body: self.body.clone(),
            ends: Arc::clone(&self.ends),
            ..*self.0
        }));
        for _ in 0..count {
            rest.advance();
        }
        self.end = self.next + count;
        Some(rest)
    }
}

/// One call.
pub(super) struct One<T: Task> {
    pub(super) args: Option<T::Args>,
    pub(super) handle: Option<JoinHandle<T::Output>>,
}

/// Several calls in a chunk.
pub(super) struct Many<T: Task> {
    pub(super) args: Vec<T::Args>,
    /// The bytes that the arguments take up. 0 on threads, which encode nothing.
    pub(super) bytes: usize,
    pub(super) handle: Option<JoinHandle<Chunk<T::Output>>>,
}

/// The outcomes of a chunk, and how long the items ran.
pub(super) struct Chunk<R> {
    pub(super) results: Vec<Result<R, JoinError>>,
    pub(super) time: Duration,
}

impl<T: Task> Work for One<T> {
    fn items(&self) -> u32 {
        1
    }

    fn run_on(&mut self, pool: &ThreadPool, options: &CallOptions, timeout: Option<Duration>) {
        let Some(args) = self.args.take() else { return };
        let handle = submit::<T, _>(pool, options, timeout, move || T::run(args));
        self.handle = Some(handle);
    }

    fn fail(&mut self, failure: Failure, name: Arc<str>) {
        self.handle = Some(failed(failure, name));
    }

    fn put(&mut self, format: Format, _: u32, body: &mut Vec<u8>) -> Result<(), String> {
        let args = self.args.as_ref();
        args.map_or(Ok(()), |args| put(format, args, body))
    }

    fn promise(&mut self, options: &CallOptions) -> Arc<dyn Ends> {
        let (promise, handle) = promise_with(options.name.clone(), options.token.clone());
        self.handle = Some(handle);
        Arc::new(OneEnd {
            id: promise.id(),
            promise: Mutex::new(Some(promise)),
        })
    }
}

impl<T: Task> Work for Many<T> {
    fn items(&self) -> u32 {
        u32::try_from(self.args.len()).unwrap_or(u32::MAX)
    }

    fn run_on(&mut self, pool: &ThreadPool, options: &CallOptions, timeout: Option<Duration>) {
        // A thread cannot tell where in the chunk it is, so the limit is that of all items.
        let timeout = timeout.map(|timeout| timeout.saturating_mul(self.items()));
        let args = std::mem::take(&mut self.args);
        let handle = submit::<T, _>(pool, options, timeout, move || {
            let begin = Instant::now();
            let run = |args| {
                unwind::catch(|| T::run(args)).map_err(|payload| {
                    let (message, location) = crate::executor::remote::describe_panic(&payload);
                    unwind::drop_quietly(payload);
                    let failure = Failure::Panic(message, location);
                    JoinError::remote(failure, TaskId::next(), Some(T::NAME.into()))
                })
            };
            let results = args.into_iter().map(run).collect();
            let time = begin.elapsed();
            Chunk { results, time }
        });
        self.handle = Some(handle);
    }

    fn fail(&mut self, failure: Failure, name: Arc<str>) {
        self.handle = Some(failed(failure, name));
    }

    fn put(&mut self, format: Format, index: u32, body: &mut Vec<u8>) -> Result<(), String> {
        let start = body.len();
        let written = put(format, &self.args[index as usize], body);
        self.bytes += body.len() - start;
        written
    }

    fn promise(&mut self, options: &CallOptions) -> Arc<dyn Ends> {
        let left = self.args.len();
        let (promise, handle) = promise_with(options.name.clone(), options.token.clone());
        self.handle = Some(handle);
        let id = promise.id();
        let state = ManyState {
            promise: Some(promise),
            results: std::iter::repeat_with(|| None).take(left).collect(),
            left,
            time: Duration::ZERO,
        };
        Arc::new(ManyEnd::<T::Output> {
            id,
            state: Mutex::new(state),
        })
    }
}

/// Submits work to a pool of threads.
fn submit<T: Task, R: Send + 'static>(
    pool: &ThreadPool,
    options: &CallOptions,
    timeout: Option<Duration>,
    f: impl FnOnce() -> R + Send + 'static,
) -> JoinHandle<R> {
    match timeout {
        None => threads::builder::<T>(pool, options).submit(f),
        Some(timeout) => threads::submit_timed::<T, _, _>(pool, options, timeout, f),
    }
}

/// The handle of work that has failed before it began.
fn failed<R: Send + 'static>(failure: Failure, name: Arc<str>) -> JoinHandle<R> {
    let (promise, handle) = crate::promise();
    let id = promise.id();
    promise.fail(JoinError::remote(failure, id, Some(name)));
    handle
}

/// Appends arguments. A panic of their `Serialize` implementation is an error.
pub(super) fn put<A: serde::Serialize>(
    format: Format,
    args: &A,
    body: &mut Vec<u8>,
) -> Result<(), String> {
    match unwind::catch(|| wire::put_item(body, |body| codec::encode(format, args, body))) {
        Ok(written) => written,
        Err(payload) => Err(codec::panic_text(payload)),
    }
}

/// Turns an outcome into what a handle resolves to.
fn read<R: serde::de::DeserializeOwned>(
    outcome: Outcome<'_>,
    id: TaskId,
    name: &dyn Fn() -> Arc<str>,
) -> Result<R, JoinError> {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    let failure = match outcome {
        Outcome::Failure(failure) => failure,
        Outcome::Sent(format, wire::VALUE, bytes) => match unwind::catch(|| codec::decode(format, bytes)) {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => Failure::Failed(format!("its result cannot be read: {error}").into()),
            Err(payload) => {
                let text = codec::panic_text(payload);
                Failure::Failed(format!("its result cannot be read: {text}").into())
            }
        },
        Outcome::Sent(format, wire::PANIC, bytes) => codec::decode_panic(format, bytes),
        Outcome::Sent(_, wire::BAD_ARGS, bytes) => {
            let text = text(bytes);
            Failure::Refused(format!("the worker cannot read its arguments: {text}").into())
        }
        Outcome::Sent(_, wire::UNKNOWN, _) => Failure::Refused(
            "the worker does not know the task: put #[heist::task] on it, or call `heist::register` before \
             `heist::init`"
                .into(),
        ),
        Outcome::Sent(_, _, bytes) => {
            let text = text(bytes);
            Failure::Failed(format!("its result cannot be sent: {text}").into())
        }
    };
    Err(JoinError::remote(failure, id, Some(name())))
}

fn resolve<R: Send + 'static>(promise: Option<Promise<R>>, outcome: Result<R, JoinError>) {
    // A handle that was cancelled wants no value.
    match (promise, outcome) {
        (None, _) => {}
        (Some(promise), Ok(value)) => drop(promise.resolve(value)),
        (Some(promise), Err(error)) => drop(promise.fail(error)),
    }
}

/// The promise of one call.
struct OneEnd<R: Send + 'static> {
    id: TaskId,
    promise: Mutex<Option<Promise<R>>>,
}

impl<R: serde::de::DeserializeOwned + Send + 'static> Ends for OneEnd<R> {
    fn end(&self, _: u32, outcome: Outcome<'_>, name: &dyn Fn() -> Arc<str>) {
        let promise = lock(&self.promise).take();
        resolve(promise, read(outcome, self.id, name));
    }

    fn is_cancelled(&self) -> bool {
        let promise = lock(&self.promise);
        promise.as_ref().is_none_or(Promise::is_cancelled)
    }

    fn id(&self) -> TaskId {
        self.id
    }

    fn watch(&self, on_cancel: Box<dyn FnOnce() + Send>, probe: Option<Probe>) {
        if let Some(promise) = &*lock(&self.promise) {
            if let Some(probe) = probe {
                promise.set_probe(probe);
            }
            promise.on_cancel(on_cancel);
        }
    }
}

/// The end of a call that was not made here.
#[cfg(feature = "nats")]
pub(crate) fn one_end<R>(promise: Promise<R>) -> Arc<dyn Ends>
where
    R: serde::de::DeserializeOwned + Send + 'static,
{
    Arc::new(OneEnd {
        id: promise.id(),
        promise: Mutex::new(Some(promise)),
    })
}

/// The promise of a chunk.
struct ManyEnd<R: Send + 'static> {
    id: TaskId,
    state: Mutex<ManyState<R>>,
}

struct ManyState<R: Send + 'static> {
    promise: Option<Promise<Chunk<R>>>,
    results: Vec<Option<Result<R, JoinError>>>,
    left: usize,
    time: Duration,
}

impl<R: serde::de::DeserializeOwned + Send + 'static> Ends for ManyEnd<R> {
    fn end(&self, index: u32, outcome: Outcome<'_>, name: &dyn Fn() -> Arc<str>) {
        let result = read(outcome, TaskId::next(), name);
        let mut state = lock(&self.state);
        state.results[index as usize] = Some(result);
        state.left -= 1;
        if state.left > 0 {
            return;
        }
        let results = std::mem::take(&mut state.results).into_iter().flatten();
        let chunk = Chunk {
            results: results.collect(),
            time: state.time,
        };
        let promise = state.promise.take();
        drop(state);
        resolve(promise, Ok(chunk));
    }

    fn ran(&self, time: Duration) {
        lock(&self.state).time += time;
    }

    fn is_cancelled(&self) -> bool {
        let state = lock(&self.state);
        state.promise.as_ref().is_none_or(Promise::is_cancelled)
    }

    fn id(&self) -> TaskId {
        self.id
    }

    fn watch(&self, on_cancel: Box<dyn FnOnce() + Send>, _: Option<Probe>) {
        // Users see no handle of a chunk, so nobody asks whether it runs.
        if let Some(promise) = &lock(&self.state).promise {
            promise.on_cancel(on_cancel);
        }
    }
}
