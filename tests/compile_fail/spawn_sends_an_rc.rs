// A detached task runs on another thread.
//@ E0277: `Rc<i32>` cannot be sent between threads

use std::rc::Rc;

fn main() {
    let shared = Rc::new(1);
    heist::spawn(move || drop(shared));
}
