// A closure cannot leave its process.
//@ E0277: is not a task

use heist::Executor;

fn main() {
    let pool: &dyn heist::Backend = &heist::ThreadPool::new().unwrap();
    pool.imap(|n: u64| n * n, 0..10).for_each(drop);
}
