// Both closures may run at the same time.
//@ E0499: cannot borrow `data` as mutable more than once

fn main() {
    let mut data = vec![1, 2, 3];
    heist::join(|| data.push(4), || data.push(5));
}
