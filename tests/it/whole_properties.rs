//! Random programs give the results of their serial counterparts.

use crate::support::{
    Graph, Ledger, Pools, outcome, payload_text, pool, spin_until, threads, watched, work,
};
use heist::ThreadPool;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Runs a property under the watchdog, with `cases` random inputs on one pool.
#[track_caller]
fn property<S>(
    cases: u32,
    inputs: impl FnOnce() -> S + Send + 'static,
    test: impl Fn(&ThreadPool, S::Value) -> Result<(), TestCaseError> + Send + 'static,
) where
    S: Strategy + 'static,
{
    watched(move || {
        let pool = pool();
        let config = Config {
            cases,
            failure_persistence: None,
            ..Config::default()
        };
        let result = TestRunner::new(config).run(&inputs(), |input| test(&pool, input));
        if let Err(failure) = result {
            panic!("{failure}");
        }
    });
}

#[test]
fn random_graphs_give_what_the_oracle_gives() {
    watched(|| {
        let pools = Pools::new(threads());
        let config = Config {
            cases: 1_000,
            failure_persistence: None,
            ..Config::default()
        };
        let bytes = proptest::collection::vec(any::<u8>(), 0..500);
        let result = TestRunner::new(config).run(&bytes, |bytes| {
            let graph = Graph::read(&bytes);
            let checked = outcome(|| graph.check(&pools));
            checked.map_err(|payload| {
                TestCaseError::fail(format!("{}: {graph:?}", payload_text(&*payload)))
            })
        });
        if let Err(failure) = result {
            panic!("{failure}");
        }
    });
}

/// A tree of forks in which some leaves panic.
#[derive(Clone, Debug)]
enum Tree {
    Leaf { panics: bool, cost: u16 },
    Fork(Box<Tree>, Box<Tree>),
}

fn trees() -> impl Strategy<Value = Tree> {
    let leaf = (prop::bool::weighted(0.05), 0..200_u16)
        .prop_map(|(panics, cost)| Tree::Leaf { panics, cost });
    leaf.prop_recursive(8, 128, 2, |inner| {
        let boxed = inner.prop_map(Box::new);
        (boxed.clone(), boxed).prop_map(|(a, b)| Tree::Fork(a, b))
    })
}

impl Tree {
    fn leaves(&self) -> usize {
        match self {
            Tree::Leaf { .. } => 1,
            Tree::Fork(a, b) => a.leaves() + b.leaves(),
        }
    }

    /// The number of the first leaf that panics in the serial program.
    fn first_panic(&self, first: usize) -> Option<usize> {
        match self {
            Tree::Leaf { panics, .. } => panics.then_some(first),
            Tree::Fork(a, b) => a
                .first_panic(first)
                .or_else(|| b.first_panic(first + a.leaves())),
        }
    }

    fn run(&self, first: usize, ledger: &Ledger) -> usize {
        match self {
            Tree::Leaf { panics, cost } => {
                let _held = ledger.ticket(first);
                work(u64::from(*cost));
                assert!(!panics, "{first}");
                1
            }
            Tree::Fork(a, b) => {
                let second = first + a.leaves();
                let (a, b) = heist::join(|| a.run(first, ledger), || b.run(second, ledger));
                a + b
            }
        }
    }
}

#[test]
fn random_fork_trees_panic_like_the_serial_program() {
    property(150, trees, |pool, tree| {
        let ledger = Ledger::new(tree.leaves());
        let result = outcome(|| pool.install(|| tree.run(0, &ledger)));
        ledger.assert_settled();
        match (result, tree.first_panic(0)) {
            (Ok(count), None) => prop_assert_eq!(count, tree.leaves()),
            (Err(payload), Some(first)) => {
                // At each fork the payload of a wins, so the leftmost payload wins at the root.
                let text = crate::support::payload_text(&*payload);
                prop_assert_eq!(text, first.to_string());
            }
            (result, first) => {
                prop_assert!(false, "panicked: {}, first: {first:?}", result.is_err());
            }
        }
        Ok(())
    });
}

/// A tree of tasks: each node spawns its children, some into the outermost scope.
#[derive(Clone, Debug)]
struct Spawner {
    cost: u16,
    nested: bool,
    children: Vec<Spawner>,
}

fn spawners() -> impl Strategy<Value = Spawner> {
    let leaf = (0..100_u16).prop_map(|cost| Spawner {
        cost,
        nested: false,
        children: Vec::new(),
    });
    leaf.prop_recursive(5, 100, 6, |inner| {
        let children = proptest::collection::vec(inner, 0..6);
        (0..100_u16, any::<bool>(), children).prop_map(|(cost, nested, children)| Spawner {
            cost,
            nested,
            children,
        })
    })
}

impl Spawner {
    fn count(&self) -> usize {
        1 + self.children.iter().map(Spawner::count).sum::<usize>()
    }

    fn run<'scope>(&'scope self, s: &heist::Scope<'scope>, ran: &'scope AtomicUsize) {
        work(u64::from(self.cost));
        if self.nested {
            let before = AtomicUsize::new(0);
            heist::scope(|inner| {
                for child in &self.children {
                    let before = &before;
                    inner.spawn(move |inner| {
                        before.fetch_add(1, Ordering::Relaxed);
                        child.run(inner, ran);
                    });
                }
            });
            assert_eq!(before.into_inner(), self.children.len());
        } else {
            for child in &self.children {
                s.spawn(move |s| child.run(s, ran));
            }
        }
        ran.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn random_scopes_run_every_task_before_they_return() {
    property(150, spawners, |pool, root| {
        let ran = AtomicUsize::new(0);
        pool.scope(|s| root.run(s, &ran));
        prop_assert_eq!(ran.swap(0, Ordering::Relaxed), root.count());
        pool.run(|| heist::scope(|s| root.run(s, &ran)));
        prop_assert_eq!(ran.into_inner(), root.count());
        Ok(())
    });
}

fn lengths() -> impl Strategy<Value = usize> {
    prop_oneof![0..5_usize, 0..200_usize, 0..20_000_usize]
}

#[test]
fn random_maps_give_what_the_iterator_gives() {
    property(
        100,
        || (lengths(), any::<i32>(), 1..50_usize, 1..5000_usize),
        |pool, (len, shift, min, max)| {
            use heist::IntoSource;
            let values: Vec<i32> = (0..len as i32).map(|x| x.wrapping_mul(shift)).collect();
            let f = |x: i32| i64::from(x) * 3 + 1;
            let expected: Vec<i64> = values.iter().map(|&x| f(x)).collect();
            prop_assert_eq!(&pool.map(&values, |&x| f(x)), &expected);
            prop_assert_eq!(&pool.map((&values).with_min_len(min), |&x| f(x)), &expected);
            prop_assert_eq!(&pool.map((&values).with_max_len(max), |&x| f(x)), &expected);
            prop_assert_eq!(&pool.map(0..len, |i| f(values[i])), &expected);
            let with_state =
                pool.map_init(values.clone(), || 3, |factor, x| i64::from(x) * *factor + 1);
            prop_assert_eq!(&with_state, &expected);
            let owned = pool.map(values.clone(), |x| f(x).to_string());
            let parsed: Result<Vec<i64>, _> = pool.try_map(&owned, |text| text.parse());
            prop_assert_eq!(parsed.unwrap(), expected.clone());
            let sum = pool.map_reduce(&values, |&x| f(x), || 0, |a, b| a + b);
            prop_assert_eq!(sum, expected.iter().sum::<i64>());
            let mut changed = values.clone();
            pool.for_each(&mut changed, |x| *x = x.wrapping_add(shift));
            let shifted: Vec<i32> = values.iter().map(|x| x.wrapping_add(shift)).collect();
            prop_assert_eq!(changed, shifted);
            Ok(())
        },
    );
}

#[test]
fn random_failures_and_finds_are_among_those_there_are() {
    property(
        100,
        || {
            (
                lengths(),
                proptest::collection::hash_set(0..20_000_usize, 0..4),
            )
        },
        |pool, (len, marked)| {
            let there: Vec<usize> = (0..len).filter(|i| marked.contains(i)).collect();
            let result = pool.try_map(0..len, |i| if marked.contains(&i) { Err(i) } else { Ok(i) });
            match result {
                Ok(values) => {
                    prop_assert!(there.is_empty());
                    prop_assert_eq!(values, (0..len).collect::<Vec<_>>());
                }
                Err(failed) => prop_assert!(there.contains(&failed)),
            }
            match pool.find_any(0..len, |i| marked.contains(i)) {
                Some(found) => prop_assert!(there.contains(&found)),
                None => prop_assert!(there.is_empty()),
            }
            Ok(())
        },
    );
}

#[test]
fn random_items_are_dropped_once_whichever_panics() {
    let at = || prop_oneof![Just(None), (0..3000_usize).prop_map(Some)];
    property(
        100,
        move || (0..3000_usize, at()),
        |pool, (len, at)| {
            let (inputs, results) = (Ledger::new(len), Ledger::new(len));
            let result = outcome(|| {
                pool.map(inputs.tickets(), |ticket| {
                    assert!(Some(ticket.index()) != at, "chosen");
                    results.ticket(ticket.index())
                })
            });
            prop_assert_eq!(result.is_err(), at.is_some_and(|at| at < len));
            prop_assert_eq!(inputs.dropped(), len);
            drop(result);
            inputs.assert_settled();
            results.assert_settled();
            Ok(())
        },
    );
}

#[test]
fn random_bursts_of_spawns_all_run() {
    let bursts = || proptest::collection::vec((0..200_usize, 0..300_u64), 0..6);
    property(60, bursts, |pool, bursts| {
        let ran = Arc::new(AtomicUsize::new(0));
        let mut total = 0;
        for (count, pause) in bursts {
            work(pause);
            total += count;
            for _ in 0..count {
                let ran = Arc::clone(&ran);
                pool.spawn(move || {
                    ran.fetch_add(1, Ordering::AcqRel);
                });
            }
        }
        spin_until(|| ran.load(Ordering::Acquire) == total);
        Ok(())
    });
}
