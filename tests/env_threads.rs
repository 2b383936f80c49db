//! `HEIST_NUM_THREADS` sizes pools that were not told how many threads to have.

#[path = "it/support/mod.rs"]
mod support;

use heist::ThreadPool;
use support::{fib, isolated_with, serial_fib};

const VARIABLE: &str = "HEIST_NUM_THREADS";

#[test]
fn the_variable_sizes_a_pool_that_was_told_nothing() {
    isolated_with(
        "the_variable_sizes_a_pool_that_was_told_nothing",
        &[(VARIABLE, "3")],
        || {
            assert_eq!(ThreadPool::new().unwrap().num_threads(), 3);
            assert_eq!(ThreadPool::builder().build().unwrap().num_threads(), 3);
            let of_zero = ThreadPool::builder().num_threads(0).build().unwrap();
            assert_eq!(of_zero.num_threads(), 3);
            assert_eq!(of_zero.broadcast(|index| index), [0, 1, 2]);
            assert_eq!(of_zero.install(|| fib(10)), serial_fib(10));
        },
    );
}

#[test]
fn the_builder_wins_over_the_variable() {
    isolated_with(
        "the_builder_wins_over_the_variable",
        &[(VARIABLE, "3")],
        || {
            let pool = ThreadPool::builder().num_threads(2).build().unwrap();
            assert_eq!(pool.num_threads(), 2);
        },
    );
}

/// A pool of automatic size works, or the error names the variable.
fn works_or_names_the_variable() {
    match ThreadPool::new() {
        Ok(pool) => {
            assert!(pool.num_threads() >= 1);
            assert_eq!(pool.install(|| fib(10)), serial_fib(10));
        }
        Err(error) => assert!(error.to_string().contains(VARIABLE), "{error}"),
    }
}

#[test]
fn a_variable_of_zero_means_automatic() {
    isolated_with(
        "a_variable_of_zero_means_automatic",
        &[(VARIABLE, "0")],
        || assert!(ThreadPool::new().unwrap().num_threads() >= 1),
    );
}

#[test]
fn a_variable_that_is_no_number_is_survived() {
    isolated_with(
        "a_variable_that_is_no_number_is_survived",
        &[(VARIABLE, "many")],
        works_or_names_the_variable,
    );
}

#[test]
fn an_empty_variable_is_survived() {
    isolated_with(
        "an_empty_variable_is_survived",
        &[(VARIABLE, "")],
        works_or_names_the_variable,
    );
}

#[test]
fn a_negative_variable_is_survived() {
    isolated_with(
        "a_negative_variable_is_survived",
        &[(VARIABLE, "-2")],
        works_or_names_the_variable,
    );
}

#[test]
fn a_variable_too_large_is_survived() {
    isolated_with(
        "a_variable_too_large_is_survived",
        &[(VARIABLE, "99999999999999999999999999")],
        works_or_names_the_variable,
    );
}
