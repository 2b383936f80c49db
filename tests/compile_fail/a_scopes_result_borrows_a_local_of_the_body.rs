// The task may run after the body has ended, although its handle is joined within.
//@ E0597: `local` does not live long enough

fn main() {
    heist::scope(|s| {
        let local = String::from("gone when the body ends");
        let reference = &local;
        println!("{}", s.submit(move |_| reference.as_str()).join().unwrap());
    });
}
