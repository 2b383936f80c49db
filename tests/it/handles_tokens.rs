//! Cancel tokens: the tree of tokens, and the current token of a task.

use crate::support::{
    Gate, Held, Ledger, hold_all, on_pool, on_pool_of, pool_with, spin_until, threads, watched,
};
use heist::{CancelToken, JoinError, JoinHandle, WhenFull, current_token};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};

#[test]
fn a_cancel_goes_down_the_tree_and_not_up() {
    let root = CancelToken::new();
    let (left, right) = (root.child(), root.child());
    let (below, beside) = (left.child(), left.child());
    let clone = left.clone();
    left.cancel();
    assert!(left.is_cancelled() && clone.is_cancelled());
    assert!(below.is_cancelled() && beside.is_cancelled());
    assert!(!root.is_cancelled() && !right.is_cancelled());
    left.cancel();
    root.cancel();
    assert!(right.is_cancelled() && root.is_cancelled());
}

#[test]
fn a_child_of_a_cancelled_token_is_cancelled() {
    let root = CancelToken::new();
    root.cancel();
    assert!(root.child().is_cancelled());
    assert!(root.child().child().is_cancelled());
}

#[test]
fn a_cancel_reaches_grandchildren_whose_parents_were_dropped() {
    let root = CancelToken::new();
    let leaf = root.child().child().child();
    for _ in 0..1000 {
        drop(root.child());
    }
    assert!(!leaf.is_cancelled());
    root.cancel();
    assert!(leaf.is_cancelled());
}

#[test]
fn a_line_of_100_000_tokens_is_cancelled_and_dropped() {
    watched(|| {
        for keep in [false, true] {
            let root = CancelToken::new();
            let mut all = vec![root.clone()];
            for n in 0..100_000 {
                let child = all[if keep { n } else { 0 }].child();
                if keep {
                    all.push(child);
                } else {
                    all[0] = child;
                }
            }
            let leaf = all.last().unwrap().clone();
            if keep {
                drop(all);
            } else {
                all.clear();
            }
            root.cancel();
            assert!(leaf.is_cancelled());
            drop(root);
            drop(leaf);
        }
        // The tokens are dropped without a cancel, leaf first.
        let mut token = CancelToken::new();
        for _ in 0..100_000 {
            token = token.child();
        }
        drop(token);
    });
}

#[test]
fn tokens_made_and_dropped_by_many_threads_are_all_cancelled() {
    watched(|| {
        for _ in 0..50 {
            let root = CancelToken::new();
            let made: Vec<_> = (0..4)
                .map(|_| {
                    let root = root.clone();
                    std::thread::spawn(move || {
                        (0..100).map(|_| root.child().child()).collect::<Vec<_>>()
                    })
                })
                .collect();
            root.cancel();
            for token in made.into_iter().flat_map(|t| t.join().unwrap()) {
                assert!(token.is_cancelled());
            }
        }
    });
}

#[test]
fn a_cancel_drops_the_queued_tasks_of_the_token_and_its_children() {
    on_pool(|pool| {
        let held = hold_all(pool);
        let (root, ledger) = (CancelToken::new(), Ledger::new(3));
        let tokens = [root.clone(), root.child(), root.child().child()];
        let handles: Vec<_> = ledger
            .tickets()
            .into_iter()
            .zip(&tokens)
            .map(|(ticket, token)| pool.task().token(token).submit(move || drop(ticket)))
            .collect();
        let other = pool.submit(|| 1);
        root.cancel();
        assert_eq!(ledger.dropped(), 3, "at once");
        for handle in handles {
            assert!(handle.is_cancelled());
            assert!(handle.join().unwrap_err().is_cancelled());
        }
        assert_eq!(pool.stats().cancelled, 3);
        held.open();
        assert_eq!(other.join().unwrap(), 1);
    });
}

#[test]
fn a_task_of_a_cancelled_token_never_runs() {
    on_pool(|pool| {
        let token = CancelToken::new();
        token.cancel();
        let ran = Arc::new(AtomicBool::new(false));
        let sees = Arc::clone(&ran);
        let handle = pool
            .task()
            .token(&token)
            .submit(move || sees.store(true, Ordering::Relaxed));
        assert!(handle.is_cancelled());
        assert_eq!(Arc::strong_count(&ran), 1);
        let handle = pool.task().token(&token).try_submit(|| ()).unwrap();
        assert!(handle.join().unwrap_err().is_cancelled());
        pool.wait_idle();
        assert!(!ran.load(Ordering::Relaxed));
        assert_eq!(pool.stats().cancelled, 2);
    });
}

#[test]
fn a_task_of_a_cancelled_token_is_not_run_by_its_submitter() {
    watched(|| {
        let pool = pool_with(|b| b.queue_capacity(1).when_full(WhenFull::CallerRuns));
        let held = hold_all(&pool);
        let filler = pool.submit(|| ());
        let token = CancelToken::new();
        token.cancel();
        let handle = pool.task().token(&token).submit(|| ());
        assert!(handle.join().unwrap_err().is_cancelled());
        held.open();
        filler.join().unwrap();
    });
}

#[test]
fn a_running_task_sees_its_token_cancelled() {
    on_pool(|pool| {
        let token = CancelToken::new();
        let handle = pool.task().token(&token).submit(|| {
            spin_until(|| current_token().is_cancelled());
            "asked to stop"
        });
        spin_until(|| handle.is_running());
        assert!(!handle.cancel());
        token.cancel();
        assert_eq!(handle.join().unwrap(), "asked to stop");
    });
}

#[test]
fn tasks_inherit_the_token_of_the_task_that_submits_them() {
    on_pool(|pool| {
        let token = CancelToken::new();
        let (own, held) = (pool.clone(), Held(Gate::default()));
        let (gate, other) = (held.0.clone(), CancelToken::new());
        let explicit = other.clone();
        let (send, receive) = mpsc::channel();
        pool.task()
            .token(&token)
            .submit(move || {
                let asks = || current_token().is_cancelled();
                let gates = [gate.clone(), gate.clone(), gate.clone()];
                let [one, two, three] = gates;
                let below = own.clone();
                let inherits = own.submit(move || {
                    one.pass();
                    asks()
                });
                let deeper = own.submit(move || {
                    below.submit(move || {
                        two.pass();
                        asks()
                    })
                });
                let overridden = own.task().token(&explicit).submit(move || {
                    three.pass();
                    asks()
                });
                let many = own.submit_many((0..2).map(|_| {
                    let gate = gate.clone();
                    move || {
                        gate.pass();
                        asks()
                    }
                }));
                send.send((inherits, deeper, overridden, many)).unwrap();
            })
            .join()
            .unwrap();
        let (inherits, deeper, overridden, many) = receive.recv().unwrap();
        token.cancel();
        held.open();
        // Each task has begun and sees the cancel, or was dropped.
        let saw = |handle: JoinHandle<bool>| handle.join().unwrap_or_else(|e| e.is_cancelled());
        assert!(saw(inherits));
        assert!(deeper.join().map_or_else(|e| e.is_cancelled(), saw));
        assert!(many.into_iter().all(saw));
        assert!(!overridden.join().unwrap());
        assert!(!other.is_cancelled());
    });
}

/// The tokens that the pieces of one task saw.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<(&'static str, CancelToken)>>>);

impl Seen {
    fn note(&self, piece: &'static str) {
        let token = current_token();
        self.0.lock().unwrap().push((piece, token));
    }

    /// The pieces that did not see a cancelled token.
    fn uncancelled(&self) -> Vec<&'static str> {
        let seen = self.0.lock().unwrap();
        let alive = seen.iter().filter(|(_, token)| !token.is_cancelled());
        alive.map(|&(piece, _)| piece).collect()
    }
}

/// Notes a piece. Where the pool has two threads, it first meets the other piece, so that both threads run one.
fn apart(seen: &Seen, piece: &'static str, begun: &Barrier) {
    if threads() > 1 {
        begun.wait();
    }
    seen.note(piece);
}

#[test]
fn pieces_of_a_task_have_its_token_on_whichever_thread_they_run() {
    on_pool(|pool| {
        let (token, seen) = (CancelToken::new(), Seen::default());
        let (own, seen_there) = (pool.clone(), seen.clone());
        let other = pool_with(|b| b);
        let task = move || {
            let seen = &seen_there;
            for _ in 0..20 {
                let begun = Barrier::new(2);
                heist::join(
                    || apart(seen, "the first half of a join", &begun),
                    || apart(seen, "the second half of a join", &begun),
                );
                let begun = Barrier::new(2);
                heist::scope(|s| {
                    s.spawn(|s| {
                        apart(seen, "a scope's task", &begun);
                        s.spawn(|_| seen.note("a task's task"));
                    });
                    s.spawn(|_| apart(seen, "a scope's other task", &begun));
                });
                let items = [(); 64];
                heist::map(&items, |_| seen.note("an item of a map"));
                own.broadcast(|_| seen.note("a broadcast"));
                other.run(|| {
                    heist::join(
                        || seen.note("a closure on another pool's thread"),
                        || seen.note("a fork there"),
                    )
                });
                other.install(|| {
                    let begun = Barrier::new(2);
                    heist::join(
                        || apart(seen, "a guest", &begun),
                        || apart(seen, "a guest's fork", &begun),
                    )
                });
                other.scope_on_workers(|s| s.spawn(|_| seen.note("a scope on workers")));
                // More forks than a ring holds.
                fn deep(seen: &Seen, depth: usize) {
                    if depth > 0 {
                        heist::join(|| deep(seen, depth - 1), || seen.note("a deep fork"));
                    }
                }
                deep(seen, if cfg!(debug_assertions) { 300 } else { 5_000 });
            }
        };
        pool.task().token(&token).submit(task).join().unwrap();
        assert!(!seen.uncancelled().is_empty());
        token.cancel();
        assert_eq!(seen.uncancelled(), <[&str; 0]>::default());
    });
}

#[test]
fn a_task_run_within_another_one_changes_no_token_of_pieces_around_it() {
    on_pool(|pool| {
        let (outer, inner) = (CancelToken::new(), CancelToken::new());
        let (seen, seen_within, free) = (Seen::default(), Seen::default(), Seen::default());
        let noted = (seen.clone(), seen_within.clone(), free.clone());
        let (own, inner_token) = (pool.clone(), inner.clone());
        let task = move || {
            let (seen, within, free) = &noted;
            for _ in 0..50 {
                let here = within.clone();
                let handle = own.task().token(&inner_token).submit(move || {
                    heist::join(|| here.note("within"), || here.note("a fork within"));
                });
                let here = free.clone();
                let fresh = CancelToken::new();
                let without = own.task().token(&fresh).submit(move || {
                    heist::join(|| here.note("free"), || here.note("a free fork"));
                });
                heist::join(
                    || {
                        handle.join().unwrap();
                        without.join().unwrap();
                        seen.note("after it");
                    },
                    || seen.note("the older fork"),
                );
                heist::join(|| seen.note("later"), || seen.note("a later fork"));
            }
        };
        pool.task().token(&outer).submit(task).join().unwrap();
        inner.cancel();
        assert_eq!(seen_within.uncancelled(), <[&str; 0]>::default());
        assert_eq!(seen.uncancelled().len(), 50 * 4);
        outer.cancel();
        assert_eq!(seen.uncancelled(), <[&str; 0]>::default());
        assert_eq!(free.uncancelled().len(), 50 * 2);
    });
}

#[test]
fn a_task_joined_in_place_has_its_own_token() {
    on_pool_of(1, |pool| {
        let (token, own) = (CancelToken::new(), pool.clone());
        let outer_token = token.clone();
        let outer = pool.task().token(&token).submit(move || {
            let free = CancelToken::new();
            let inner = own
                .task()
                .token(&free)
                .submit(|| current_token().is_cancelled());
            outer_token.cancel();
            let inner = inner.join().unwrap();
            (inner, current_token().is_cancelled())
        });
        assert_eq!(outer.join().unwrap(), (false, true));
        let without = pool.submit(|| current_token().is_cancelled());
        assert!(!without.join().unwrap());
    });
}

#[test]
fn a_broadcast_answered_by_a_waiting_task_has_not_its_token() {
    on_pool_of(1, |pool| {
        let other = pool_with(|b| b);
        let token = CancelToken::new();
        let (gate, started) = (Held(Gate::default()), Held(Gate::default()));
        let (stands, says) = (gate.0.clone(), started.0.clone());
        let running = other.submit(move || stands.pass());
        // Otherwise the waiting task would run it itself.
        spin_until(|| running.is_running());
        let waits = pool.task().token(&token).submit(move || {
            says.open();
            running.join().unwrap();
        });
        started.0.pass();
        token.cancel();
        let seen = pool.broadcast(|_| current_token().is_cancelled());
        gate.open();
        waits.join().unwrap();
        assert_eq!(seen, [false]);
    });
}

#[test]
fn a_current_token_outside_a_task_is_nobodys() {
    assert!(!current_token().is_cancelled());
    current_token().cancel();
    assert!(!current_token().is_cancelled());
}

#[test]
fn callbacks_and_waiters_of_tasks_that_a_token_drops_are_served() {
    on_pool(|pool| {
        let _held = hold_all(pool);
        let token = CancelToken::new();
        let (called, calls) = mpsc::channel();
        let mut handle = pool.task().token(&token).submit(|| ());
        handle.on_finish(move |outcome| {
            called
                .send(outcome.as_ref().is_err_and(JoinError::is_cancelled))
                .unwrap();
        });
        let waiter = std::thread::spawn(move || handle.join());
        token.cancel();
        assert_eq!(calls.try_recv(), Ok(true), "before cancel returns");
        assert!(waiter.join().unwrap().unwrap_err().is_cancelled());
    });
}
