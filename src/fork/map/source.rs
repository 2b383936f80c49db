//! The inputs of maps: anything of a known length that can be split in two.

use std::iter::FusedIterator;
use std::mem::ManuallyDrop;
use std::ops::{Range, RangeInclusive};
use std::sync::Arc;
use std::{fmt, ptr, slice};

/// A sequence of known length that can be split in two: the input of [`map`](crate::ThreadPool::map) and
/// similar methods.
///
/// Implement it for your own collections. All methods are safe: a wrong length leads to a panic or to missing
/// items, never to undefined behaviour.
///
/// ```
/// use heist::Source;
///
/// /// Every `step`-th number.
/// struct Steps { start: u64, step: u64, count: usize }
///
/// impl Source for Steps {
///     type Item = u64;
///     type Iter = std::iter::Take<std::iter::StepBy<std::ops::RangeFrom<u64>>>;
///     fn len(&self) -> usize { self.count }
///     fn split_at(self, index: usize) -> (Self, Self) {
///         let Steps { start, step, count } = self;
///         let right = start + index as u64 * step;
///         (Steps { start, step, count: index }, Steps { start: right, step, count: count - index })
///     }
///     fn into_seq(self) -> Self::Iter { (self.start..).step_by(self.step as usize).take(self.count) }
/// }
///
/// let pool = heist::ThreadPool::new()?;
/// let doubled = pool.map(Steps { start: 1, step: 3, count: 4 }, |n| n * 2);
/// assert_eq!(doubled, [2, 8, 14, 20]);
/// # Ok::<(), heist::BuildError>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "a map cannot run over `{Self}`",
    label = "no collection that can be cut in two and shared among threads",
    note = "a map takes ranges, slices, vectors and arrays: write `&v` instead of `v.iter()`, `&mut v` instead of `v.iter_mut()`, `v` instead of `v.into_iter()`",
    note = "other iterators and collections, such as `lines()` or a `HashMap`, cannot be cut in two: collect them first, as in `let v: Vec<_> = map.iter().collect();`, or give an \
            iterator to `imap`, which goes through it lazily",
    note = "items that are moved or changed must be `Send`, items that are borrowed `Sync`",
    note = "for a collection of your own implement `heist::Source`"
)]
#[expect(clippy::len_without_is_empty, reason = "splitting needs only `len`")]
pub trait Source: Sized + Send {
    /// The type of the items.
    type Item;
    /// An iterator over the items, in order.
    type Iter: Iterator<Item = Self::Item>;

    /// Returns the number of items.
    fn len(&self) -> usize;

    /// Splits before the item at `index`, which is at most the length.
    fn split_at(self, index: usize) -> (Self, Self);

    /// Turns the source into an iterator over its items.
    fn into_seq(self) -> Self::Iter;

    /// Returns the least length of a part: parts are not split if a half would be shorter. The default is 1.
    fn min_len(&self) -> usize {
        1
    }

    /// Returns the greatest length of a part: longer ones are always split. By default there is no limit.
    fn max_len(&self) -> usize {
        usize::MAX
    }
}

/// Conversion into a [`Source`], implemented by each source, by `Vec<T>` and `[T; N]`, and by references to
/// them.
///
/// Iterators do not implement it, because they cannot be split. Write `map(&v, ..)` instead of `map(v.iter(),
/// ..)`; collect `lines()` or a `HashMap` into a vector first; or use [`imap`](crate::ThreadPool::imap),
/// which takes any iterator.
///
/// ```
/// use std::collections::HashMap;
/// let pool = heist::ThreadPool::new()?;
/// let text = "to be\nor not";
/// let lines: Vec<&str> = text.lines().collect();
/// assert_eq!(pool.map(&lines, |line| line.len()), [5, 6]);
///
/// let ages = HashMap::from([("ada", 36), ("grace", 85)]);
/// let entries: Vec<(&&str, &i32)> = ages.iter().collect();
/// let mut ages: Vec<i32> = pool.map(&entries, |(_, age)| **age);
/// ages.sort();
/// assert_eq!(ages, [36, 85]);
/// # Ok::<(), heist::BuildError>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "a map cannot run over `{Self}`",
    label = "no collection that can be cut in two and shared among threads",
    note = "a map takes ranges, slices, vectors and arrays: write `&v` instead of `v.iter()`, `&mut v` instead of `v.iter_mut()`, `v` instead of `v.into_iter()`",
    note = "other iterators and collections, such as `lines()` or a `HashMap`, cannot be cut in two: collect them first, as in `let v: Vec<_> = map.iter().collect();`, or give an \
            iterator to `imap`, which goes through it lazily",
    note = "items that are moved or changed must be `Send`, items that are borrowed `Sync`",
    note = "for a collection of your own implement `heist::Source`"
)]
pub trait IntoSource: Sized {
    /// The source that it becomes.
    type Source: Source<Item = Self::Item>;
    /// The type of the items.
    type Item;

    /// Converts the value into a source.
    fn into_source(self) -> Self::Source;

    /// Gives a thread at least `count` items at a time, except for the last ones.
    ///
    /// This is rarely needed, because parts adapt to the cost of the items.
    ///
    /// ```
    /// use heist::IntoSource;
    /// let pool = heist::ThreadPool::new()?;
    /// let sum: u64 = pool.map((0..100_u64).with_min_len(50), |n| n).iter().sum();
    /// assert_eq!(sum, 4950);
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    fn with_min_len(self, count: usize) -> Limited<Self::Source> {
        Limited {
            min: count.max(1),
            ..Limited::new(self.into_source())
        }
    }

    /// Gives a thread at most `count` items at a time.
    ///
    /// This is rarely needed, because parts adapt to the measured cost of the items. It helps if a few items cost
    /// many times as much as the cheap ones before them. With 1, each item can go to another thread.
    ///
    /// ```
    /// use heist::IntoSource;
    /// let pool = heist::ThreadPool::new()?;
    /// pool.for_each([30, 1, 2].with_max_len(1), |millis| assert!(millis < 100));
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    fn with_max_len(self, count: usize) -> Limited<Self::Source> {
        Limited {
            max: count.max(1),
            ..Limited::new(self.into_source())
        }
    }
}

impl<S: Source> IntoSource for S {
    type Source = S;
    type Item = S::Item;

    fn into_source(self) -> S {
        self
    }
}

/// A source with bounds on the length of its parts. See [`IntoSource::with_min_len`] and
/// [`IntoSource::with_max_len`].
#[derive(Clone, Copy, Debug)]
pub struct Limited<S> {
    source: S,
    min: usize,
    max: usize,
}

impl<S: Source> Limited<S> {
    fn new(source: S) -> Self {
        Limited {
            min: source.min_len(),
            max: source.max_len(),
            source,
        }
    }
}

impl<S: Source> Source for Limited<S> {
    type Item = S::Item;
    type Iter = S::Iter;

    fn len(&self) -> usize {
        self.source.len()
    }

    fn split_at(self, index: usize) -> (Self, Self) {
        let Limited { source, min, max } = self;
        let (left, right) = source.split_at(index);
        let limited = |source| Limited { source, min, max };
        (limited(left), limited(right))
    }

    fn into_seq(self) -> S::Iter {
        self.source.into_seq()
    }

    fn min_len(&self) -> usize {
        self.min
    }

    fn max_len(&self) -> usize {
        self.max
    }
}

macro_rules! integer_ranges {
    ($($int:ty),*) => { $(
        /// # Panics
        ///
        /// [`len`](Source::len) panics if the range has more than `usize::MAX` items.
        impl Source for Range<$int> {
            type Item = $int;
            type Iter = Range<$int>;

            fn len(&self) -> usize {
                let (_, len) = self.size_hint();
                len.expect("heist: the range has more items than fit into memory")
            }

            fn split_at(self, index: usize) -> (Self, Self) {
                // Wrapping: a distance beyond the type's maximum still ends at the right number.
                let middle = self.start.wrapping_add(index as $int);
                (self.start..middle, middle..self.end)
            }

            fn into_seq(self) -> Self {
                self
            }
        }

        /// # Panics
        ///
        /// Panics if the range ends at the maximum of its type: write it half open, or over a wider type.
        impl IntoSource for RangeInclusive<$int> {
            type Source = Range<$int>;
            type Item = $int;

            fn into_source(self) -> Range<$int> {
                let (start, end) = self.into_inner();
                if start > end {
                    return start..start;
                }
                let end = end
                    .checked_add(1)
                    .expect("heist: an inclusive range must end below its type's maximum");
                start..end
            }
        }
    )* };
}

integer_ranges!(u8, u16, u32, u64, usize, i8, i16, i32, i64, isize);

impl<'a, T: Sync> Source for &'a [T] {
    type Item = &'a T;
    type Iter = slice::Iter<'a, T>;

    fn len(&self) -> usize {
        <[T]>::len(self)
    }

    fn split_at(self, index: usize) -> (Self, Self) {
        <[T]>::split_at(self, index)
    }

    fn into_seq(self) -> Self::Iter {
        self.iter()
    }
}

impl<'a, T: Send> Source for &'a mut [T] {
    type Item = &'a mut T;
    type Iter = slice::IterMut<'a, T>;

    fn len(&self) -> usize {
        <[T]>::len(self)
    }

    fn split_at(self, index: usize) -> (Self, Self) {
        self.split_at_mut(index)
    }

    fn into_seq(self) -> Self::Iter {
        self.iter_mut()
    }
}

macro_rules! by_reference {
    ($owner:ty $(, $len:ident)?) => {
        impl<'a, T: Sync $(, const $len: usize)?> IntoSource for &'a $owner {
            type Source = &'a [T];
            type Item = &'a T;

            fn into_source(self) -> &'a [T] {
                self
            }
        }

        impl<'a, T: Send $(, const $len: usize)?> IntoSource for &'a mut $owner {
            type Source = &'a mut [T];
            type Item = &'a mut T;

            fn into_source(self) -> &'a mut [T] {
                self
            }
        }
    };
}

by_reference!(Vec<T>);
by_reference!([T; N], N);

impl<T: Send> IntoSource for Vec<T> {
    type Source = Owned<T>;
    type Item = T;

    fn into_source(self) -> Owned<T> {
        let mut items = ManuallyDrop::new(self);
        Owned {
            range: 0..items.len(),
            memory: Arc::new(Memory {
                items: items.as_mut_ptr(),
                capacity: items.capacity(),
            }),
        }
    }
}

impl<T: Send, const N: usize> IntoSource for [T; N] {
    type Source = Owned<T>;
    type Item = T;

    fn into_source(self) -> Owned<T> {
        Vec::from(self).into_source()
    }
}

/// The items of a vector or a part of them. They stay in the vector's memory, which is freed with the last part.
pub struct Owned<T> {
    memory: Arc<Memory<T>>,
    range: Range<usize>,
}

/// A vector's memory without its items.
struct Memory<T> {
    items: *mut T,
    capacity: usize,
}

// SAFETY: threads share only the address. Each item, which is `Send`, is reached through the one part that has its index.
unsafe impl<T: Send> Sync for Memory<T> {}
// SAFETY: any thread can free the memory, and the items are `Send`.
unsafe impl<T: Send> Send for Memory<T> {}

impl<T> Drop for Memory<T> {
    fn drop(&mut self) {
        // SAFETY: (1) pointer and capacity are those of a vector that was forgotten, and this is the only use as a vector. (2) The length is 0: no item is
        // dropped here.
        drop(unsafe { Vec::from_raw_parts(self.items, 0, self.capacity) });
    }
}

impl<T: Send> Source for Owned<T> {
    type Item = T;
    type Iter = OwnedIter<T>;

    fn len(&self) -> usize {
        self.range.end - self.range.start
    }

    fn split_at(mut self, index: usize) -> (Self, Self) {
        assert!(index <= self.len(), "heist: a cut beyond the end");
        let middle = self.range.start + index;
        let right = Owned {
            memory: Arc::clone(&self.memory),
            range: middle..self.range.end,
        };
        self.range.end = middle;
        (self, right)
    }

    fn into_seq(self) -> OwnedIter<T> {
        OwnedIter(self)
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        let Range { start, end } = self.range;
        // SAFETY: `start` is at most the vector's length.
        let first = unsafe { self.memory.items.add(start) };
        let rest = ptr::slice_from_raw_parts_mut(first, end - start);
        // SAFETY: (1) the range is within the vector's length, so these places hold items. (2) The indices are this part's alone, and `next` has removed
        // from the range what it has read: each item is dropped once.
        unsafe { ptr::drop_in_place(rest) };
    }
}

impl<T> fmt::Debug for Owned<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Owned").field(&self.range).finish()
    }
}

/// An iterator over the items of an [`Owned`] part.
#[derive(Debug)]
pub struct OwnedIter<T>(Owned<T>);

impl<T> Iterator for OwnedIter<T> {
    type Item = T;

    #[inline]
    fn next(&mut self) -> Option<T> {
        let index = self.0.range.next()?;
        // SAFETY: the index is below the vector's length.
        let item = unsafe { self.0.memory.items.add(index) };
        // SAFETY: (1) the place holds an item. (2) The index was this part's alone and is no longer in its range: the item is read once.
        Some(unsafe { item.read() })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.range.size_hint()
    }
}

impl<T> ExactSizeIterator for OwnedIter<T> {}
impl<T> FusedIterator for OwnedIter<T> {}
