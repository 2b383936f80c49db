// A time has a unit.
//@ none: a timeout is a whole number above 0 and a unit, ms, s, min or h

#[heist::task(timeout = "30")]
fn answer() -> u32 {
    42
}

fn main() {}
