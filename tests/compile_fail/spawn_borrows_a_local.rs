// A detached task outlives its spawner.
//@ E0373: closure may outlive the current function, but it borrows `local`

fn main() {
    let local = 1;
    heist::global().spawn(|| println!("{local}"));
}
