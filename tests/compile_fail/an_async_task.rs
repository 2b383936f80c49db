// A worker process runs one task at a time.
//@ none: a task is not async: its process runs one task at a time. Call `heist::block_on` in it

#[heist::task]
async fn answer() -> u32 {
    42
}

fn main() {}
