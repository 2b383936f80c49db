// A stream submits to its scope: it cannot outlive it.
//@ none: lifetime may not live long enough

fn main() {
    let mut stream = heist::scope(|s| s.imap(0..10, |n| n + 1));
    stream.next();
}
