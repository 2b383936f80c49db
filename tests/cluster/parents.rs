//! This program as a worker or as a client of its own.

use heist::nats::{Options, SessionId};
use heist::{Executor, JoinError, JoinHandle};
use std::process::Command;
use std::time::Duration;

/// What this program is to be.
pub const MODE: &str = "HEIST_TEST_MODE";
pub const ADDRESS: &str = "HEIST_TEST_ADDRESS";
pub const PLACES: &str = "HEIST_TEST_PLACES";
pub const ISOLATE: &str = "HEIST_TEST_ISOLATE";
pub const SESSION: &str = "HEIST_TEST_SESSION";
pub const LOG: &str = "HEIST_TEST_LOG";
pub const TASKS: &str = "HEIST_TEST_TASKS";
pub const TRIES: &str = "HEIST_TEST_TRIES";
pub const CLAIMS_AHEAD: &str = "HEIST_TEST_CLAIMS_AHEAD";
pub const UNKNOWN_FOR_MS: &str = "HEIST_TEST_UNKNOWN_FOR_MS";
pub const VERSION: &str = "HEIST_TEST_VERSION";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Worker,
    Client,
}

/// A command that runs this program in a role.
pub fn other(role: Role) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("the path of this program"));
    command.env(MODE, format!("{role:?}"));
    command
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn number(name: &str) -> Option<u64> {
    variable(name)?.parse().ok()
}

/// Plays the role that this program was started in. Returns the exit code.
pub fn run_as_other() -> Option<i32> {
    let role = variable(MODE)?;
    let address = variable(ADDRESS)?;
    let options = Options::new(&address).expect("an address");
    let options = options.connect_timeout(Duration::from_secs(60));
    let outcome = match &*role {
        "Worker" => run_worker(options),
        "Client" => run_client(options),
        _ => return None,
    };
    Some(match outcome {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("{error}");
            1
        }
    })
}

fn run_worker(options: Options) -> Result<(), heist::BuildError> {
    let places = number(PLACES).expect("a number of places");
    let mut worker = options.worker()?;
    if let Some(ms) = number(UNKNOWN_FOR_MS) {
        worker = worker.unknown_for(Duration::from_millis(ms));
    }
    if let Some(version) = variable(VERSION) {
        if version == "new" {
            worker = worker.task(crate::behaviour::New);
        }
        worker = worker.version(version);
    }
    if let Some(tasks) = number(CLAIMS_AHEAD) {
        worker = worker.claims_ahead(usize::try_from(tasks).expect("some tasks"));
    }
    worker
        .places(usize::try_from(places).expect("some places"))
        .isolate(variable(ISOLATE).as_deref() == Some("true"))
        .run()
}

/// Submits all tasks, waits for them, and exits with 0 if each has its value or is lost.
fn run_client(options: Options) -> Result<(), heist::BuildError> {
    let session: SessionId = variable(SESSION).expect("a session").parse()?;
    let log = variable(LOG).expect("a log");
    let tasks = number(TASKS).expect("a number of tasks");
    let tries = u32::try_from(number(TRIES).expect("a number of tries")).expect("tries");
    let cluster = options.client().session(session).connect()?;
    let call = cluster.task().tries(tries);
    let handles: Vec<_> = (0..tasks)
        .map(|n| call.submit(crate::chaos::work::TASK, (log.clone(), n)))
        .collect();
    println!("lost {}", lost_among(handles));
    Ok(())
}

/// Joins the calls of `work`, each of which must have its value or be lost. Returns how many are lost.
pub fn lost_among(handles: Vec<JoinHandle<u64>>) -> u64 {
    let mut lost = 0;
    for (n, handle) in (0..).zip(handles) {
        match handle.join() {
            Ok(value) => assert_eq!(value, n * n),
            Err(error) => {
                assert!(is_lost(&error), "{error}");
                lost += 1;
            }
        }
    }
    lost
}

pub fn is_lost(error: &JoinError) -> bool {
    error.lost().is_some()
}
