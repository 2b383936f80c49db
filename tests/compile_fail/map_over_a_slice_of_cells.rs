// References to items move to other threads.
//@ E0277: Cell<

use std::cell::Cell;

fn main() {
    heist::global().map(&[Cell::new(1)], |x| x.get());
}
