// b may run on another thread.
//@ E0277: `Rc<i32>` cannot be shared between threads

use std::rc::Rc;

fn main() {
    let shared = Rc::new(1);
    heist::join(|| (), || drop(Rc::clone(&shared)));
}
