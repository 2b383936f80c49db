//! Streams of every kind behind one interface, and items that count how many of them exist.

use super::spin_until;
use heist::{JoinError, ThreadPool};
use std::iter;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Ordered,
    Unordered,
    ScopedOrdered,
    ScopedUnordered,
}

pub const KINDS: [Kind; 4] = [
    Kind::Ordered,
    Kind::Unordered,
    Kind::ScopedOrdered,
    Kind::ScopedUnordered,
];

impl Kind {
    pub fn is_scoped(self) -> bool {
        matches!(self, Kind::ScopedOrdered | Kind::ScopedUnordered)
    }

    pub fn is_ordered(self) -> bool {
        matches!(self, Kind::Ordered | Kind::ScopedOrdered)
    }
}

/// The settings of a stream. `None` stands for the default.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settings {
    pub window: Option<usize>,
    pub chunk: Option<usize>,
    pub timeout: Option<Duration>,
    pub on_workers: bool,
}

pub fn window(window: usize, chunk: usize) -> Settings {
    Settings {
        window: Some(window),
        chunk: Some(chunk),
        ..Settings::default()
    }
}

pub fn timeout(timeout: Duration) -> Settings {
    Settings {
        timeout: Some(timeout),
        ..Settings::default()
    }
}

pub fn on_workers(settings: Settings) -> Settings {
    Settings {
        on_workers: true,
        ..settings
    }
}

/// A stream as the tests see it: results with their indices.
pub trait Stream<R>: Iterator<Item = (usize, Result<R, JoinError>)> {
    fn has_timed_out(&self) -> bool;
    fn debug(&self) -> String;
}

/// An ordered stream whose results are numbered.
pub struct Numbered<'a, R>(heist::Imap<'a, R>, usize);

impl<R> Iterator for Numbered<'_, R> {
    type Item = (usize, Result<R, JoinError>);

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.0.next()?;
        self.1 += 1;
        Some((self.1 - 1, item))
    }
}

impl<R> Stream<R> for Numbered<'_, R> {
    fn has_timed_out(&self) -> bool {
        self.0.timed_out()
    }

    fn debug(&self) -> String {
        format!("{:?}", self.0)
    }
}

impl<R> Stream<R> for heist::ImapUnordered<'_, R> {
    fn has_timed_out(&self) -> bool {
        self.timed_out()
    }

    fn debug(&self) -> String {
        format!("{self:?}")
    }
}

macro_rules! set {
    ($stream:expr, $settings:expr) => {{
        let mut stream = $stream;
        if let Some(window) = $settings.window {
            stream = stream.window(window);
        }
        if let Some(chunk) = $settings.chunk {
            stream = stream.chunk(chunk);
        }
        if let Some(timeout) = $settings.timeout {
            stream = stream.timeout(timeout);
        }
        if $settings.on_workers {
            stream = stream.on_workers();
        }
        stream
    }};
}

/// Calls `body` with a stream of that kind.
pub fn stream<I, R, O>(
    pool: &ThreadPool,
    kind: Kind,
    settings: Settings,
    input: I,
    f: impl Fn(I::Item) -> R + Send + Sync + 'static,
    body: impl FnOnce(Box<dyn Stream<R> + '_>) -> O,
) -> O
where
    I: IntoIterator<Item: Send + 'static>,
    R: Send + 'static,
{
    match kind {
        Kind::Ordered => body(Box::new(Numbered(set!(pool.imap(input, f), settings), 0))),
        Kind::Unordered => body(Box::new(set!(pool.imap_unordered(input, f), settings))),
        Kind::ScopedOrdered => {
            pool.scope(|s| body(Box::new(Numbered(set!(s.imap(input, f), settings), 0))))
        }
        Kind::ScopedUnordered => {
            pool.scope(|s| body(Box::new(set!(s.imap_unordered(input, f), settings))))
        }
    }
}

/// All results, in the order of their indices.
pub fn collected<R>(kind: Kind, stream: Box<dyn Stream<R> + '_>) -> Vec<Result<R, JoinError>> {
    let mut all: Vec<_> = stream.collect();
    if !kind.is_ordered() {
        all.sort_by_key(|(index, _)| *index);
    }
    assert!(all.iter().map(|(index, _)| *index).eq(0..all.len()));
    all.into_iter().map(|(_, result)| result).collect()
}

/// Waits until everything that was submitted has ended. A scope's body cannot call `wait_idle`.
pub fn settle(pool: &ThreadPool) {
    spin_until(|| {
        let stats = pool.stats();
        stats.submitted == stats.completed + stats.failed + stats.cancelled
    });
}

/// The number of values that are alive, and the largest number so far.
#[derive(Default)]
pub struct Census {
    pub alive: AtomicUsize,
    pub most: AtomicUsize,
}

pub struct Citizen(Arc<Census>);

impl Citizen {
    pub fn new(census: &Arc<Census>) -> Citizen {
        let alive = census.alive.fetch_add(1, Ordering::Relaxed) + 1;
        census.most.fetch_max(alive, Ordering::Relaxed);
        Citizen(Arc::clone(census))
    }
}

impl Drop for Citizen {
    fn drop(&mut self) {
        self.0.alive.fetch_sub(1, Ordering::Relaxed);
    }
}
