// The items of a pool's stream run on other threads, whenever: they borrow nothing.
//@ E0597: `names` does not live long enough

fn main() {
    let pool = heist::ThreadPool::new().unwrap();
    let names = vec![String::from("ada")];
    for result in pool.imap(&names, |name| name.len()) {
        println!("{}", result.unwrap());
    }
}
