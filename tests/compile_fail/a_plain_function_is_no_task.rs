// An executor cannot find a plain function in another process.
//@ E0277: is not a task

use heist::Executor;

fn square(n: u64) -> u64 {
    n * n
}

fn main() {
    let pool: &dyn heist::Backend = &heist::ThreadPool::new().unwrap();
    pool.submit(square, 7).detach();
}
