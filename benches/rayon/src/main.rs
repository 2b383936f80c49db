//! Leaf-bound and fork-bound kernels, written for rayon and nothing else.
//!
//! `same-program ROW` runs the row once untimed. Then, for each line that it reads from its standard input, it runs the row again and prints
//! the time in nanoseconds. So two builds can be measured in turns (`./run`). Without an argument it lists the rows.

mod kernels;

use kernels::ROWS;
use std::io::{BufRead, Write, stdin, stdout};

fn main() {
    let Some(name) = std::env::args().nth(1) else {
        return ROWS
            .iter()
            .for_each(|row| println!("{} {}", row.name, row.target));
    };
    let row = ROWS.iter().find(|row| row.name == name);
    let mut run = (row
        .unwrap_or_else(|| panic!("there is no row {name}"))
        .prepare)();
    run();
    println!("ready on {} threads", rayon::current_num_threads());
    for line in stdin().lock().lines() {
        line.expect("the standard input can be read");
        println!("{}", run().as_nanos());
        stdout()
            .flush()
            .expect("the standard output can be written");
    }
}
