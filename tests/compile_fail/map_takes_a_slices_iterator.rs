// An iterator cannot be cut in two; the slice can.
//@ E0277: a map cannot run over `std::slice::Iter<

fn main() {
    let v = vec![1, 2, 3];
    heist::global().map(v.iter(), |n| n + 1);
}
