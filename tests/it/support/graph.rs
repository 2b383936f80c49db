//! Random task graphs and their serial oracle. A graph is read from bytes, so that proptest and a fuzzer (`tests/fuzz`, which includes this
//! file) make the same ones.

#[path = "graph_futures.rs"]
mod futures;

use futures::{PERMITS, Part, Step};
use heist::{JoinError, JoinHandle, Semaphore, ThreadPool, ThreadPoolBuilder, WhenFull};
use std::any::Any;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A program: what runs, where, and how its pool ends.
#[derive(Debug)]
pub struct Graph {
    root: Arc<Node>,
    /// Whether the graph begins on a worker, not on a guest.
    inside: bool,
    end: End,
    /// Whether there are futures in it.
    futures: bool,
    operations: usize,
}

/// What happens to the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The pool is used again.
    Idle,
    Shutdown,
    ShutdownNow,
    /// The last handle is dropped.
    Drop,
}

#[derive(Debug)]
enum Node {
    Leaf(u8),
    /// A panic with the leaf's number.
    Panic(u32),
    Join(Arc<Node>, Arc<Node>),
    /// Each part spawns its own last step.
    Scope(Vec<Arc<Node>>),
    ScopeSubmit(Vec<Arc<Node>>),
    Submit(Vec<(Arc<Node>, Fate)>),
    Stream {
        parts: Vec<Arc<Node>>,
        ordered: bool,
        window: usize,
        chunk: usize,
        take: usize,
    },
    ScopeStream(Vec<Arc<Node>>),
    Map(Vec<Arc<Node>>),
    Reduce(Vec<Arc<Node>>),
    Install(Arc<Node>),
    Run(Arc<Node>),
    Resize(usize),
    Yield,
    Broadcast,
    Futures(Vec<Part>),
    ScopeFutures(Vec<Arc<Step>>),
    BlockOn(Arc<Step>),
    Limited(usize, Vec<Arc<Step>>),
    Blocking(Arc<Node>),
    Delay(Arc<Node>),
    Every(Arc<Node>),
}

/// What the submitter does with a handle.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Join,
    Cancel,
    Detach,
    /// The submitter asks with a time limit of zero first, and leaves a callback.
    Impatient,
    /// The task has a deadline that may or may not be met.
    Deadline,
    /// The handle is joined after the end of the pool.
    Keep,
}

/// The outcomes that a graph may have: its value, or one of these panics.
type Outcome = Result<u64, BTreeSet<u32>>;

/// The payload of a panic that is part of a graph.
struct Thrown(u32);

// ---- reading ----

struct Reader<'a> {
    bytes: std::slice::Iter<'a, u8>,
    panics: u32,
    futures: bool,
    operations: usize,
}

const DEEPEST: usize = 7;
const MOST: usize = 200;

impl Reader<'_> {
    fn byte(&mut self) -> u8 {
        self.bytes.next().copied().unwrap_or(0)
    }

    fn below(&mut self, bound: u8) -> usize {
        usize::from(self.byte() % bound)
    }

    fn parts(&mut self, depth: usize) -> Vec<Arc<Node>> {
        (0..self.below(5)).map(|_| self.node(depth + 1)).collect()
    }

    /// Counts an operation. Returns whether it may have parts.
    fn goes_deeper(&mut self, depth: usize) -> bool {
        self.operations += 1;
        depth <= DEEPEST && self.operations <= MOST
    }

    fn node(&mut self, depth: usize) -> Arc<Node> {
        if !self.goes_deeper(depth) {
            return Arc::new(Node::Leaf(self.byte()));
        }
        let kind = self.byte() % 48;
        // A scope with futures waits for tasks of its pool even if the reader finds no steps for it, and so do the kinds behind it.
        self.futures |= kind >= 32;
        Arc::new(match kind {
            0..=3 => Node::Leaf(self.byte()),
            4 => {
                self.panics += 1;
                Node::Panic(self.panics)
            }
            5..=11 => Node::Join(self.node(depth + 1), self.node(depth + 1)),
            12..=14 => Node::Scope(self.parts(depth)),
            15 | 16 => Node::ScopeSubmit(self.parts(depth)),
            17..=20 => {
                let parts = self.parts(depth).into_iter();
                Node::Submit(parts.map(|part| (part, self.fate())).collect())
            }
            21 | 22 => Node::Stream {
                parts: self.parts(depth),
                ordered: self.below(2) == 0,
                window: 1 + self.below(4),
                chunk: 1 + self.below(3),
                take: self.below(5),
            },
            23 => Node::ScopeStream(self.parts(depth)),
            24 | 25 => Node::Map(self.parts(depth)),
            26 => Node::Reduce(self.parts(depth)),
            27 => Node::Install(self.node(depth + 1)),
            28 => Node::Run(self.node(depth + 1)),
            29 => Node::Resize(1 + self.below(4)),
            30 => Node::Yield,
            31 => Node::Broadcast,
            32..=36 => Node::Futures(self.futures(depth)),
            37..=39 => Node::ScopeFutures(self.steps(depth)),
            40 | 41 => Node::BlockOn(self.step(depth + 1)),
            42 | 43 => Node::Limited(1 + self.below(3), self.steps(depth)),
            44 | 45 => Node::Blocking(self.node(depth + 1)),
            46 => Node::Delay(self.node(depth + 1)),
            _ => Node::Every(self.node(depth + 1)),
        })
    }

    fn fate(&mut self) -> Fate {
        match self.byte() % 10 {
            0..=3 => Fate::Join,
            4 | 5 => Fate::Cancel,
            6 => Fate::Detach,
            7 => Fate::Impatient,
            8 => Fate::Deadline,
            _ => Fate::Keep,
        }
    }
}

impl Graph {
    pub fn read(bytes: &[u8]) -> Graph {
        let mut reader = Reader {
            bytes: bytes.iter(),
            panics: 0,
            futures: false,
            operations: 0,
        };
        let inside = reader.below(2) == 1;
        // A new pool costs as much as all the rest.
        let end = match reader.byte() {
            255 => End::Shutdown,
            254 => End::ShutdownNow,
            253 => End::Drop,
            _ => End::Idle,
        };
        let root = reader.node(0);
        Graph {
            root,
            inside,
            end,
            futures: reader.futures,
            operations: reader.operations,
        }
    }

    /// The number of operations of the graph.
    pub fn operations(&self) -> usize {
        self.operations
    }
}

// ---- the oracle ----

fn mix(left: u64, right: u64) -> u64 {
    (left.rotate_left(5) ^ right).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

fn mix_all(values: impl IntoIterator<Item = u64>) -> u64 {
    values.into_iter().fold(17, mix)
}

/// All parts are needed. If several panic, the caller may see any of these panics.
fn all(parts: impl Iterator<Item = Outcome>) -> Result<Vec<u64>, BTreeSet<u32>> {
    let (mut values, mut panics) = (Vec::new(), BTreeSet::new());
    for part in parts {
        match part {
            Ok(value) => values.push(value),
            Err(more) => panics.extend(more),
        }
    }
    if panics.is_empty() {
        Ok(values)
    } else {
        Err(panics)
    }
}

fn all_nodes(parts: &[Arc<Node>]) -> Result<Vec<u64>, BTreeSet<u32>> {
    all(parts.iter().map(|part| part.expected()))
}

impl Node {
    fn expected(&self) -> Outcome {
        match self {
            Node::Leaf(value) => Ok(u64::from(*value)),
            Node::Panic(number) => Err(BTreeSet::from([*number])),
            Node::Join(a, b) => match (a.expected(), b.expected()) {
                (Ok(a), Ok(b)) => Ok(mix(a, b)),
                (Err(panics), _) | (_, Err(panics)) => Err(panics),
            },
            Node::Scope(parts) | Node::Map(parts) => all_nodes(parts).map(mix_all),
            Node::Reduce(parts) => all_nodes(parts)
                .map(|values| mix_all(values.iter().flat_map(|v| v.to_le_bytes()).map(u64::from))),
            // These outcomes are checked one by one where the tasks run.
            Node::ScopeSubmit(parts) | Node::ScopeStream(parts) => Ok(parts.len() as u64),
            Node::Submit(parts) => Ok(parts.len() as u64),
            Node::Stream { take, parts, .. } => Ok(parts.len().min(*take) as u64),
            Node::Install(inner)
            | Node::Run(inner)
            | Node::Blocking(inner)
            | Node::Every(inner) => inner.expected(),
            Node::BlockOn(step) => step.expected(),
            Node::Futures(parts) => Ok(parts.len() as u64),
            Node::ScopeFutures(steps) | Node::Limited(_, steps) => Ok(steps.len() as u64),
            Node::Resize(_) | Node::Yield | Node::Broadcast | Node::Delay(_) => Ok(3),
        }
    }
}

fn thrown(payload: Box<dyn Any + Send>) -> u32 {
    match payload.downcast::<Thrown>() {
        Ok(thrown) => thrown.0,
        // A check further down has failed.
        Err(payload) => resume_unwind(payload),
    }
}

/// Checks that an outcome is one of the possible ones.
fn check(node: &Node, result: Result<u64, Box<dyn Any + Send>>) {
    check_outcome(node.expected(), result, || format!("{node:?}"));
}

fn check_outcome(
    expected: Outcome,
    result: Result<u64, Box<dyn Any + Send>>,
    what: impl Fn() -> String,
) {
    match (expected, result) {
        (Ok(expected), Ok(value)) => assert_eq!(value, expected, "{}", what()),
        (Err(panics), Err(payload)) => {
            let number = thrown(payload);
            assert!(panics.contains(&number), "{number} panicked: {}", what());
        }
        (Ok(_), Err(payload)) => panic!("{} panicked: {}", thrown(payload), what()),
        (Err(_), Ok(value)) => panic!("{value} instead of a panic: {}", what()),
    }
}

fn check_handle(node: &Node, result: Result<u64, JoinError>) {
    check(node, result.map_err(JoinError::into_panic));
}

// ---- the program ----

#[derive(Clone)]
struct World {
    pool: ThreadPool,
    /// Each task holds a clone of this, which shows whether all are dropped.
    token: Arc<()>,
    /// Permits for futures, and how many are held.
    semaphore: Semaphore,
    inside: Arc<AtomicUsize>,
    /// The handles that are joined at the end.
    kept: Arc<Mutex<Vec<Kept>>>,
    /// Whether tasks may be cancelled, since the pool ends or the task around them has a deadline, which they inherit.
    ends: bool,
}

struct Kept {
    part: Arc<Node>,
    may_be_cancelled: bool,
    handle: JoinHandle<u64>,
}

/// What a task holds.
#[derive(Clone)]
struct Task(
    Arc<Node>,
    Arc<World>,
    #[expect(dead_code, reason = "it is dropped")] Arc<()>,
);

impl Task {
    fn new(node: &Arc<Node>, world: &Arc<World>) -> Self {
        Task(
            Arc::clone(node),
            Arc::clone(world),
            Arc::clone(&world.token),
        )
    }

    fn run(self) -> u64 {
        self.0.run(&self.1)
    }
}

impl Node {
    fn run(&self, world: &Arc<World>) -> u64 {
        let pool = &world.pool;
        match self {
            Node::Leaf(value) => {
                for round in 0..u32::from(*value) {
                    std::hint::black_box(round);
                }
                u64::from(*value)
            }
            Node::Panic(number) => resume_unwind(Box::new(Thrown(*number))),
            Node::Join(a, b) => {
                let (a, b) = pool.join(|| a.run(world), || b.run(world));
                mix(a, b)
            }
            Node::Scope(parts) => world.scope(parts),
            Node::ScopeSubmit(parts) => world.scope_submit(parts),
            Node::Submit(parts) => {
                for (part, fate) in parts {
                    world.submit(part, *fate);
                }
                parts.len() as u64
            }
            Node::Stream {
                parts,
                ordered,
                window,
                chunk,
                take,
            } => world.stream(parts, *ordered, *window, *chunk, *take),
            Node::ScopeStream(parts) => {
                pool.scope(|s| {
                    let results = s.imap(parts, |part| part.run(world));
                    for (part, result) in parts.iter().zip(results) {
                        check_handle(part, result);
                    }
                });
                parts.len() as u64
            }
            Node::Map(parts) => mix_all(pool.map(parts, |part| part.run(world))),
            Node::Reduce(parts) => world.reduce(parts),
            Node::Install(inner) => pool.install(|| inner.run(world)),
            Node::Run(inner) => pool.run(|| inner.run(world)),
            Node::Resize(count) => {
                pool.set_num_threads(*count);
                3
            }
            Node::Yield => {
                heist::yield_now();
                3
            }
            Node::Broadcast => {
                let indices = pool.broadcast(|index| index);
                assert!(indices.iter().copied().eq(0..indices.len()), "{indices:?}");
                3
            }
            Node::Futures(parts) => {
                for part in parts {
                    world.submit_future_and_join(part);
                }
                parts.len() as u64
            }
            Node::ScopeFutures(steps) => world.scope_futures(steps),
            Node::BlockOn(step) => heist::block_on(step.run(world)),
            Node::Limited(limit, steps) => world.limited(*limit, steps),
            Node::Blocking(inner) => heist::blocking(|| inner.run(world)),
            Node::Delay(inner) => world.delay(inner),
            Node::Every(inner) => world.every(inner),
        }
    }
}

/// Checks that the task ran, or was cancelled where that is possible.
fn resolved(part: &Node, result: Result<u64, JoinError>, may_be_cancelled: bool) {
    match result {
        Err(error) if error.is_cancelled() => assert!(may_be_cancelled, "{error}"),
        result => check_handle(part, result),
    }
}

impl World {
    fn scope(self: &Arc<Self>, parts: &[Arc<Node>]) -> u64 {
        let mut values = vec![0; parts.len()];
        self.pool.scope(|s| {
            for (part, value) in parts.iter().zip(&mut values) {
                s.spawn(move |s| {
                    let result = part.run(self);
                    s.spawn(move |_| *value = result);
                });
            }
        });
        mix_all(values)
    }

    fn scope_submit(self: &Arc<Self>, parts: &[Arc<Node>]) -> u64 {
        self.pool.scope(|s| {
            let mut handles = Vec::new();
            for part in parts {
                handles.push(s.submit(move |_| part.run(self)));
            }
            for (part, handle) in parts.iter().zip(handles) {
                check_handle(part, handle.join());
            }
        });
        parts.len() as u64
    }

    fn reduce(self: &Arc<Self>, parts: &[Arc<Node>]) -> u64 {
        let bytes = self.pool.map_reduce(
            parts,
            |part| part.run(self).to_le_bytes().to_vec(),
            Vec::new,
            |mut left, right| {
                left.extend(right);
                left
            },
        );
        mix_all(bytes.into_iter().map(u64::from))
    }

    fn submit(self: &Arc<Self>, part: &Arc<Node>, fate: Fate) {
        let mut handle = match fate {
            Fate::Deadline => {
                let world = World {
                    ends: true,
                    ..World::clone(self)
                };
                let task = Task::new(part, &Arc::new(world));
                let options = self.pool.task().name("deadline");
                let soon = Duration::from_micros(20);
                options.deadline(soon).submit(move || task.run())
            }
            _ => {
                let task = Task::new(part, self);
                self.pool.submit(move || task.run())
            }
        };
        match fate {
            Fate::Join => self.resolved(part, handle.join()),
            Fate::Cancel if handle.cancel() => {
                assert!(handle.is_cancelled());
                assert!(handle.join().is_err_and(|error| error.is_cancelled()));
            }
            Fate::Cancel => self.resolved(part, handle.join()),
            Fate::Detach => handle.detach(),
            Fate::Impatient => {
                let token = Arc::clone(&self.token);
                handle.on_finish(move |_| drop(token));
                handle.wait_timeout(Duration::ZERO);
                match handle.join_timeout(Duration::ZERO) {
                    Ok(result) => self.resolved(part, result),
                    Err(handle) => self.resolved(part, handle.join()),
                }
            }
            Fate::Deadline => match handle.join() {
                Err(error) if error.is_timeout() => (),
                result => self.resolved(part, result),
            },
            Fate::Keep => {
                let mut kept = self.kept.lock().expect("no panic meanwhile");
                kept.push(Kept {
                    part: Arc::clone(part),
                    may_be_cancelled: self.ends,
                    handle,
                });
            }
        }
    }

    fn resolved(&self, part: &Node, result: Result<u64, JoinError>) {
        resolved(part, result, self.ends);
    }

    fn stream(
        self: &Arc<Self>,
        parts: &[Arc<Node>],
        ordered: bool,
        window: usize,
        chunk: usize,
        take: usize,
    ) -> u64 {
        let tasks: Vec<Task> = parts.iter().map(|part| Task::new(part, self)).collect();
        let mut seen = 0;
        if ordered {
            let results = self.pool.imap(tasks, Task::run).window(window).chunk(chunk);
            for (part, result) in parts.iter().zip(results).take(take) {
                self.resolved(part, result);
                seen += 1;
            }
        } else {
            let results = self.pool.imap_unordered(tasks, Task::run);
            let mut missing: BTreeSet<usize> = (0..parts.len()).collect();
            for (index, result) in results.window(window).chunk(chunk).take(take) {
                assert!(missing.remove(&index));
                self.resolved(&parts[index], result);
                seen += 1;
            }
        }
        seen
    }
}

/// The pools on which graphs run.
pub struct Pools {
    threads: usize,
    /// For graphs without futures.
    closures: ThreadPool,
    /// For graphs with futures: see [`SPARES`].
    futures: ThreadPool,
    /// Counts panics that are not part of a graph, in tasks that nobody joins.
    failed: Arc<AtomicUsize>,
}

/// The spare threads of a pool whose tasks wait for futures in place. A thread that waits for a future polls no other one, so a graph in which all threads wait may
/// need a thread more.
const SPARES: usize = MOST + 56;

impl Pools {
    pub fn new(threads: usize) -> Pools {
        let failed = Arc::new(AtomicUsize::new(0));
        Pools {
            threads,
            closures: graph_pool(threads, &failed, |b| b),
            futures: graph_pool(threads, &failed, |b| b.spare_threads(SPARES)),
            failed,
        }
    }

    /// A pool for one graph.
    fn fresh(
        &self,
        graph: &Graph,
        configure: impl FnOnce(ThreadPoolBuilder) -> ThreadPoolBuilder,
    ) -> ThreadPool {
        graph_pool(self.threads, &self.failed, |builder| {
            configure(match graph.futures {
                true => builder.spare_threads(SPARES),
                false => builder,
            })
        })
    }
}

fn graph_pool(
    threads: usize,
    failed: &Arc<AtomicUsize>,
    configure: impl FnOnce(ThreadPoolBuilder) -> ThreadPoolBuilder,
) -> ThreadPool {
    let failed = Arc::clone(failed);
    let builder = ThreadPool::builder()
        .num_threads(threads)
        .panic_handler(move |payload| {
            if !payload.is::<Thrown>() {
                failed.fetch_add(1, Ordering::Relaxed);
            }
        });
    configure(builder).build().expect("a pool for graphs")
}

impl Graph {
    /// Runs the graph on one of the pools or on a new one, and compares the outcome with the oracle.
    ///
    /// # Panics
    /// Panics if the outcomes differ, a handle does not resolve, a value is not dropped, or the totals are not exact.
    pub fn check(&self, pools: &Pools) {
        let pool = match self.end {
            End::Idle if self.futures => pools.futures.clone(),
            End::Idle => pools.closures.clone(),
            End::Drop => pools.fresh(self, |b| b.queue_capacity(3)),
            _ => pools.fresh(self, |b| {
                b.queue_capacity(3).when_full(WhenFull::CallerRuns)
            }),
        };
        let (token, semaphore) = (Arc::new(()), Semaphore::new(PERMITS));
        let world = Arc::new(World {
            pool: pool.clone(),
            token: Arc::clone(&token),
            semaphore: semaphore.clone(),
            inside: Arc::default(),
            kept: Arc::default(),
            ends: self.end != End::Idle,
        });
        let result = catch_unwind(AssertUnwindSafe(|| match self.inside {
            true => pool.run(|| self.root.run(&world)),
            false => self.root.run(&world),
        }));
        check(&self.root, result);
        match self.end {
            End::Idle => pool.wait_idle(),
            End::Shutdown => pool.shutdown(),
            End::ShutdownNow => drop(pool.shutdown_now()),
            End::Drop => (),
        }
        loop {
            // A task that was kept may have kept other tasks.
            let kept = std::mem::take(&mut *world.kept.lock().expect("no panic meanwhile"));
            if kept.is_empty() {
                break;
            }
            for kept in kept {
                resolved(&kept.part, kept.handle.join(), kept.may_be_cancelled);
            }
        }
        if self.end == End::Idle {
            pool.wait_idle();
        }
        if self.end != End::Drop {
            let stats = pool.stats();
            let ended = stats.completed + stats.failed + stats.cancelled;
            assert_eq!(stats.submitted, ended, "{stats}");
            // A thread that has woken or cancelled a future counts that after its step, perhaps when the future has ended elsewhere.
            let start = Instant::now();
            while pool.stats().suspended > 0 {
                assert!(start.elapsed() < Duration::from_secs(20), "{stats}");
                std::thread::yield_now();
            }
        }
        drop((pool, world));
        // A task drops what it holds as its last step, after it was counted.
        let start = Instant::now();
        while Arc::strong_count(&token) > 1 {
            assert!(start.elapsed() < Duration::from_secs(20), "a task is left");
            std::thread::yield_now();
        }
        let permits = (semaphore.available(), semaphore.waiting());
        assert_eq!(permits, (PERMITS, 0), "{semaphore:?}");
        let failed = pools.failed.load(Ordering::Relaxed);
        assert_eq!(failed, 0, "a detached task failed");
    }
}
