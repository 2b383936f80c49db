// The body may not look at what a task changes.
//@ E0502: cannot borrow `data` as immutable

fn main() {
    let mut data = vec![1, 2, 3];
    heist::scope(|s| {
        s.spawn(|_| data.push(4));
        println!("{}", data.len());
    });
}
