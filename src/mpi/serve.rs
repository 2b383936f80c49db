//! The ranks that run tasks.
//!
//! The thread that [`Ranks::new`](super::Ranks::new) has started runs them. While it does, a second one looks for orders to cancel.

use super::channel::Channel;
use super::message::{Answer, Order, read, write};
use super::sys::{Dead, Library, Place};
use crate::CancelToken;
use crate::executor::remote::with_token;
use crate::process::{Format, by_name, tag};
use crate::sync::{Mutex, lock};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// How long a rank that waits looks for work without a pause, and how long its pauses are in the beginning, later, and when it has waited for [`LONG`].
const SPIN: Duration = Duration::from_micros(50);
const NAP: Duration = Duration::from_micros(20);
const NAP_MAX: Duration = Duration::from_micros(500);
const NAP_IDLE: Duration = Duration::from_millis(5);
const LONG: Duration = Duration::from_secs(1);

/// How often a rank that runs a task looks whether it is cancelled.
const WATCH: Duration = Duration::from_millis(5);

/// Pauses that become longer, between looks at something that no signal announces.
pub(super) struct Pauses {
    begin: Instant,
    next: Duration,
}

impl Pauses {
    pub(super) fn new() -> Self {
        Pauses {
            begin: Instant::now(),
            next: NAP,
        }
    }

    /// How long the next pause is. `None`: look again at once.
    pub(super) fn next(&mut self) -> Option<Duration> {
        let waited = self.begin.elapsed();
        if waited < SPIN {
            return None;
        }
        if waited > LONG {
            return Some(NAP_IDLE);
        }
        let pause = self.next;
        self.next = (pause * 5 / 4).min(NAP_MAX);
        Some(pause)
    }
}

/// What both threads use, one at a time.
struct Line {
    library: &'static Library,
    channel: Channel,
}

/// The work that runs.
type Running = Mutex<Option<(u64, CancelToken)>>;

/// Runs tasks until rank 0 says that it is enough. Returns whether it has said so.
pub(super) fn serve(library: &'static Library, place: Place) -> bool {
    let line = Arc::new(Mutex::new(Line {
        library,
        channel: Channel::new(0),
    }));
    let running: Arc<Running> = Arc::default();
    if place.is_threaded {
        let (line, running) = (Arc::clone(&line), Arc::clone(&running));
        let watcher = thread::Builder::new().name("heist-mpi-watch".to_owned());
        // Without the thread, tasks are not told that they are cancelled.
        let _ = watcher.spawn(move || watch(&line, &running));
    }
    work(&line, &running).is_ok()
}

fn work(line: &Mutex<Line>, running: &Running) -> Result<(), Dead> {
    let tasks = by_name();
    loop {
        let message = next(line)?;
        match read::<Order>(&message) {
            Some(Order::Work {
                number,
                task,
                items,
            }) => {
                let token = CancelToken::new();
                *lock(running) = Some((number, token.clone()));
                let begin = Instant::now();
                let entry = tasks.get(task);
                let outcomes: Vec<(u8, Vec<u8>)> = items
                    .iter()
                    .map(|args| {
                        let mut out = Vec::new();
                        let tag = entry.map_or(tag::UNKNOWN, |entry| {
                            with_token(&token, || entry.run(Format::Compact, args, &mut out))
                        });
                        (tag, out)
                    })
                    .collect();
                let ran = u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX);
                *lock(running) = None;
                let outcomes = outcomes.iter().map(|(tag, out)| (*tag, &out[..]));
                send(
                    line,
                    &Answer::Done {
                        number,
                        ran,
                        outcomes: outcomes.collect(),
                    },
                )?;
            }
            // The work has ended.
            Some(Order::Cancel(_)) => {}
            Some(Order::Stop) => {
                send(line, &Answer::Bye)?;
                return Ok(());
            }
            None => return Err(Dead),
        }
    }
}

/// Waits for the next message.
fn next(line: &Mutex<Line>) -> Result<Vec<u8>, Dead> {
    let mut pauses = Pauses::new();
    loop {
        let mut now = lock(line);
        let library = now.library;
        if let Some(message) = now.channel.receive(library)? {
            return Ok(message);
        }
        drop(now);
        match pauses.next() {
            Some(pause) => thread::sleep(pause),
            None => thread::yield_now(),
        }
    }
}

fn send(line: &Mutex<Line>, answer: &Answer<'_>) -> Result<(), Dead> {
    let bytes = write(answer);
    let mut pauses = Pauses::new();
    let mut now = lock(line);
    let library = now.library;
    now.channel.send(library, &bytes)?;
    while !now.channel.flush(library)? {
        match pauses.next() {
            Some(pause) => thread::sleep(pause),
            None => thread::yield_now(),
        }
    }
    Ok(())
}

/// Looks for orders while a task runs.
fn watch(line: &Mutex<Line>, running: &Running) {
    loop {
        thread::sleep(WATCH);
        // While a task runs, the other thread does not receive, and only orders to cancel come.
        let now = lock(running);
        let Some((number, token)) = &*now else {
            continue;
        };
        let (number, token) = (*number, token.clone());
        let mut line = lock(line);
        let library = line.library;
        let message = line.channel.receive(library);
        drop((line, now));
        if let Ok(Some(message)) = message
            && matches!(read(&message), Some(Order::Cancel(cancelled)) if cancelled == number)
        {
            token.cancel();
        }
    }
}
