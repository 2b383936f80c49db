//! How often cache lines move between cores, by simulation.

use crate::simulate::Point;
use crate::table::{self, figure};

/// Prints the transfers of each kind of line.
pub fn print(per_worker_ms: f64, points: &[Point]) {
    println!(
        "\nsimulated: lines that move to another core, for each steal; {per_worker_ms} ms a worker"
    );
    let head = [
        "P policy",
        "steals",
        "rings probed",
        "rings changed",
        "sleep word",
        "idle lock",
        "all, a worker and ms",
        "waited, % of the time",
    ];
    let row = |point: &Point| {
        let steals = point.mean(|tally| tally.steals as f64);
        let span_ms = point.mean(|tally| tally.span as f64) / 1e6;
        let kinds = [
            point.mean(|tally| tally.transfers.probes as f64),
            point.mean(|tally| tally.transfers.rings as f64),
            point.mean(|tally| tally.transfers.word as f64),
            point.mean(|tally| tally.transfers.lock as f64),
        ];
        let worker_ms = point.threads as f64 * span_ms;
        let waited_ms = point.mean(|tally| tally.transfers.waited as f64) / 1e6;
        let mut row = vec![
            format!("{} {}", point.threads, point.policy),
            figure(steals),
        ];
        row.extend(kinds.iter().map(|kind| figure(kind / steals.max(1.0))));
        row.push(figure(kinds.iter().sum::<f64>() / worker_ms));
        row.push(figure(100.0 * waited_ms / worker_ms));
        row
    };
    table::print(&head, &points.iter().map(row).collect::<Vec<_>>());
}
