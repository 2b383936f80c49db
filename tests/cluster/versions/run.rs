//! What both versions of the program have in common: `worker ADDRESS ISOLATE SECONDS` serves a queue and leaves unknown tasks to others for so long, and
//! `client ADDRESS` submits one task after the other and prints a line about each.

use heist::nats::{Cluster, Options};
use heist::{Executor, Task};
use std::fmt::Debug;
use std::time::Duration;

pub fn main(version: &str, client: fn(&Cluster)) -> Result<(), heist::BuildError> {
    heist::init();
    let words: Vec<_> = std::env::args().skip(1).collect();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["worker", address, isolate, seconds] => {
            let unknown_for = Duration::from_secs(seconds.parse().expect("seconds"));
            let worker = Options::new(address)?.worker()?.version(version);
            worker
                .places(2)
                .isolate(isolate == "true")
                .unknown_for(unknown_for)
                .run()
        }
        ["client", address] => {
            client(&Cluster::connect(address)?);
            Ok(())
        }
        _ => panic!("unknown words: {words:?}"),
    }
}

/// Submits a task, and prints its value or why it is refused.
pub fn show<T: Task<Output: Debug>>(cluster: &Cluster, name: &str, task: T, args: T::Args) {
    match cluster.submit(task, args).join() {
        Ok(value) => println!("{name}: {value:?}"),
        Err(error) if error.is_refused() => println!("{name}: refused: {error}"),
        Err(error) => println!("{name}: failed: {error}"),
    }
}
