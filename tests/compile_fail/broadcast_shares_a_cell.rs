// Every worker runs the closure at once.
//@ E0277: `Cell<usize>` cannot be shared between threads

use std::cell::Cell;

fn main() {
    let shared = Cell::new(1);
    heist::global().broadcast(|index| shared.set(index));
}
