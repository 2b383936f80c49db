// b's result may come from another thread.
//@ E0277: cannot be sent between threads

use std::rc::Rc;

fn main() {
    heist::join(|| (), || Rc::new(1));
}
