// Results come from other threads.
//@ E0277: cannot be sent between threads

use std::rc::Rc;

fn main() {
    heist::global().map(0..10, Rc::new);
}
