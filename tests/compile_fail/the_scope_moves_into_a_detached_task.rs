// A detached task outlives the scope.
//@ E0521: borrowed data escapes outside of closure

fn main() {
    heist::scope(|s| {
        heist::spawn(move || s.spawn(|_| ()));
    });
}
