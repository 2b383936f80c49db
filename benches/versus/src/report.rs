//! Prints the tables and writes the JSON file.

use crate::results::{Fact, Results, RowResult, Samples};
use crate::targets::Verdict;
use serde::Serialize;
use std::fs::File;
use std::io;
use std::path::Path;

/// Prints what the figures mean and on how many cores they were measured.
pub fn print_preamble(repetitions: usize, quick: bool) {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!(
        "{cores} cores, {repetitions} repetitions of each contestant in turn{}.",
        if quick {
            ", small inputs (--quick): rough figures"
        } else {
            ""
        }
    );
    if let Ok(load) = std::fs::read_to_string("/proc/loadavg") {
        let last_minute = load.split(' ').next().unwrap_or_default();
        println!("Load of the minute before: {last_minute}. Only figures taken at about 0 count.");
    }
    println!(
        "Columns: minimum and median; both against serial; heist's against this contestant's; of single events the p99, too."
    );
    if !cfg!(feature = "forte") {
        println!("forte is left out (README.md says how to build it in).");
    }
}

/// Prints one row as a table.
pub fn print_row(row: &RowResult) {
    println!("\n{}: {} [{}]", row.name, row.about, row.unit);
    if let Some(ideal) = row.ideal {
        println!("  {:<14}{:>10}", "ideal", figure(ideal));
    }
    let serial = row.contestant("serial");
    let heist = row.contestant("heist");
    for contestant in &row.contestants {
        print!(
            "  {:<14}{:>10}{:>10}   serial x {:>6} {:>6}   heist x {:>6} {:>6}",
            contestant.name,
            figure(contestant.min()),
            figure(contestant.median()),
            ratio(Some(contestant), serial, Samples::min),
            ratio(Some(contestant), serial, Samples::median),
            ratio(heist, Some(contestant), Samples::min),
            ratio(heist, Some(contestant), Samples::median),
        );
        if row.is_distribution {
            print!(
                "   p99 {:>6}   heist x {:>6}",
                figure(contestant.p99()),
                ratio(heist, Some(contestant), Samples::p99),
            );
        }
        println!();
    }
}

/// Prints one figure.
pub fn print_fact(fact: &Fact) {
    println!(
        "  {:<34}{:<10}{:>12} {}",
        fact.name,
        fact.contestant,
        figure(fact.value),
        fact.unit
    );
}

/// Prints the table of targets.
pub fn print_verdicts(verdicts: &[Verdict], quick: bool) {
    if verdicts.is_empty() {
        return;
    }
    let note = if quick {
        " (--quick: take none of these for final)"
    } else {
        ""
    };
    println!("\nTargets{note}");
    println!(
        "  {:<26}{:<44}{:>8}{:>10}  met?",
        "row", "what", "at most", "measured"
    );
    for verdict in verdicts {
        println!(
            "  {:<26}{:<44}{:>8}{:>10}  {}",
            verdict.row,
            verdict.what,
            figure(verdict.limit),
            figure(verdict.measured),
            if verdict.is_met { "yes" } else { "NO" }
        );
    }
    let met = verdicts.iter().filter(|verdict| verdict.is_met).count();
    println!("  {met} of {} targets met", verdicts.len());
}

/// Writes all samples, facts and verdicts.
pub fn write_json(path: &Path, results: &Results, verdicts: &[Verdict]) -> io::Result<()> {
    #[derive(Serialize)]
    struct Document<'a> {
        #[serde(flatten)]
        results: &'a Results,
        targets: &'a [Verdict],
    }
    let document = Document {
        results,
        targets: verdicts,
    };
    serde_json::to_writer_pretty(File::create(path)?, &document).map_err(io::Error::from)
}

fn ratio(
    numerator: Option<&Samples>,
    denominator: Option<&Samples>,
    statistic: fn(&Samples) -> f64,
) -> String {
    match (numerator, denominator) {
        (Some(numerator), Some(denominator)) => {
            figure(statistic(numerator) / statistic(denominator))
        }
        _ => "-".to_string(),
    }
}

/// Formats a value with about three significant digits.
fn figure(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_string(),
        size if size < 0.001 => format!("{value:.0e}"),
        size if size < 0.1 => format!("{value:.3}"),
        size if size < 10.0 => format!("{value:.2}"),
        size if size < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}
