// The scope ends with its body.
//@ none: lifetime may not live long enough

fn main() {
    let escaped = heist::scope(|s| s);
    escaped.spawn(|_| ());
}
