// The same through a reference that is moved into the task.
//@ E0597: `local` does not live long enough

fn main() {
    heist::scope(|s| {
        let local = String::from("gone when the body ends");
        let reference = &local;
        s.spawn(move |_| println!("{reference}"));
    });
}
