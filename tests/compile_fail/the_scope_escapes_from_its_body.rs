// The scope ends with its body.
//@ E0521: borrowed data escapes outside of closure

fn main() {
    let mut kept = None;
    heist::scope(|s| kept = Some(s));
    kept.unwrap().spawn(|_| ());
}
