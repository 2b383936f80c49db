//! Inputs that users write: honest ones are split within their limits, lying ones are never unsound.

use crate::support::{Ledger, Ticket, on_pool, outcome};
use heist::{IntoSource, Source, ThreadPool};
use std::ops::Range;
use std::sync::Mutex;

/// A range that records the lengths of the pieces into which it is cut.
struct Noted<'a> {
    range: Range<usize>,
    pieces: &'a Mutex<Vec<usize>>,
}

impl Source for Noted<'_> {
    type Item = usize;
    type Iter = Range<usize>;

    fn len(&self) -> usize {
        self.range.end - self.range.start
    }

    fn split_at(self, index: usize) -> (Self, Self) {
        assert!(index <= self.len(), "cut behind the end");
        let middle = self.range.start + index;
        let part = |range| Noted {
            range,
            pieces: self.pieces,
        };
        (part(self.range.start..middle), part(middle..self.range.end))
    }

    fn into_seq(self) -> Range<usize> {
        self.pieces.lock().unwrap().push(self.len());
        self.range
    }
}

fn pieces_of(
    pool: &ThreadPool,
    len: usize,
    limit: impl FnOnce(Noted<'_>) -> Vec<usize>,
) -> Vec<usize> {
    let pieces = Mutex::new(Vec::new());
    let results = limit(Noted {
        range: 0..len,
        pieces: &pieces,
    });
    assert_eq!(results, (0..len).collect::<Vec<_>>());
    assert!(pool.num_threads() > 0);
    let pieces = pieces.into_inner().unwrap();
    assert_eq!(pieces.iter().sum::<usize>(), len);
    pieces
}

#[test]
fn an_honest_source_is_an_input() {
    on_pool(|pool| {
        for len in [0, 1, 2, 3, 1000, 100_000] {
            pieces_of(pool, len, |source| pool.map(source, |x| x));
        }
    });
}

#[test]
fn no_piece_is_longer_than_with_max_len() {
    on_pool(|pool| {
        for max in [1, 2, 7, 100] {
            let pieces = pieces_of(pool, 1000, |source| {
                pool.map(source.with_max_len(max), |x| x)
            });
            assert!(pieces.iter().all(|&len| len <= max), "{max}: {pieces:?}");
        }
    });
}

#[test]
fn no_piece_is_shorter_than_with_min_len() {
    on_pool(|pool| {
        for min in [2, 7, 300, 500, 501, 1000, 2000] {
            let pieces = pieces_of(pool, 1000, |source| {
                pool.map(source.with_min_len(min), |x| x)
            });
            assert!(
                pieces.len() == 1 || pieces.iter().all(|&len| len >= min),
                "{min}: {pieces:?}"
            );
        }
    });
}

#[test]
fn a_source_may_state_its_limits_itself() {
    struct Limited<'a>(Noted<'a>);
    impl Source for Limited<'_> {
        type Item = usize;
        type Iter = Range<usize>;
        fn len(&self) -> usize {
            self.0.len()
        }
        fn split_at(self, index: usize) -> (Self, Self) {
            let (left, right) = self.0.split_at(index);
            (Limited(left), Limited(right))
        }
        fn into_seq(self) -> Range<usize> {
            self.0.into_seq()
        }
        fn min_len(&self) -> usize {
            20
        }
        fn max_len(&self) -> usize {
            50
        }
    }
    on_pool(|pool| {
        let pieces = pieces_of(pool, 1000, |source| pool.map(Limited(source), |x| x));
        assert!(
            pieces.iter().all(|len| (20..=50).contains(len)),
            "{pieces:?}"
        );
    });
}

/// The ways in which a source lies about itself.
#[derive(Clone, Copy, Debug)]
struct Lie {
    /// It claims to have this many more items than it has, or fewer.
    len: isize,
    /// It splits this far from where it should.
    split: isize,
    /// It returns another length at each call.
    fickle: bool,
}

const LEN: usize = 300;

struct Liar {
    items: Vec<Ticket>,
    lie: Lie,
    calls: std::cell::Cell<isize>,
}

fn shifted(value: usize, by: isize) -> usize {
    value.checked_add_signed(by).unwrap_or(0)
}

impl Source for Liar {
    type Item = Ticket;
    type Iter = std::vec::IntoIter<Ticket>;

    fn len(&self) -> usize {
        self.calls.set(self.calls.get() + 1);
        let drift = if self.lie.fickle {
            self.calls.get() % 3 - 1
        } else {
            0
        };
        shifted(self.items.len(), self.lie.len + drift)
    }

    fn split_at(mut self, index: usize) -> (Self, Self) {
        let index = shifted(index, self.lie.split).min(self.items.len());
        let right = Liar {
            items: self.items.split_off(index),
            lie: self.lie,
            calls: self.calls.clone(),
        };
        (self, right)
    }

    fn into_seq(self) -> Self::Iter {
        self.items.into_iter()
    }
}

fn lies() -> Vec<Lie> {
    let mut lies = Vec::new();
    for len in [-5, -1, 0, 1, 5] {
        for split in [-2, 0, 2] {
            for fickle in [false, true] {
                lies.push(Lie { len, split, fickle });
            }
        }
    }
    lies
}

/// Runs `call` on each lying source. The call may panic or give odd results, and must drop every item once.
fn survives(pool: &ThreadPool, call: impl Fn(&ThreadPool, Liar, &Ledger)) {
    for lie in lies() {
        for _ in 0..3 {
            let (items, results) = (Ledger::new(LEN), Ledger::new(LEN));
            let liar = Liar {
                items: items.tickets(),
                lie,
                calls: std::cell::Cell::new(0),
            };
            let result = outcome(|| call(pool, liar, &results));
            drop(result);
            items.assert_settled();
            results.assert_settled();
        }
    }
    // The pool still works.
    assert_eq!(pool.map(0..100, |x| x), (0..100).collect::<Vec<_>>());
}

#[test]
fn map_survives_a_source_that_lies() {
    on_pool(|pool| {
        survives(pool, |pool, liar, results| {
            let values = pool.map(liar, |ticket| results.ticket(ticket.index()));
            assert!(values.iter().all(|ticket| ticket.index() < LEN));
        });
    });
}

#[test]
fn map_init_and_for_each_survive_a_source_that_lies() {
    on_pool(|pool| {
        survives(pool, |pool, liar, results| {
            let values = pool.map_init(liar, || (), |(), ticket| results.ticket(ticket.index()));
            assert!(values.iter().all(|ticket| ticket.index() < LEN));
        });
        survives(pool, |pool, liar, _| pool.for_each(liar, drop));
    });
}

#[test]
fn map_reduce_survives_a_source_that_lies() {
    on_pool(|pool| {
        survives(pool, |pool, liar, results| {
            let all = pool.map_reduce(
                liar,
                |ticket| vec![results.ticket(ticket.index())],
                Vec::new,
                |mut left, right| {
                    left.extend(right);
                    left
                },
            );
            assert!(all.iter().all(|ticket| ticket.index() < LEN));
        });
    });
}

#[test]
fn try_map_and_find_any_survive_a_source_that_lies() {
    on_pool(|pool| {
        survives(pool, |pool, liar, results| {
            let result = pool.try_map(liar, |ticket| match ticket.index() {
                200 => Err(ticket),
                index => Ok(results.ticket(index)),
            });
            drop(result);
        });
        survives(pool, |pool, liar, _| {
            drop(pool.find_any(liar, |ticket| ticket.index() == 250));
        });
    });
}

/// A source with a few items that claims to have `usize::MAX`.
struct Braggart(Vec<Ticket>);

impl Source for Braggart {
    type Item = Ticket;
    type Iter = std::vec::IntoIter<Ticket>;
    fn len(&self) -> usize {
        usize::MAX
    }
    fn split_at(mut self, index: usize) -> (Self, Self) {
        let right = self.0.split_off(index.min(self.0.len()));
        (self, Braggart(right))
    }
    fn into_seq(self) -> Self::Iter {
        self.0.into_iter()
    }
}

#[test]
fn a_source_that_claims_the_greatest_length_is_survived() {
    on_pool(|pool| {
        let (items, results) = (Ledger::new(10), Ledger::new(10));
        let result = outcome(|| {
            pool.map(Braggart(items.tickets()), |ticket| {
                results.ticket(ticket.index())
            })
        });
        drop(result);
        items.assert_settled();
        results.assert_settled();
    });
}

/// A source that panics when it is cut or read, after some calls.
struct Fragile {
    items: Vec<Ticket>,
    in_split: bool,
}

impl Source for Fragile {
    type Item = Ticket;
    type Iter = std::vec::IntoIter<Ticket>;
    fn len(&self) -> usize {
        self.items.len()
    }
    fn split_at(mut self, index: usize) -> (Self, Self) {
        assert!(!self.in_split || index > 20, "in split_at");
        let right = self.items.split_off(index);
        let in_split = self.in_split;
        (
            self,
            Fragile {
                items: right,
                in_split,
            },
        )
    }
    fn into_seq(self) -> Self::Iter {
        let last = self.items.last().map_or(0, |ticket| ticket.index());
        assert!(self.in_split || last + 1 < LEN, "in into_seq");
        self.items.into_iter()
    }
}

#[test]
fn a_panic_in_a_source_drops_every_item_once() {
    on_pool(|pool| {
        for in_split in [false, true] {
            let (items, results) = (Ledger::new(LEN), Ledger::new(LEN));
            let fragile = Fragile {
                items: items.tickets(),
                in_split,
            };
            let result = outcome(|| {
                pool.map(fragile.with_max_len(16), |ticket| {
                    results.ticket(ticket.index())
                })
            });
            assert!(result.is_err(), "the source panicked");
            drop(result);
            items.assert_settled();
            results.assert_settled();
        }
    });
}
