//! The futures of random graphs, and what blocks because of them.

use super::{Kept, Node, Outcome, Reader, Task, Thrown, World, all, mix, mix_all, resolved};
use heist::{AsyncPool, CancelToken, JoinError, JoinHandle, JoinSet, Priority, as_completed};
use std::collections::{BTreeSet, VecDeque};
use std::future::{Future, pending, poll_fn};
use std::panic::resume_unwind;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::Duration;

/// What a future does.
#[derive(Debug)]
pub(super) enum Step {
    Value(u8),
    Panic(u32),
    Yield(u8),
    Sleep(Duration),
    /// A time limit that the step does not reach.
    Timed(Arc<Step>),
    /// A time limit that is always reached.
    Elapse,
    /// A permit of the graph's semaphore, held across some yields.
    Permit(usize),
    /// Awaits a closure.
    Closure(Arc<Node>),
    /// Awaits what follows a closure.
    Then(Arc<Node>),
    Submit(Vec<Part>),
    /// All at the same time, each in its own task, taken in one of several ways.
    All(usize, Vec<Arc<Step>>),
    /// Two at the same time in one task.
    Both(Arc<Step>, Arc<Step>),
    Sequence(Vec<Arc<Step>>),
    /// So many tasks wake this future.
    Bell(usize),
    /// Two futures send each other so many messages.
    Pair(usize),
    /// What a closure does, in a poll.
    Poll(Arc<Node>),
    Blocking(Arc<Node>),
}

/// A future with a task of its own.
#[derive(Debug)]
pub(super) struct Part {
    step: Arc<Step>,
    fate: FutureFate,
    /// Whether the future never ends by itself. Only what its fate says ends it.
    never: bool,
    priority: Priority,
}

/// What the submitter does with a future's handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FutureFate {
    Join,
    Cancel,
    /// It is cancelled a moment later.
    CancelLate,
    Detach,
    Spawn,
    /// The submitter asks with a time limit of zero first, and leaves a callback.
    Impatient,
    /// The task has a deadline that may or may not be met.
    Deadline,
    /// Another task cancels its token.
    Token,
    /// A guard of the handle is dropped.
    Guard,
    /// The handle is joined after the end of the pool.
    Keep,
}

// ---- reading ----

impl Reader<'_> {
    pub(super) fn steps(&mut self, depth: usize) -> Vec<Arc<Step>> {
        (0..self.below(5)).map(|_| self.step(depth + 1)).collect()
    }

    pub(super) fn futures(&mut self, depth: usize) -> Vec<Part> {
        let count = self.below(5);
        (0..count)
            .map(|_| {
                let (fate, never) = self.future_fate();
                Part {
                    step: self.step(depth + 1),
                    fate,
                    never,
                    priority: match self.byte() % 8 {
                        0 => Priority::High,
                        1 => Priority::Low,
                        _ => Priority::Normal,
                    },
                }
            })
            .collect()
    }

    fn future_fate(&mut self) -> (FutureFate, bool) {
        let byte = self.byte();
        let fate = match byte % 16 {
            0..=4 => return (FutureFate::Join, false),
            5 => return (FutureFate::Detach, false),
            6 => return (FutureFate::Spawn, false),
            7 => return (FutureFate::Impatient, false),
            8 | 9 => return (FutureFate::Keep, false),
            10 | 11 => FutureFate::Cancel,
            12 => FutureFate::CancelLate,
            13 => FutureFate::Deadline,
            14 => FutureFate::Token,
            _ => FutureFate::Guard,
        };
        (fate, byte >= 128)
    }

    pub(super) fn step(&mut self, depth: usize) -> Arc<Step> {
        self.futures = true;
        if !self.goes_deeper(depth) {
            return Arc::new(Step::Value(self.byte()));
        }
        Arc::new(match self.byte() % 32 {
            0 | 1 => Step::Value(self.byte()),
            2 => {
                self.panics += 1;
                Step::Panic(self.panics)
            }
            3..=5 => Step::Yield(self.byte() % 8),
            6 => Step::Sleep(Duration::from_micros(u64::from(self.byte()))),
            7 => Step::Timed(self.step(depth + 1)),
            8 => Step::Elapse,
            9..=11 => Step::Permit(self.below(4)),
            12 | 13 => Step::Closure(self.node(depth + 1)),
            14 => Step::Then(self.node(depth + 1)),
            15..=18 => Step::Submit(self.futures(depth)),
            19..=21 => Step::All(self.below(3), self.steps(depth)),
            22 => Step::Both(self.step(depth + 1), self.step(depth + 1)),
            23 | 24 => Step::Sequence(self.steps(depth)),
            25..=27 => Step::Bell(1 + self.below(4)),
            28 | 29 => Step::Pair(self.below(6)),
            30 => Step::Poll(self.node(depth + 1)),
            _ => Step::Blocking(self.node(depth + 1)),
        })
    }
}

// ---- the oracle ----

impl Step {
    pub(super) fn expected(&self) -> Outcome {
        match self {
            Step::Value(value) => Ok(u64::from(*value)),
            Step::Panic(number) => Err(BTreeSet::from([*number])),
            Step::Timed(inner) => inner.expected(),
            Step::Both(a, b) => match (a.expected(), b.expected()) {
                (Ok(a), Ok(b)) => Ok(mix(a, b)),
                (Err(mut panics), other) => {
                    panics.extend(other.err().into_iter().flatten());
                    Err(panics)
                }
                (_, Err(panics)) => Err(panics),
            },
            Step::Sequence(steps) => all(steps.iter().map(|step| step.expected())).map(mix_all),
            Step::Poll(node) | Step::Blocking(node) => node.expected(),
            // These outcomes are checked one by one where the tasks are awaited.
            Step::Submit(parts) => Ok(parts.len() as u64),
            Step::All(_, steps) => Ok(steps.len() as u64),
            _ => Ok(3),
        }
    }
}

/// Checks that the future has its outcome, or was cancelled where that is possible.
fn resolved_step(step: &Step, result: Result<u64, JoinError>, may_be_cancelled: bool) {
    match result {
        Err(error) if error.is_cancelled() => assert!(may_be_cancelled, "{error}"),
        result => super::check_outcome(
            step.expected(),
            result.map_err(JoinError::into_panic),
            || format!("{step:?}"),
        ),
    }
}

impl Part {
    fn resolved(&self, result: Result<u64, JoinError>, ends: bool) {
        match result {
            Err(error) if error.is_timeout() => assert_eq!(self.fate, FutureFate::Deadline),
            Ok(value) if self.never => panic!("{value} of a future that never ends"),
            Err(error) if error.is_cancelled() => {
                use FutureFate::{Cancel, CancelLate, Deadline, Guard, Token};
                let stopped = matches!(self.fate, Cancel | CancelLate | Deadline | Guard | Token);
                assert!(ends || stopped, "{error}: {self:?}");
            }
            // Its panic comes before it waits.
            result => resolved_step(&self.step, result, ends),
        }
    }
}

// ---- what futures wait for ----

/// Counts rings, and wakes whoever listens.
#[derive(Default)]
struct Bell {
    rings: AtomicUsize,
    wakers: Mutex<Vec<Waker>>,
}

/// Rings when it is dropped: by a task that runs or by one that is cancelled.
struct Ring(Arc<Bell>);

impl Drop for Ring {
    fn drop(&mut self) {
        self.0.rings.fetch_add(1, Ordering::SeqCst);
        let wakers = std::mem::take(&mut *self.0.wakers.lock().expect("no panic meanwhile"));
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// One direction of a pair. It is closed when the sender is dropped.
#[derive(Default)]
struct Channel(Mutex<(VecDeque<usize>, bool, Option<Waker>)>);

struct Sender(Arc<Channel>);

impl Sender {
    fn put(&self, message: Option<usize>) {
        let waker = {
            let mut channel = self.0.0.lock().expect("no panic meanwhile");
            match message {
                Some(message) => channel.0.push_back(message),
                None => channel.1 = true,
            }
            channel.2.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.put(None);
    }
}

impl Channel {
    fn receive(&self) -> impl Future<Output = Option<usize>> {
        poll_fn(|context| {
            let mut channel = self.0.lock().expect("no panic meanwhile");
            match channel.0.pop_front() {
                Some(message) => Poll::Ready(Some(message)),
                None if channel.1 => Poll::Ready(None),
                None => {
                    channel.2 = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
    }
}

/// How many have a permit at the moment.
struct Inside<'a>(&'a AtomicUsize);

impl<'a> Inside<'a> {
    fn enter(count: &'a AtomicUsize, limit: usize) -> Self {
        let others = count.fetch_add(1, Ordering::SeqCst);
        assert!(others < limit, "{others} others have a permit");
        Inside(count)
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The permits of a graph.
pub(super) const PERMITS: usize = 2;

const SOON: Duration = Duration::from_micros(20);
const LONG: Duration = Duration::from_secs(1000);

// ---- the program ----

type Running<'a> = Pin<Box<dyn Future<Output = u64> + Send + 'a>>;

impl Step {
    pub(super) fn run<'a>(&'a self, world: &'a Arc<World>) -> Running<'a> {
        Box::pin(async move {
            match self {
                Step::Value(value) => u64::from(*value),
                Step::Panic(number) => resume_unwind(Box::new(Thrown(*number))),
                Step::Timed(inner) => match heist::timeout(LONG, inner.run(world)).await {
                    Ok(value) => value,
                    Err(error) => panic!("{error}"),
                },
                Step::Submit(parts) => {
                    for part in parts {
                        world.submit_future_and_await(part).await;
                    }
                    parts.len() as u64
                }
                Step::All(way, steps) => world.all(*way, steps).await,
                // Side by side, one would block the thread of a future that holds a permit, for one that waits for a permit.
                Step::Both(a, b) if a.blocks() && b.holds() || b.blocks() && a.holds() => {
                    mix(a.run(world).await, b.run(world).await)
                }
                Step::Both(a, b) => both(a.run(world), b.run(world)).await,
                Step::Sequence(steps) => {
                    let mut values = Vec::new();
                    for step in steps {
                        values.push(step.run(world).await);
                    }
                    mix_all(values)
                }
                Step::Poll(node) => node.run(world),
                Step::Blocking(node) => heist::blocking(|| node.run(world)),
                _ => {
                    self.wait(world).await;
                    3
                }
            }
        })
    }

    /// Whether it blocks the thread that polls it.
    fn blocks(&self) -> bool {
        match self {
            Step::Poll(_) | Step::Blocking(_) => true,
            _ => self.parts().any(Step::blocks),
        }
    }

    /// Whether its own future holds a permit for a while.
    fn holds(&self) -> bool {
        matches!(self, Step::Permit(_)) || self.parts().any(Step::holds)
    }

    /// The steps that the same future takes.
    fn parts(&self) -> impl Iterator<Item = &Step> {
        let parts: Vec<&Step> = match self {
            Step::Timed(inner) => vec![inner],
            Step::Both(a, b) => vec![a, b],
            Step::Sequence(steps) => steps.iter().map(|step| &**step).collect(),
            _ => Vec::new(),
        };
        parts.into_iter()
    }

    async fn wait(&self, world: &Arc<World>) {
        match self {
            Step::Yield(count) => {
                for _ in 0..*count {
                    heist::yield_async().await;
                }
            }
            Step::Sleep(time) => heist::sleep(*time).await,
            Step::Elapse => assert!(heist::timeout(SOON, pending::<()>()).await.is_err()),
            Step::Permit(count) => {
                // Whoever waits for a permit holds none: two that held one each would wait for each other.
                let free = (*count > 0).then(|| world.semaphore.try_acquire());
                let _permit = match free.flatten() {
                    Some(permit) => permit,
                    None => world.semaphore.acquire().await,
                };
                let _inside = Inside::enter(&world.inside, PERMITS);
                for _ in 0..*count {
                    heist::yield_async().await;
                }
            }
            Step::Closure(node) => {
                let task = Task::new(node, world);
                let handle = world.pool.submit(move || task.run());
                world.resolved(node, handle.await);
            }
            Step::Then(node) => {
                let (task, node, ends) = (Task::new(node, world), Arc::clone(node), world.ends);
                let handle = world.pool.submit(move || task.run());
                let then = handle.then(move |result| resolved(&node, result, ends));
                match then.await {
                    Ok(()) => (),
                    Err(error) if error.is_cancelled() => assert!(world.ends, "{error}"),
                    Err(error) => resume_unwind(error.into_panic()),
                }
            }
            Step::Bell(count) => world.bell(*count).await,
            Step::Pair(count) => world.pair(*count).await,
            _ => unreachable!("this step gives a value"),
        }
    }
}

async fn both(a: Running<'_>, b: Running<'_>) -> u64 {
    let (mut a, mut b) = (pin!(a), pin!(b));
    let (mut first, mut second) = (None, None);
    poll_fn(move |context| {
        if first.is_none()
            && let Poll::Ready(value) = a.as_mut().poll(context)
        {
            first = Some(value);
        }
        if second.is_none()
            && let Poll::Ready(value) = b.as_mut().poll(context)
        {
            second = Some(value);
        }
        match (first, second) {
            (Some(first), Some(second)) => Poll::Ready(mix(first, second)),
            _ => Poll::Pending,
        }
    })
    .await
}

/// What the future of a part holds.
struct Owned(
    Arc<Step>,
    Arc<World>,
    #[expect(dead_code, reason = "it is dropped")] Arc<()>,
);

impl Owned {
    fn new(step: &Arc<Step>, world: &Arc<World>) -> Self {
        Owned(
            Arc::clone(step),
            Arc::clone(world),
            Arc::clone(&world.token),
        )
    }

    async fn run(self, never: bool) -> u64 {
        let value = self.0.run(&self.1).await;
        if never {
            pending::<()>().await;
        }
        value
    }
}

impl World {
    fn task_future(self: &Arc<Self>, step: &Arc<Step>) -> JoinHandle<u64> {
        self.pool.submit_async(Owned::new(step, self).run(false))
    }

    /// Submits a future and arranges what ends it. The current thread does not wait, so that a future that never ends has something that ends it in any case.
    fn submit_future(self: &Arc<Self>, part: &Part) -> Option<JoinHandle<u64>> {
        use FutureFate::{Cancel, Deadline, Guard, Spawn, Token};
        // Tasks inherit the token and the deadline of the task that submits them.
        let inherits = matches!(part.fate, Deadline | Token);
        let world = match inherits {
            true => Arc::new(World {
                ends: true,
                ..World::clone(self)
            }),
            false => Arc::clone(self),
        };
        let future = Owned::new(&part.step, &world).run(part.never);
        let options = self.pool.task().priority(part.priority);
        match part.fate {
            Spawn => {
                self.pool.spawn_async(async move {
                    future.await;
                });
                None
            }
            Deadline => Some(options.name("late").deadline(SOON).submit_async(future)),
            Token => {
                let token = CancelToken::new();
                let handle = options.token(&token).submit_async(future);
                let cancels = CancelOnDrop(token);
                self.pool.spawn(move || drop(cancels));
                Some(handle)
            }
            Guard => {
                drop(options.submit_async(future).abort_on_drop());
                None
            }
            Cancel => {
                let handle = options.submit_async(future);
                assert!(handle.cancel() || handle.is_finished());
                Some(handle)
            }
            _ => Some(options.submit_async(future)),
        }
    }

    fn keep(self: &Arc<Self>, part: &Part, handle: JoinHandle<u64>) {
        let mut kept = self.kept.lock().expect("no panic meanwhile");
        kept.push(Kept {
            part: Arc::new(Node::BlockOn(Arc::clone(&part.step))),
            may_be_cancelled: self.ends,
            handle,
        });
    }

    /// Submits a future, and blocks where its fate says so.
    pub(super) fn submit_future_and_join(self: &Arc<Self>, part: &Part) {
        let Some(mut handle) = self.submit_future(part) else {
            return;
        };
        match part.fate {
            FutureFate::Detach => handle.detach(),
            FutureFate::Keep => self.keep(part, handle),
            FutureFate::Impatient => {
                let token = Arc::clone(&self.token);
                handle.on_finish(move |_| drop(token));
                handle.wait_timeout(Duration::ZERO);
                match handle.join_timeout(Duration::ZERO) {
                    Ok(result) => part.resolved(result, self.ends),
                    Err(handle) => part.resolved(handle.join(), self.ends),
                }
            }
            fate => {
                if fate == FutureFate::CancelLate {
                    heist::yield_now();
                    handle.cancel();
                }
                part.resolved(handle.join(), self.ends);
            }
        }
    }

    /// Submits a future, and awaits where its fate says so. The future that calls this may be dropped at each await.
    async fn submit_future_and_await(self: &Arc<Self>, part: &Part) {
        let Some(mut handle) = self.submit_future(part) else {
            return;
        };
        match part.fate {
            FutureFate::Detach => handle.detach(),
            FutureFate::Keep => self.keep(part, handle),
            FutureFate::Impatient => {
                let token = Arc::clone(&self.token);
                handle.on_finish(move |_| drop(token));
                let limited = heist::timeout(Duration::ZERO, &mut handle).await;
                let result = match limited {
                    Ok(result) => result,
                    Err(_) => handle.await,
                };
                part.resolved(result, self.ends);
            }
            FutureFate::CancelLate => {
                let guard = handle.abort_on_drop();
                heist::yield_async().await;
                guard.cancel();
                part.resolved(guard.await, self.ends);
            }
            _ => part.resolved(handle.await, self.ends),
        }
    }

    async fn all(self: &Arc<Self>, way: usize, steps: &[Arc<Step>]) -> u64 {
        let handles = steps.iter().map(|step| self.task_future(step));
        match way {
            0 => {
                let handles: Vec<_> = handles.collect();
                for (step, handle) in steps.iter().zip(handles) {
                    resolved_step(step, handle.await, self.ends);
                }
            }
            1 => {
                let mut all = as_completed(handles.collect::<Vec<_>>());
                let mut missing: BTreeSet<usize> = (0..steps.len()).collect();
                while let Some((index, result)) = all.next_async().await {
                    assert!(missing.remove(&index));
                    resolved_step(&steps[index], result, self.ends);
                }
                assert!(missing.is_empty(), "{missing:?}");
            }
            _ => {
                let mut set = JoinSet::new(&self.pool);
                let ends = self.ends;
                for (step, handle) in steps.iter().zip(handles) {
                    let step = Arc::clone(step);
                    set.insert(handle.then(move |result| resolved_step(&step, result, ends)));
                }
                let mut count = 0;
                while let Some(result) = set.next().await {
                    count += 1;
                    match result {
                        Ok(()) => (),
                        Err(error) if error.is_cancelled() => assert!(self.ends, "{error}"),
                        Err(error) => resume_unwind(error.into_panic()),
                    }
                }
                assert_eq!(count, steps.len());
            }
        }
        steps.len() as u64
    }

    async fn bell(self: &Arc<Self>, count: usize) {
        let bell = Arc::new(Bell::default());
        for n in 0..count {
            let ring = Ring(Arc::clone(&bell));
            match n % 2 {
                0 => self.pool.spawn(move || drop(ring)),
                _ => self.pool.spawn_async(async move {
                    heist::yield_async().await;
                    drop(ring);
                }),
            }
        }
        poll_fn(|context| {
            let waker = context.waker().clone();
            bell.wakers.lock().expect("no panic meanwhile").push(waker);
            match bell.rings.load(Ordering::SeqCst) == count {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
    }

    /// Either may be refused or dropped, which closes the channels of the other.
    async fn pair(self: &Arc<Self>, count: usize) {
        let (to, back) = (Arc::new(Channel::default()), Arc::new(Channel::default()));
        let talk = |sends: &Arc<Channel>, receives: &Arc<Channel>| {
            let (sender, receiver) = (Sender(Arc::clone(sends)), Arc::clone(receives));
            self.pool.submit_async(async move {
                for n in 0..count {
                    sender.put(Some(n));
                    match receiver.receive().await {
                        Some(message) => assert_eq!(message, n),
                        None => return n,
                    }
                }
                count
            })
        };
        let handles = [talk(&to, &back), talk(&back, &to)];
        for handle in handles {
            match handle.await {
                Ok(said) => assert!(said == count || self.ends, "{said} of {count}"),
                Err(error) if error.is_cancelled() => assert!(self.ends, "{error}"),
                Err(error) => resume_unwind(error.into_panic()),
            }
        }
    }

    pub(super) fn scope_futures(self: &Arc<Self>, steps: &[Arc<Step>]) -> u64 {
        self.pool.scope(|s| {
            let handles: Vec<_> = steps
                .iter()
                .map(|step| s.submit_async(step.run(self)))
                .collect();
            for (step, handle) in steps.iter().zip(handles) {
                resolved_step(step, handle.join(), false);
            }
            // Dropped unfinished, and the scope waits.
            drop(s.submit_async(async { self.bell(1).await }));
            let never = s.submit_async(async {
                self.bell(1).await;
                pending::<()>().await;
            });
            assert!(never.cancel());
        });
        steps.len() as u64
    }

    /// Each second future is cancelled.
    pub(super) fn limited(self: &Arc<Self>, limit: usize, steps: &[Arc<Step>]) -> u64 {
        let limited = AsyncPool::new(&self.pool, limit);
        let inside = Arc::new(AtomicUsize::new(0));
        let handles: Vec<_> = steps
            .iter()
            .map(|step| {
                let (owned, inside) = (Owned::new(step, self), Arc::clone(&inside));
                limited.submit(async move {
                    let _inside = Inside::enter(&inside, limit);
                    owned.run(false).await
                })
            })
            .collect();
        for (n, (step, handle)) in steps.iter().zip(handles).enumerate() {
            let cancelled = n % 2 == 1;
            if cancelled {
                handle.cancel();
            }
            resolved_step(step, handle.join(), cancelled || self.ends);
        }
        limited.wait_idle_blocking();
        assert_eq!((limited.pending(), limited.active()), (0, 0));
        steps.len() as u64
    }

    pub(super) fn delay(self: &Arc<Self>, node: &Arc<Node>) -> u64 {
        let task = Task::new(node, self);
        let handle = self.pool.delay(SOON, move || task.run());
        self.resolved(node, handle.join());
        3
    }

    /// Runs the node beside a closure that runs repeatedly.
    pub(super) fn every(self: &Arc<Self>, node: &Node) -> u64 {
        let (token, runs) = (Arc::clone(&self.token), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&runs);
        let every = self.pool.every(SOON, move || {
            let _ = &token;
            count.fetch_add(1, Ordering::SeqCst);
        });
        let value = node.run(self);
        let ended = every.runs();
        assert!(ended <= runs.load(Ordering::SeqCst) as u64);
        value
    }
}

/// Cancels the token: by a task that runs or by one that is cancelled.
struct CancelOnDrop(CancelToken);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}
