// A task runs on another thread.
//@ E0277: `Rc<i32>` cannot be sent between threads safely

use std::rc::Rc;

fn main() {
    let pool = heist::ThreadPool::new().unwrap();
    let shared = Rc::new(1);
    let _ = pool.submit(move || *shared).join();
}
