// Results come from other threads.
//@ E0277: `Rc<{integer}>` cannot be sent between threads safely

use std::rc::Rc;

fn main() {
    let pool = heist::ThreadPool::new().unwrap();
    pool.imap(0..10, Rc::new).next();
}
