// A detached task outlives the function that submits it.
//@ E0373: closure may outlive the current function, but it borrows `local`

fn main() {
    let pool = heist::ThreadPool::new().unwrap();
    let local = String::from("gone when main ends");
    let _ = pool.submit(|| local.len()).join();
}
