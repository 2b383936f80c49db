// A reference means nothing in another process.
//@ none: a task cannot borrow, because its data travel to another process: take `String` in place of `&str`

#[heist::task]
fn length(text: Option<&str>) -> usize {
    text.map_or(0, str::len)
}

fn main() {}
