// The handle of a scope's task keeps what the result borrows.
//@ E0597: `text` does not live long enough

fn main() {
    let handle = {
        let text = String::from("gone before the join");
        heist::scope(|s| s.submit(|_| text.as_str()))
    };
    println!("{}", handle.join().unwrap());
}
