// A result travels to another process.
//@ E0277: the trait bound `Picture: serde

struct Picture;

#[heist::task]
fn draw() -> Picture {
    Picture
}

fn main() {}
