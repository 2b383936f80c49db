//! Data-parallel maps over borrowed data.

mod blocks;
mod drive;
mod results;
mod source;

pub use source::{IntoSource, Limited, Owned, OwnedIter, Source};

use crate::pool::{Registry, ThreadPool, with_current, worker};
use blocks::{Blocks, tree_reduce};
use drive::{Part, drive};
use results::{Buffer, Filled, FirstHit, States};

/// # Maps
///
/// The input is anything that implements [`IntoSource`]: integer ranges, slices, vectors and arrays, by value
/// or by reference. The items and closures need not be `'static`. No chunk size has to be chosen: the input
/// is split as long as a part is worth a fork, by the measured cost of the items. The calling thread takes
/// part. For inputs that are lazy or do not fit into memory, see [`imap`](Self::imap).
///
/// These methods return or unwind only after every closure has ended. If a closure panics, the results made
/// so far are dropped and the panic resumes in the caller.
impl ThreadPool {
    /// Calls `f` on each item and returns the results in the order of the input.
    ///
    /// # Panics
    ///
    /// Panics if a closure panics, or if a [`Source`] yields fewer items than it promised.
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
        map_on(self.registry(), input.into_source(), f)
    }

    /// Maps each item with a state that each participating thread creates once per call: a buffer, a random
    /// number generator, a connection.
    ///
    /// Results are in the order of the input, as with [`map`](Self::map).
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
        let states = States::new();
        let piece = move |buffer: &Buffer<R>, part: Part<I::Source>| {
            states.with(&init, |state| buffer.fill(part, |item| f(state, item)))
        };
        collect(self.registry(), input.into_source(), piece, || false)
    }

    /// Calls `f` on each item.
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
        for_each_on(self.registry(), input.into_source(), f);
    }

    /// Maps each item and combines the results with `reduce`, an associative operation.
    ///
    /// The operands of `reduce` are in the order of the input; how they are grouped varies. `identity`
    /// returns the result for an empty input. For sums of floating-point numbers that repeat bit for bit, use
    /// [`map_reduce_deterministic`](Self::map_reduce_deterministic).
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
        reduce_on(self.registry(), input.into_source(), map, identity, reduce)
    }

    /// Maps each item with a closure that can fail. After an error no further part of the input is begun.
    ///
    /// # Errors
    ///
    /// Returns the error with the smallest index among the items that ran.
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
        let first = &FirstHit::new();
        let results = collect(
            self.registry(),
            input.into_source(),
            move |buffer, part| buffer.try_fill(part, first, &f),
            || first.exists(),
        );
        match first.take() {
            None => Ok(results),
            Some(error) => {
                drop(results);
                Err(error)
            }
        }
    }

    /// Calls `f` on each item until one fails. After an error no further part of the input is begun.
    ///
    /// # Errors
    ///
    /// Returns the error with the smallest index among the items that ran.
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
        let until_error = move |first: &FirstHit<E>, part: Part<I::Source>| {
            for (index, item) in (part.offset..).zip(part.items()) {
                if let Err(error) = f(item) {
                    return first.keep(index, error);
                }
            }
        };
        let skipped = |first: &FirstHit<E>, _| first.exists();
        let error = search(self.registry(), input.into_source(), until_error, skipped);
        error.map_or(Ok(()), Err)
    }

    /// Returns some item for which `predicate` is true, or `None`. After a match no further part of the input
    /// is begun.
    ///
    /// The match need not be the first one: see [`find_first`](Self::find_first).
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
        self.find_map_any(input, move |item| predicate(&item).then_some(item))
    }

    /// Returns `f`'s value for some item for which it returns `Some`, or `None`. After a match no further
    /// part of the input is begun.
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
        let until_match = move |first: &FirstHit<R>, part: Part<I::Source>| {
            let offset = part.offset;
            if let Some(result) = part.items().find_map(&f) {
                first.keep(offset, result);
            }
        };
        let skipped = |first: &FirstHit<R>, _| first.exists();
        search(self.registry(), input.into_source(), until_match, skipped)
    }

    /// Returns the first item, in the order of the input, for which `predicate` is true, or `None`.
    ///
    /// Items after a match are skipped unless they were tested already; items before it are all tested.
    /// [`find_any`](Self::find_any) can stop earlier.
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
        let until_match = move |first: &FirstHit<I::Item>, part: Part<I::Source>| {
            for (index, item) in (part.offset..).zip(part.items()) {
                if first.is_before(index) {
                    return;
                }
                if predicate(&item) {
                    return first.keep(index, item);
                }
            }
        };
        let skipped = FirstHit::is_before;
        search(self.registry(), input.into_source(), until_match, skipped)
    }

    /// Calls `f` on each item with a state that each participating thread creates once per call: a buffer, a
    /// random number generator, a connection.
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
        let states = States::new();
        for_each_part(self.registry(), input.into_source(), |part| {
            states.with(&init, |state| part.items().for_each(|item| f(state, item)));
        });
    }

    /// Maps each item and combines the results as [`map_reduce`](Self::map_reduce) does, with a grouping that
    /// depends only on the length of the input.
    ///
    /// With the same closures and input, the result is the same bit for bit: on every run, on pools of every
    /// size, on every machine with the same arithmetic. Use it where `reduce` is not exactly associative, as
    /// for sums of floating-point numbers.
    ///
    /// The input is cut into at most 1,024 blocks of equal length. Each block is reduced from left to right,
    /// and the results of the blocks pairwise, as the leaves of a balanced tree. The rounding error of a sum
    /// is thus smaller than that of a plain loop. [`with_min_len`](IntoSource::with_min_len) and
    /// [`with_max_len`](IntoSource::with_max_len) bound the length of a block and thereby change the
    /// grouping.
    ///
    /// It costs more than `map_reduce` if the items are few and cheap, because the blocks do not adapt to the
    /// cost of the items, and it needs memory for one result per block.
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
        worker::as_part(self.registry(), |member| {
            let blocks = Blocks::new(input.into_source());
            let partial = |block: I::Source| block.into_seq().map(&map).reduce(&reduce);
            let mut partials = map_on(member.registry, blocks, partial);
            tree_reduce(&mut partials, &reduce).unwrap_or_else(identity)
        })
    }
}

/// Maps each item in order, as [`ThreadPool::map`] does, on the pool of the current thread or the
/// [`global`](crate::global) one.
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
    with_current(|registry| map_on(registry, input.into_source(), f))
}

/// Calls `f` on each item, as [`ThreadPool::for_each`] does, on the pool of the current thread or the
/// [`global`](crate::global) one.
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
    with_current(|registry| for_each_on(registry, input.into_source(), f));
}

/// Maps and combines the items, as [`ThreadPool::map_reduce`] does, on the pool of the current thread or the
/// [`global`](crate::global) one.
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
    with_current(|registry| reduce_on(registry, input.into_source(), map, identity, reduce))
}

fn map_on<S: Source, R: Send>(
    registry: &Registry,
    source: S,
    f: impl Fn(S::Item) -> R + Sync,
) -> Vec<R> {
    let piece = move |buffer: &Buffer<R>, part| buffer.fill(part, &f);
    collect(registry, source, piece, || false)
}

fn reduce_on<S: Source, R: Send>(
    registry: &Registry,
    source: S,
    map: impl Fn(S::Item) -> R + Sync,
    identity: impl Fn() -> R + Sync,
    reduce: impl Fn(R, R) -> R + Sync,
) -> R {
    let by = &reduce;
    let piece = move |part: Part<S>| part.items().map(&map).reduce(by).unwrap_or_else(&identity);
    let out = drive(registry, source, piece, by, |_| None);
    // Dropped while the output has an owner: if this destructor panics, the output is dropped rather than leaked.
    drop(reduce);
    out
}

fn for_each_on<S: Source>(registry: &Registry, source: S, f: impl Fn(S::Item) + Sync) {
    for_each_part(registry, source, |part| part.items().for_each(&f));
}

fn for_each_part<S: Source>(registry: &Registry, source: S, piece: impl Fn(Part<S>) + Sync) {
    drive(registry, source, piece, |(), ()| (), |_| None);
}

/// Runs the parts of `source` until there is a hit, except for those that `is_skipped` excludes by their offset.
fn search<S: Source, T: Send>(
    registry: &Registry,
    source: S,
    piece: impl Fn(&FirstHit<T>, Part<S>) + Sync,
    is_skipped: impl Fn(&FirstHit<T>, usize) -> bool + Sync,
) -> Option<T> {
    let first = &FirstHit::new();
    let skip = |offset| is_skipped(first, offset).then_some(());
    drive(
        registry,
        source,
        move |part| piece(first, part),
        |(), ()| (),
        skip,
    );
    first.take()
}

/// Collects the results of `piece`, which fills each part's places in a buffer, unless it has `failed`: then some of the results are dropped.
fn collect<S: Source, R: Send>(
    registry: &Registry,
    source: S,
    piece: impl Fn(&Buffer<R>, Part<S>) -> Filled<R> + Sync,
    failed: impl Fn() -> bool + Sync,
) -> Vec<R> {
    let len = source.len();
    let mut results = Vec::with_capacity(len);
    let buffer = &Buffer::of(&mut results, len);
    let merge = |left: Filled<R>, right| {
        if failed() {
            // Between the two there can be places without a result.
            drop(right);
            left
        } else {
            left.append(right)
        }
    };
    let skip = |_| failed().then(|| buffer.part(0, 0));
    let filled = drive(
        registry,
        source,
        move |part| piece(buffer, part),
        merge,
        skip,
    );
    let len = filled.release();
    // SAFETY: (1) `len` is within the capacity, and the first `len` places hold results: the leftmost part begins at place 0, also if it was skipped,
    // and `append` takes only adjacent results. (2) `filled` has given them up.
    unsafe { results.set_len(len) };
    results
}
