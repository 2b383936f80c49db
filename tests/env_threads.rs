//! `HEIST_NUM_THREADS` sets the size of pools whose builders have none.

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

/// A pool of automatic size is an error that names the variable and its value. A pool of a given size is none.
fn is_refused(value: &str) {
    let error = ThreadPool::new().unwrap_err().to_string();
    assert!(
        error.contains(VARIABLE) && error.contains(value) && error.contains("4096"),
        "{error}"
    );
    let pool = ThreadPool::builder().num_threads(2).build().unwrap();
    assert_eq!(pool.install(|| fib(10)), serial_fib(10));
    // The first pool exists already.
    pool.set_num_threads(0);
    assert!(pool.num_threads() >= 1);
}

/// Checks that the pool has as many threads as without the variable.
fn is_automatic() {
    let processors = num_cpus::get();
    let pool = ThreadPool::new().unwrap();
    assert_eq!(pool.num_threads(), processors);
    assert_eq!(pool.install(|| fib(10)), serial_fib(10));
}

macro_rules! values {
    ($($name:ident: $value:literal $check:expr;)*) => {
        $(#[test] fn $name() { isolated_with(stringify!($name), &[(VARIABLE, $value)], || $check); })*
    };
}

values! {
    a_variable_of_zero_means_automatic: "0" is_automatic();
    an_empty_variable_means_automatic: "" is_automatic();
    a_variable_of_spaces_means_automatic: "  " is_automatic();
    spaces_around_the_number_do_not_matter: " 3 " assert_eq!(ThreadPool::new().unwrap().num_threads(), 3);
    the_variable_may_ask_for_as_many_as_the_builder: "4096" assert_eq!(ThreadPool::new().unwrap().num_threads(), ThreadPool::MAX_THREADS);
    one_more_than_the_builder_takes_is_refused: "4097" is_refused("4097");
    far_more_than_the_builder_takes_is_refused: "5000" is_refused("5000");
    a_number_that_overflows_is_refused: "99999999999999999999999999" is_refused("99999999999999999999999999");
    a_negative_number_is_refused: "-2" is_refused("-2");
    a_word_is_refused: "many" is_refused("many");
    a_fraction_is_refused: "2.5" is_refused("2.5");
}

#[test]
fn the_global_pool_names_the_variable_that_it_cannot_follow() {
    isolated_with(
        "the_global_pool_names_the_variable_that_it_cannot_follow",
        &[(VARIABLE, "many")],
        || {
            for _ in 0..2 {
                let panic = std::panic::catch_unwind(|| heist::join(|| (), || ())).unwrap_err();
                let text = panic.downcast_ref::<String>().expect("a text");
                assert!(text.contains(VARIABLE) && text.contains("many"), "{text}");
            }
            // A program that sets the number itself can still build it.
            let builder = ThreadPool::builder().num_threads(2);
            builder.build_global().unwrap();
            assert_eq!(heist::join(|| 1, || 2), (1, 2));
        },
    );
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_not_unicode_is_refused() {
    use std::os::unix::ffi::OsStrExt;
    isolated_with("a_variable_that_is_not_unicode_is_refused", &[], || {
        // SAFETY: `set_var` requires that no other thread reads the environment without std's lock. No thread of this process does.
        unsafe { std::env::set_var(VARIABLE, std::ffi::OsStr::from_bytes(b"2\xff")) };
        is_refused("2");
    });
}
