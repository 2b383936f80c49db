// An item that was moved into the closure ends there.
//@ E0515: cannot return reference to function parameter

fn main() {
    let _references: Vec<&String> = heist::global().map(vec![String::new()], |x| &x);
}
