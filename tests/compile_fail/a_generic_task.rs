// Another process finds a task by its name, which a generic function has many times.
//@ none: a task cannot be generic: another process finds it by its name. Write one task for each type

#[heist::task]
fn largest<T: Ord>(values: Vec<T>) -> Option<T> {
    values.into_iter().max()
}

fn main() {}
