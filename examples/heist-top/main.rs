//! What a cluster does: a table of its workers, its queue and its running tasks, which refreshes.
//!
//! ```sh
//! cargo run --release --features nats --example heist-top -- nats://127.0.0.1:4222/words
//! ```
//!
//! If the output is not a terminal, it is written once, as plain text.

use clap::Parser;
use heist::nats::{Cluster, ClusterStats, ClusterTask, Event};
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Shows the workers, the queue and the running tasks of a cluster.
#[derive(Parser)]
struct Arguments {
    /// The queue, such as nats://127.0.0.1:4222/words
    #[arg(env = "HEIST_EXECUTOR")]
    address: String,
    /// Seconds between two looks
    #[arg(short, long, default_value_t = 1.0)]
    interval: f64,
    /// How many times to look. By default once if the output is not a terminal, or else until Ctrl-C
    #[arg(short, long)]
    times: Option<u64>,
}

/// The most running tasks and events that are shown.
const ROWS: usize = 20;
const EVENTS: usize = 5;

/// Moves the cursor home, and clears what is behind it.
const HOME: &str = "\x1b[H\x1b[J";

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("heist-top: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let interval = Duration::try_from_secs_f64(arguments.interval)?;
    let cluster = Cluster::connect(&arguments.address)?;
    let mut output = io::stdout();
    let is_terminal = output.is_terminal();
    let times = arguments
        .times
        .unwrap_or(if is_terminal { u64::MAX } else { 1 });
    let events = cluster.events();
    let mut lines = VecDeque::new();
    let mut before: Option<(Instant, u64)> = None;
    for look in 0..times {
        let (stats, mut running) = (cluster.stats(), cluster.running());
        running.sort_unstable_by_key(|task| std::cmp::Reverse(task.milliseconds));
        let now = (
            Instant::now(),
            stats.workers.iter().map(|worker| worker.done).sum::<u64>(),
        );
        let rate = before.map(|before| {
            // Workers that have left take their totals with them.
            now.1.saturating_sub(before.1) as f64 / (now.0 - before.0).as_secs_f64()
        });
        before = Some(now);
        let page = page(&stats, rate, &running, &lines);
        let begin = if is_terminal { HOME } else { "" };
        match write!(output, "{begin}{page}").and_then(|()| output.flush()) {
            // The reader has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            written => written?,
        }
        if look + 1 == times {
            break;
        }
        let end = Instant::now() + interval;
        while let Some(event) = events.next_timeout(end.saturating_duration_since(Instant::now())) {
            lines.extend(describe(&event));
            while lines.len() > EVENTS {
                lines.pop_front();
            }
        }
        if let Some(rest) = end.checked_duration_since(Instant::now()) {
            std::thread::sleep(rest);
        }
    }
    Ok(())
}

fn page(
    stats: &ClusterStats,
    rate: Option<f64>,
    running: &[ClusterTask],
    events: &VecDeque<String>,
) -> String {
    let mut page = format!("{stats}\n");
    // Writing to a string cannot fail.
    if let Some(rate) = rate {
        let _ = writeln!(page, "rate    {rate:.0} tasks a second");
    }
    if !running.is_empty() {
        let _ = writeln!(
            page,
            "\n{:>10} {:>5}  {:<24} {:<32} call",
            "running", "start", "worker", "task"
        );
    }
    for task in running.iter().take(ROWS) {
        let time = Duration::from_millis(task.milliseconds);
        let _ = writeln!(
            page,
            "{:>10} {:>5}  {:<24} {:<32} {}",
            format!("{time:.1?}"),
            task.start,
            task.worker,
            task.task,
            task.key
        );
    }
    if running.len() > ROWS {
        let _ = writeln!(page, "{:>10} more", running.len() - ROWS);
    }
    if !events.is_empty() {
        let _ = writeln!(page);
    }
    for event in events {
        let _ = writeln!(page, "{event}");
    }
    page
}

fn describe(event: &Event) -> Option<String> {
    Some(match event {
        Event::WorkerJoined(worker) => format!("worker {} has come", worker.name),
        Event::WorkerLeft(worker) => format!("worker {} has left", worker.name),
        Event::WorkerLost(worker) => format!("worker {} does not answer any more", worker.name),
        Event::TaskLost { task, noticed_by } => {
            format!("a task {task} was lost, says {noticed_by}")
        }
        Event::ServerAway => "the server is away".to_owned(),
        Event::ServerBack => "the server is back".to_owned(),
        _ => return None,
    })
}
