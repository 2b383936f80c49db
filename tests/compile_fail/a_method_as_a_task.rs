// A task is a function.
//@ none: a task is not a method: make it a function that takes the value as a parameter

struct Picture;

impl Picture {
    #[heist::task]
    fn width(self) -> u32 {
        640
    }
}

fn main() {}
