//! The pool that a user writes in an afternoon: one queue behind a mutex, one condition variable, boxed tasks.
//!
//! A scheduler must beat this pool, as well as the serial program, to be worth its code.

use super::contract::Spawn;
use std::collections::VecDeque;
use std::marker::PhantomData;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};

type Task = Box<dyn FnOnce() + Send>;

/// A fixed number of threads that take boxed tasks from one queue.
pub struct NaivePool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    queue: Mutex<Queue>,
    ready: Condvar,
}

struct Queue {
    tasks: VecDeque<Task>,
    closed: bool,
}

impl NaivePool {
    /// Builds a pool and starts all its threads.
    pub fn new(threads: usize) -> Self {
        let shared = Arc::new(Shared {
            queue: Mutex::new(Queue {
                tasks: VecDeque::new(),
                closed: false,
            }),
            ready: Condvar::new(),
        });
        let threads = (0..threads)
            .map(|_| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || shared.work())
            })
            .collect();
        Self { shared, threads }
    }

    /// Adds a task that nobody waits for.
    pub fn spawn(&self, task: impl FnOnce() + Send + 'static) {
        self.shared.push(Box::new(task));
    }

    /// Adds a task whose result is wanted.
    pub fn submit<T, F>(&self, task: F) -> NaiveHandle<T>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let place = Arc::new(Place::default());
        let handle = NaiveHandle {
            place: Arc::clone(&place),
        };
        self.spawn(move || place.put(task()));
        handle
    }

    /// Runs `body` on the caller and returns when it and all spawned tasks are done.
    pub fn scope<'scope, R>(&self, body: impl FnOnce(&NaiveScope<'scope>) -> R) -> R {
        let scope = NaiveScope {
            shared: Arc::clone(&self.shared),
            group: Arc::new(WaitGroup::default()),
            marker: PhantomData,
        };
        let waiting = WaitOnDrop(&scope.group);
        let result = body(&scope);
        drop(waiting);
        assert!(!scope.group.has_panicked(), "a task of the scope panicked");
        result
    }

    /// Maps in order, by four chunks for each thread.
    pub fn map<T, R, F>(&self, items: &[T], f: F) -> Vec<R>
    where
        T: Sync,
        R: Send,
        F: Fn(&T) -> R + Sync,
    {
        let chunk_len = items.len().div_ceil(4 * self.threads.len()).max(1);
        let mut chunks: Vec<Vec<R>> = items.chunks(chunk_len).map(|_| Vec::new()).collect();
        let f = &f;
        self.scope(|scope| {
            for (items, results) in items.chunks(chunk_len).zip(&mut chunks) {
                scope.spawn(move |_| *results = items.iter().map(f).collect());
            }
        });
        let mut results = Vec::with_capacity(items.len());
        for mut chunk in chunks {
            results.append(&mut chunk);
        }
        results
    }

    /// Maps lazily and in order. At most `window` items are running, or finished and not returned.
    pub fn imap<I, R, F>(
        &self,
        input: impl IntoIterator<Item = I>,
        window: usize,
        f: F,
    ) -> impl Iterator<Item = R>
    where
        I: Send + 'static,
        R: Send + 'static,
        F: Fn(I) -> R + Copy + Send + 'static,
    {
        let mut input = input.into_iter();
        let mut handles = VecDeque::with_capacity(window);
        std::iter::from_fn(move || {
            while handles.len() < window
                && let Some(item) = input.next()
            {
                handles.push_back(self.submit(move || f(item)));
            }
            handles.pop_front().map(NaiveHandle::join)
        })
    }
}

impl Drop for NaivePool {
    fn drop(&mut self) {
        self.shared.queue.lock().expect("a worker panicked").closed = true;
        self.shared.ready.notify_all();
        for thread in self.threads.drain(..) {
            thread.join().expect("a worker panicked");
        }
    }
}

impl Shared {
    fn push(&self, task: Task) {
        self.queue
            .lock()
            .expect("a worker panicked")
            .tasks
            .push_back(task);
        self.ready.notify_one();
    }

    fn work(&self) {
        while let Some(task) = self.next() {
            task();
        }
    }

    fn next(&self) -> Option<Task> {
        let mut queue = self.queue.lock().expect("a worker panicked");
        loop {
            if let Some(task) = queue.tasks.pop_front() {
                return Some(task);
            }
            if queue.closed {
                return None;
            }
            queue = self.ready.wait(queue).expect("a worker panicked");
        }
    }
}

/// A handle of a task's result.
pub struct NaiveHandle<T> {
    place: Arc<Place<T>>,
}

struct Place<T> {
    result: Mutex<Option<T>>,
    finished: Condvar,
}

impl<T> NaiveHandle<T> {
    /// Waits for the result.
    pub fn join(self) -> T {
        let mut result = self.place.result.lock().expect("never poisoned");
        loop {
            match result.take() {
                Some(result) => return result,
                None => result = self.place.finished.wait(result).expect("never poisoned"),
            }
        }
    }
}

impl<T> Default for Place<T> {
    fn default() -> Self {
        Place {
            result: Mutex::new(None),
            finished: Condvar::new(),
        }
    }
}

impl<T> Place<T> {
    fn put(&self, result: T) {
        *self.result.lock().expect("never poisoned") = Some(result);
        self.finished.notify_one();
    }
}

/// Spawns tasks that borrow from outside the scope.
pub struct NaiveScope<'scope> {
    shared: Arc<Shared>,
    group: Arc<WaitGroup>,
    marker: PhantomData<fn(&'scope ()) -> &'scope ()>,
}

impl<'scope> NaiveScope<'scope> {
    /// Adds a task to the pool's queue.
    pub fn spawn<F>(&self, task: F)
    where
        F: FnOnce(&NaiveScope<'scope>) + Send + 'scope,
    {
        self.group.add();
        let scope = NaiveScope {
            shared: Arc::clone(&self.shared),
            group: Arc::clone(&self.group),
            marker: PhantomData,
        };
        let task: Box<dyn FnOnce() + Send + 'scope> = Box::new(move || {
            let outcome = panic::catch_unwind(AssertUnwindSafe(|| task(&scope)));
            scope.group.done(outcome.is_err());
        });
        // SAFETY: `transmute` requires (1) types of one layout, which types that differ in a lifetime are, and (2) that the task is not used after
        // its lifetime. `scope` neither returns nor unwinds before the task has run and its captures are dropped: `done` is the last step of
        // the task, and `WaitOnDrop` waits for all tasks.
        let task: Task = unsafe {
            std::mem::transmute::<Box<dyn FnOnce() + Send + 'scope>, Box<dyn FnOnce() + Send>>(task)
        };
        self.shared.push(task);
    }
}

impl<'scope> Spawn<'scope> for NaiveScope<'scope> {
    fn spawn<F>(&self, task: F)
    where
        F: FnOnce(&Self) + Send + 'scope,
    {
        NaiveScope::spawn(self, task);
    }
}

/// Counts the tasks of a scope.
#[derive(Default)]
struct WaitGroup {
    state: Mutex<GroupState>,
    finished: Condvar,
}

#[derive(Default)]
struct GroupState {
    pending: usize,
    panicked: bool,
}

impl WaitGroup {
    fn add(&self) {
        self.state.lock().expect("never poisoned").pending += 1;
    }

    fn done(&self, panicked: bool) {
        let mut state = self.state.lock().expect("never poisoned");
        state.pending -= 1;
        state.panicked |= panicked;
        if state.pending == 0 {
            self.finished.notify_all();
        }
    }

    fn wait(&self) {
        let mut state = self.state.lock().expect("never poisoned");
        while state.pending > 0 {
            state = self.finished.wait(state).expect("never poisoned");
        }
    }

    fn has_panicked(&self) -> bool {
        self.state.lock().expect("never poisoned").panicked
    }
}

/// Waits for a group when it is dropped, also when the scope's body unwinds.
struct WaitOnDrop<'a>(&'a WaitGroup);

impl Drop for WaitOnDrop<'_> {
    fn drop(&mut self) {
        self.0.wait();
    }
}
