// Two tasks may not change one value.
//@ E0499: cannot borrow `data` as mutable more than once

fn main() {
    let mut data = vec![1, 2, 3];
    heist::scope(|s| {
        s.spawn(|_| data.push(4));
        s.spawn(|_| data.push(5));
    });
}
