//! The old version of a program: see `run.rs`.

use serde::{Deserialize, Serialize};

mod run;

#[derive(Serialize, Deserialize)]
struct Size {
    width: u32,
    height: u32,
}

#[derive(Debug, Serialize, Deserialize)]
struct Point {
    x: u32,
    y: u32,
}

#[heist::task(name = "both")]
fn both(n: u64) -> u64 {
    n * n
}

#[heist::task(name = "changed")]
fn changed(n: u32) -> u32 {
    n
}

/// The new version has more fields.
#[heist::task(name = "added")]
fn added(size: Size) -> u32 {
    size.width * 100 + size.height
}

/// The new version has the fields in another order.
#[heist::task(name = "exchanged")]
fn exchanged(point: Point) -> Point {
    Point {
        x: point.x + 1,
        y: point.y + 100,
    }
}

fn main() -> Result<(), heist::BuildError> {
    run::main("old", |cluster| {
        run::show(cluster, "both", both::TASK, 12);
        run::show(cluster, "changed", changed::TASK, 1);
        let size = Size {
            width: 1,
            height: 2,
        };
        run::show(cluster, "added", added::TASK, size);
        run::show(cluster, "exchanged", exchanged::TASK, Point { x: 1, y: 2 });
    })
}
