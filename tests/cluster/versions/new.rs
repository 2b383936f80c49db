//! The new version of a program: see `run.rs`.

use serde::{Deserialize, Serialize};

mod run;

#[derive(Serialize, Deserialize)]
struct Size {
    width: u32,
    #[serde(default)]
    depth: u32,
    height: u32,
}

#[derive(Debug, Serialize, Deserialize)]
struct Point {
    y: u32,
    x: u32,
}

#[heist::task(name = "both")]
fn both(n: u64) -> u64 {
    n * n
}

#[heist::task(name = "changed")]
fn changed(n: u64) -> u64 {
    n
}

#[heist::task(name = "added")]
fn added(size: Size) -> u32 {
    size.depth * 10_000 + size.width * 100 + size.height
}

#[heist::task(name = "exchanged")]
fn exchanged(point: Point) -> Point {
    Point {
        x: point.x + 1,
        y: point.y + 100,
    }
}

/// The old version does not have it.
#[heist::task(name = "only new")]
fn only_new(n: u64) -> u64 {
    n + 1
}

fn main() -> Result<(), heist::BuildError> {
    run::main("new", |cluster| {
        run::show(cluster, "both", both::TASK, 12);
        run::show(cluster, "changed", changed::TASK, 1);
        let size = Size {
            width: 1,
            height: 2,
            depth: 3,
        };
        run::show(cluster, "added", added::TASK, size);
        run::show(cluster, "exchanged", exchanged::TASK, Point { x: 1, y: 2 });
        println!("only new: submitted");
        run::show(cluster, "only new", only_new::TASK, 7);
    })
}
