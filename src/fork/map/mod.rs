//! Data-parallel maps over borrowed data.

mod blocks;
mod drive;
mod plans;
mod source;

pub use source::{IntoSource, Limited, Owned, OwnedIter, Source};

use crate::pool::{Registry, ThreadPool, with_current, worker};
use crate::sync::Mutex;
use blocks::{Blocks, tree_reduce};
use drive::{Plan, drive};
use plans::{
    Buffer, FindAny, FindFirst, FindMapAny, FirstHit, ForEach, ForEachInit, Map, MapInit,
    MapReduce, States, TryForEach, TryMap,
};
use std::sync::atomic::AtomicBool;

/// # Maps
///
/// The input is anything that is [`IntoSource`]: integer ranges, slices, vectors and arrays, by value or by reference. Nothing needs
/// to be `'static`. No chunk size has to be chosen: items are cut in halves as long as a half is worth a
/// fork, by what items were measured to cost. The calling thread takes part.
///
/// All of these return or unwind only after every closure has ended. A panic in a closure goes on in the caller; results made so far are
/// dropped.
impl ThreadPool {
    /// `f` of each item, in the order of the input.
    ///
    /// # Panics
    /// With the panic of a closure; or if a [`Source`] yields fewer items than it promised.
    ///
    /// ```
    /// let pool = heist::ThreadPool::new()?;
    /// let names = ["one", "two", "three"];
    /// assert_eq!(pool.map(&names, |name| name.len()), [3, 3, 5]);
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn map<I, R, F>(&self, input: I, f: F) -> Vec<R>
    where
        I: IntoSource,
        R: Send,
        F: Fn(I::Item) -> R + Sync,
    {
        map_on(self.registry(), input, f)
    }

    /// [`map`](Self::map) with a state that each participating thread makes once a call: a buffer, a random number generator, a connection.
    ///
    /// ```
    /// let pool = heist::ThreadPool::new()?;
    /// let lengths = pool.map_init(0..100_u32, String::new, |text, n| {
    ///     text.clear();
    ///     text.push_str(&n.to_string());
    ///     text.len()
    /// });
    /// assert_eq!(lengths.iter().sum::<usize>(), 190);
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn map_init<I, T, R, N, F>(&self, input: I, init: N, f: F) -> Vec<R>
    where
        I: IntoSource,
        T: Send,
        R: Send,
        N: Fn() -> T + Sync,
        F: Fn(&mut T, I::Item) -> R + Sync,
    {
        collect(self.registry(), input.into_source(), |buffer| MapInit {
            buffer,
            states: States::new(),
            init,
            f,
        })
    }

    /// `f` of each item, for its effect.
    ///
    /// ```
    /// let pool = heist::ThreadPool::new()?;
    /// let mut numbers = vec![1, 2, 3];
    /// pool.for_each(&mut numbers, |n| *n *= 10);
    /// assert_eq!(numbers, [10, 20, 30]);
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn for_each<I, F>(&self, input: I, f: F)
    where
        I: IntoSource,
        F: Fn(I::Item) + Sync,
    {
        for_each_on(self.registry(), input, f);
    }

    /// Maps each item and puts the results together with `reduce`, an associative operation: its operands come in the order of the
    /// input, grouped as it happens. `identity` is the result for no items.
    ///
    /// ```
    /// let pool = heist::ThreadPool::new()?;
    /// let longest = pool.map_reduce(&["a", "ccc", "bb"], |word| word.len(), || 0, usize::max);
    /// assert_eq!(longest, 3);
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn map_reduce<I, R, M, N, D>(&self, input: I, map: M, identity: N, reduce: D) -> R
    where
        I: IntoSource,
        R: Send,
        M: Fn(I::Item) -> R + Sync,
        N: Fn() -> R + Sync,
        D: Fn(R, R) -> R + Sync,
    {
        map_reduce_on(self.registry(), input, map, identity, reduce)
    }

    /// [`map`](Self::map) with a closure that can fail. After an error no further piece is begun.
    ///
    /// # Errors
    /// That of the smallest index among the items that ran.
    ///
    /// ```
    /// let pool = heist::ThreadPool::new()?;
    /// let numbers = pool.try_map(&["1", "2", "x"], |text| text.parse::<i32>());
    /// assert!(numbers.is_err());
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn try_map<I, R, E, F>(&self, input: I, f: F) -> Result<Vec<R>, E>
    where
        I: IntoSource,
        R: Send,
        E: Send,
        F: Fn(I::Item) -> Result<R, E> + Sync,
    {
        let source = input.into_source();
        let mut results = Vec::with_capacity(source.len());
        let plan = TryMap {
            buffer: Buffer::of(&mut results, source.len()),
            failed: AtomicBool::new(false),
            error: Mutex::new(None),
            f,
        };
        let filled = drive_on(self.registry(), source, &plan);
        let TryMap { error, f, .. } = plan;
        drop(f);
        let error = error
            .into_inner()
            .unwrap_or_else(|poison| poison.into_inner());
        match error {
            Some((_, error)) => {
                drop(filled);
                Err(error)
            }
            None => {
                let len = filled.release();
                // SAFETY: so many results are written, from the first place on, and given up to us.
                unsafe { results.set_len(len) };
                Ok(results)
            }
        }
    }

    /// `f` of each item, for its effect, until one fails. After an error no further piece is begun.
    ///
    /// # Errors
    /// That of the smallest index among the items that ran.
    ///
    /// ```
    /// let pool = heist::ThreadPool::new()?;
    /// let checked = pool.try_for_each(&["a", "b", ""], |name| if name.is_empty() { Err("a name is empty") } else { Ok(()) });
    /// assert_eq!(checked, Err("a name is empty"));
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn try_for_each<I, E, F>(&self, input: I, f: F) -> Result<(), E>
    where
        I: IntoSource,
        E: Send,
        F: Fn(I::Item) -> Result<(), E> + Sync,
    {
        let plan = TryForEach {
            first: FirstHit::default(),
            f,
        };
        drive_on(self.registry(), input.into_source(), &plan);
        let TryForEach { first, f } = plan;
        drop(f);
        first.take().map_or(Ok(()), Err)
    }

    /// Some item for which `predicate` holds. When one is found, no further piece is begun.
    ///
    /// ```
    /// let pool = heist::ThreadPool::new()?;
    /// assert_eq!(pool.find_any(0..1_000_000, |n| n * n == 144), Some(12));
    /// assert_eq!(pool.find_any(0..1000, |&n| n > 1000), None);
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn find_any<I, F>(&self, input: I, predicate: F) -> Option<I::Item>
    where
        I: IntoSource,
        I::Item: Send,
        F: Fn(&I::Item) -> bool + Sync,
    {
        let plan = FindAny {
            hit: AtomicBool::new(false),
            found: Mutex::new(None),
            predicate,
        };
        drive_on(self.registry(), input.into_source(), &plan);
        let FindAny {
            found, predicate, ..
        } = plan;
        drop(predicate);
        found
            .into_inner()
            .unwrap_or_else(|poison| poison.into_inner())
    }

    /// What `f` makes of some item for which it makes something. When one is found, no further piece is begun.
    ///
    /// ```
    /// let pool = heist::ThreadPool::new()?;
    /// let number = pool.find_map_any(&["x", "42", "y"], |text| text.parse::<i32>().ok());
    /// assert_eq!(number, Some(42));
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn find_map_any<I, R, F>(&self, input: I, f: F) -> Option<R>
    where
        I: IntoSource,
        R: Send,
        F: Fn(I::Item) -> Option<R> + Sync,
    {
        let plan = FindMapAny {
            hit: AtomicBool::new(false),
            found: Mutex::new(None),
            f,
        };
        drive_on(self.registry(), input.into_source(), &plan);
        let FindMapAny { found, f, .. } = plan;
        drop(f);
        found
            .into_inner()
            .unwrap_or_else(|poison| poison.into_inner())
    }

    /// The first item, in the order of the input, for which `predicate` holds. Items behind a hit are skipped as far as they have not been looked at;
    /// those before it are all looked at. [`find_any`](Self::find_any) may stop earlier.
    ///
    /// ```
    /// let pool = heist::ThreadPool::new()?;
    /// assert_eq!(pool.find_first(0..1_000_000, |n| n % 1000 == 999), Some(999));
    /// assert_eq!(pool.find_first(0..1000, |&n| n > 1000), None);
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn find_first<I, F>(&self, input: I, predicate: F) -> Option<I::Item>
    where
        I: IntoSource,
        I::Item: Send,
        F: Fn(&I::Item) -> bool + Sync,
    {
        let plan = FindFirst {
            first: FirstHit::default(),
            predicate,
        };
        drive_on(self.registry(), input.into_source(), &plan);
        let FindFirst { first, predicate } = plan;
        drop(predicate);
        first.take()
    }

    /// [`for_each`](Self::for_each) with a state that each participating thread makes once a call: a buffer, a random number generator, a connection.
    ///
    /// ```
    /// use std::sync::atomic::{AtomicUsize, Ordering};
    /// let pool = heist::ThreadPool::new()?;
    /// let digits = AtomicUsize::new(0);
    /// pool.for_each_init(0..100_u32, String::new, |text, n| {
    ///     text.clear();
    ///     text.push_str(&n.to_string());
    ///     digits.fetch_add(text.len(), Ordering::Relaxed);
    /// });
    /// assert_eq!(digits.into_inner(), 190);
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn for_each_init<I, T, N, F>(&self, input: I, init: N, f: F)
    where
        I: IntoSource,
        T: Send,
        N: Fn() -> T + Sync,
        F: Fn(&mut T, I::Item) + Sync,
    {
        let plan = ForEachInit {
            states: States::new(),
            init,
            f,
        };
        drive_on(self.registry(), input.into_source(), &plan);
    }

    /// [`map_reduce`](Self::map_reduce) whose grouping depends on the length of the input only: with the same closures the same input gives the
    /// same result, bit for bit, on every run, on pools of every size, on every machine with the same arithmetic.
    ///
    /// Use it where `reduce` is not quite associative: sums of floating-point numbers. The input is cut into at most 1,024 blocks of equal length. Each
    /// block is reduced from left to right, and the blocks' results pairwise, as the leaves of a balanced tree, so that rounding errors of a sum stay
    /// smaller than those of a plain loop. [`with_min_len`](IntoSource::with_min_len) and [`with_max_len`](IntoSource::with_max_len) bound the length of a
    /// block, and thus change the grouping.
    ///
    /// It costs more than `map_reduce` where items are cheap and few, since it cannot adapt the blocks to what items cost, and takes memory for one
    /// result a block.
    ///
    /// ```
    /// let terms: Vec<f64> = (1..=100_000).map(|n| 1.0 / f64::from(n)).collect();
    /// let sum = |threads| {
    ///     let pool = heist::ThreadPool::with_threads(threads)?;
    ///     Ok::<f64, heist::BuildError>(pool.map_reduce_deterministic(&terms, |term| *term, || 0.0, |a, b| a + b))
    /// };
    /// assert_eq!(sum(1)?.to_bits(), sum(3)?.to_bits());
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn map_reduce_deterministic<I, R, M, N, D>(
        &self,
        input: I,
        map: M,
        identity: N,
        reduce: D,
    ) -> R
    where
        I: IntoSource,
        R: Send,
        M: Fn(I::Item) -> R + Sync,
        N: FnOnce() -> R,
        D: Fn(R, R) -> R + Sync,
    {
        worker::as_part(self.registry(), |slot| {
            let blocks = Blocks::new(input.into_source());
            let partial = |block: I::Source| block.into_seq().map(&map).reduce(&reduce);
            let mut partials = map_on(slot.registry(), blocks, partial);
            tree_reduce(&mut partials, &reduce).unwrap_or_else(identity)
        })
    }
}

/// [`ThreadPool::map`] on the pool of the current thread, or on the [`global`](crate::global) one.
///
/// ```
/// let words = ["free", "functions"];
/// assert_eq!(heist::map(&words, |word| word.len()), [4, 9]);
/// ```
pub fn map<I, R, F>(input: I, f: F) -> Vec<R>
where
    I: IntoSource,
    R: Send,
    F: Fn(I::Item) -> R + Sync,
{
    with_current(|registry| map_on(registry, input, f))
}

/// [`ThreadPool::for_each`] on the pool of the current thread, or on the [`global`](crate::global) one.
///
/// ```
/// let mut numbers = [1, 2, 3];
/// heist::for_each(&mut numbers, |n| *n += 1);
/// assert_eq!(numbers, [2, 3, 4]);
/// ```
pub fn for_each<I, F>(input: I, f: F)
where
    I: IntoSource,
    F: Fn(I::Item) + Sync,
{
    with_current(|registry| for_each_on(registry, input, f));
}

/// [`ThreadPool::map_reduce`] on the pool of the current thread, or on the [`global`](crate::global) one.
///
/// ```
/// let sum_of_squares = heist::map_reduce(0..10_u64, |n| n * n, || 0, |a, b| a + b);
/// assert_eq!(sum_of_squares, 285);
/// ```
pub fn map_reduce<I, R, M, N, D>(input: I, map: M, identity: N, reduce: D) -> R
where
    I: IntoSource,
    R: Send,
    M: Fn(I::Item) -> R + Sync,
    N: Fn() -> R + Sync,
    D: Fn(R, R) -> R + Sync,
{
    with_current(|registry| map_reduce_on(registry, input, map, identity, reduce))
}

fn map_on<I, R, F>(registry: &Registry, input: I, f: F) -> Vec<R>
where
    I: IntoSource,
    R: Send,
    F: Fn(I::Item) -> R + Sync,
{
    collect(registry, input.into_source(), |buffer| Map { buffer, f })
}

fn for_each_on<I, F>(registry: &Registry, input: I, f: F)
where
    I: IntoSource,
    F: Fn(I::Item) + Sync,
{
    drive_on(registry, input.into_source(), &ForEach(&f));
}

fn map_reduce_on<I, R, M, N, D>(registry: &Registry, input: I, map: M, identity: N, reduce: D) -> R
where
    I: IntoSource,
    R: Send,
    M: Fn(I::Item) -> R + Sync,
    N: Fn() -> R + Sync,
    D: Fn(R, R) -> R + Sync,
{
    let plan = MapReduce {
        map,
        identity,
        reduce,
    };
    let result = drive_on(registry, input.into_source(), &plan);
    drop(plan);
    result
}

fn drive_on<S: Source, P: Plan<S>>(registry: &Registry, source: S, plan: &P) -> P::Out {
    worker::as_part(registry, |_| drive(source, plan))
}

fn collect<S, R, P>(registry: &Registry, source: S, plan: impl FnOnce(Buffer<R>) -> P) -> Vec<R>
where
    S: Source,
    R: Send,
    P: Plan<S, Out = plans::Filled<R>>,
{
    let len = source.len();
    let mut results = Vec::with_capacity(len);
    let plan = plan(Buffer::of(&mut results, len));
    let filled = drive_on(registry, source, &plan);
    drop(plan);
    let len = filled.release();
    // SAFETY: so many results are written, from the first place on, and given up to us.
    unsafe { results.set_len(len) };
    results
}
