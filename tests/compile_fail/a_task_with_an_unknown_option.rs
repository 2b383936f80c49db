// The options of a task are known.
//@ none: unknown option: the options of a task are name, tries and timeout

#[heist::task(retries = 3)]
fn answer() -> u32 {
    42
}

fn main() {}
