// Items move to other threads.
//@ E0277: Rc<

use std::rc::Rc;

fn main() {
    heist::global().map(vec![Rc::new(1)], |x| *x);
}
