// Several threads call the closure at once.
//@ E0594: cannot assign to `sum`

fn main() {
    let mut sum = 0;
    heist::global().for_each(0..10, |x| sum += x);
}
