// The function of a task is only a function: the note says to write `square::TASK`.
//@ E0277: is not a task

use heist::Executor;

#[heist::task]
fn square(n: u64) -> u64 {
    n * n
}

fn main() {
    let pool: &dyn heist::Backend = &heist::ThreadPool::new().unwrap();
    pool.submit(square, 7).detach();
}
