// Several threads call the closure.
//@ E0277: `Cell<i32>` cannot be shared between threads

use std::cell::Cell;

fn main() {
    let last = Cell::new(0);
    heist::scope(|s| s.imap(0..10, |n| last.set(n)).for_each(drop));
}
