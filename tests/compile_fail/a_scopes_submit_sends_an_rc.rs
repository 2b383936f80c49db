// A task runs on another thread.
//@ E0277: `Rc<i32>` cannot be sent between threads safely

use std::rc::Rc;

fn main() {
    let shared = Rc::new(1);
    heist::scope(|s| {
        let _ = s.submit(move |_| *shared).join();
    });
}
