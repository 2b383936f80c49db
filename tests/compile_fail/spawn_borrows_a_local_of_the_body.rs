// A task may run after the body has ended: it cannot borrow what the body owns.
//@ E0373: closure may outlive the current function, but it borrows `local`

fn main() {
    heist::scope(|s| {
        let local = String::from("gone when the body ends");
        s.spawn(|_| println!("{local}"));
    });
}
