//! Walks over lineages that are built by hand.

use super::{Lineage, Origin, Token, ancestors, descends};

/// The origin of work that descends from the fork at an index of a slot.
fn origin_at(slots: &[Lineage], slot: usize, index: usize) -> Origin {
    slots[slot].origin(slots[slot].place_at(slot, index))
}

/// Slots by number.
fn table<'a>(slots: &'a [Lineage]) -> impl Fn(usize) -> Option<&'a Lineage> {
    move |slot| slots.get(slot)
}

fn slots(count: usize) -> Vec<Lineage> {
    (0..count).map(|_| Lineage::default()).collect()
}

#[test]
fn a_chain_of_steals_leads_back_to_its_root() {
    let slots = slots(3);
    let first = origin_at(&slots, 0, 7);
    let _one = slots[1].begin(first, Token::NONE, 0);
    let second = origin_at(&slots, 1, 4);
    let _two = slots[2].begin(second, Token::NONE, 0);
    let third = origin_at(&slots, 2, 0);
    let chain: Vec<Origin> = ancestors(third, table(&slots)).collect();
    assert_eq!(chain, [third, second, first]);
    assert!(descends(third, first, table(&slots)));
    assert!(!descends(first, third, table(&slots)));
    let sibling = origin_at(&slots, 0, 8);
    assert!(!descends(third, sibling, table(&slots)));
}

#[test]
fn a_fork_belongs_to_the_run_that_was_innermost_when_it_was_pushed() {
    let slots = slots(2);
    let elsewhere = origin_at(&slots, 1, 0);
    // Two forks, then a run in the middle of a wait, with a fork of its own.
    let before = origin_at(&slots, 0, 1);
    let run = slots[0].begin(elsewhere, Token::NONE, 2);
    assert_eq!(origin_at(&slots, 0, 1), before);
    assert!(descends(origin_at(&slots, 0, 2), elsewhere, table(&slots)));
    assert!(!descends(origin_at(&slots, 0, 1), elsewhere, table(&slots)));
    assert_eq!(slots[0].innermost(), elsewhere);
    drop(run);
    assert!(slots[0].innermost().is_root());
    assert!(!descends(origin_at(&slots, 0, 2), elsewhere, table(&slots)));
}

#[test]
fn runs_nest_beyond_every_chunk() {
    let slots = slots(1);
    let mut runs = Vec::new();
    let mut origin = origin_at(&slots, 0, 0);
    let root = origin;
    for n in 0..10_000 {
        runs.push(slots[0].begin(origin, Token::NONE, n % 4_000));
        origin = slots[0].origin(slots[0].own_place(0, 4_000));
    }
    assert_eq!(ancestors(origin, table(&slots)).count(), 10_001);
    assert!(descends(origin, root, table(&slots)));
    while let Some(run) = runs.pop() {
        drop(run);
    }
    assert!(slots[0].innermost().is_root());
}

#[test]
fn levels_beyond_the_last_count_as_the_one_below() {
    let slots = slots(1);
    let start = origin_at(&slots, 0, 0);
    let mut runs: Vec<_> = (0..super::MAX_LEVEL + 3)
        .map(|_| slots[0].begin(start, Token::NONE, 0))
        .collect();
    assert!(descends(
        slots[0].origin(slots[0].own_place(0, 1)),
        start,
        table(&slots)
    ));
    while let Some(run) = runs.pop() {
        drop(run);
    }
    assert!(slots[0].innermost().is_root());
}

#[test]
fn a_walk_through_words_that_do_not_fit_together_ends() {
    let slots = slots(2);
    // Two runs that each descend from the other. No program has such runs, but a reader may see words of different times.
    let mine = origin_at(&slots, 0, 0);
    let _one = slots[1].begin(mine, Token::NONE, 0);
    let yours = origin_at(&slots, 1, 0);
    let _two = slots[0].begin(yours, Token::NONE, 0);
    let _three = slots[1].begin(origin_at(&slots, 0, 0), Token::NONE, 0);
    let stale = origin_at(&slots, 0, 0);
    assert!(ancestors(stale, table(&slots)).count() < 10);
    assert!(ancestors(Origin::ROOT, table(&slots)).next().is_none());
}

#[test]
fn a_fork_has_the_token_of_its_run() {
    let slots = slots(1);
    let words = [0_u8; 2];
    let token = |n: usize| Token::new(std::ptr::from_ref(&words[n]).cast());
    let token_at = |index| slots[0].token(slots[0].place_at(0, index));
    let outer = slots[0].begin(Origin::ROOT, token(0), 0);
    // The run goes on with another token, above its first fork.
    let inner = slots[0].begin(slots[0].innermost(), token(1), 1);
    assert_eq!((token_at(0), token_at(1)), (token(0), token(1)));
    let none = slots[0].begin(slots[0].innermost(), Token::NONE, 2);
    assert_eq!((token_at(1), token_at(2)), (token(1), Token::NONE));
    drop(none);
    drop(inner);
    assert_eq!(token_at(1), token(0));
    drop(outer);
    assert_eq!(token_at(0), Token::NONE);
}
