// `run` takes place on another thread.
//@ E0277: cannot be sent between threads

use std::rc::Rc;

fn main() {
    heist::global().run(|| Rc::new(1));
}
