// A detached task outlives its spawner.
//@ E0597: `local` does not live long enough

fn main() {
    let local = String::new();
    let reference = &local;
    heist::spawn(move || println!("{reference}"));
}
