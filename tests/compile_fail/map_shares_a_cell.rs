// Several threads call the closure at once.
//@ E0277: `Cell<i32>` cannot be shared between threads

use std::cell::Cell;

fn main() {
    let sum = Cell::new(0);
    heist::global().for_each(0..10, |x| sum.set(sum.get() + x));
}
