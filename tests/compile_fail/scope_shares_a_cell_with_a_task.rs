// A task may run while the body does: what both see must be `Sync`.
//@ E0277: `Cell<i32>` cannot be shared between threads

use std::cell::Cell;

fn main() {
    let shared = Cell::new(1);
    heist::scope(|s| {
        s.spawn(|_| shared.set(2));
        shared.set(3);
    });
}
