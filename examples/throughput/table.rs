//! Prints the results as text.

use std::fmt::Write;
use std::time::Duration;

use super::measure::{Report, Times};

/// A table of all results, with notes where the naive pool did less.
pub fn text(report: &Report) -> String {
    let mut text = String::new();
    // Writing to a `String` cannot fail.
    let _ = write_table(report, &mut text);
    text
}

fn write_table(report: &Report, out: &mut String) -> std::fmt::Result {
    let width = report.rows.iter().map(|row| row.name.len()).max();
    let width = width.unwrap_or(0).max("job".len());
    writeln!(
        out,
        "{}, {} rounds. All figures are times: lower is better.\n\
         x serial: as a multiple of the serial time; 0.50 is twice as fast.\n",
        threads(report),
        report.rounds
    )?;
    writeln!(
        out,
        "{:width$}  {:8} {:>11} {:>9}   {:>11} {:>9}",
        "job", "by", "min", "x serial", "median", "x serial"
    )?;
    let mut remarks = Vec::new();
    for row in &report.rows {
        let mark = match &row.remark {
            Some(remark) => {
                let known = remarks.iter().position(|it| it == &remark);
                let index = known.unwrap_or(remarks.len());
                if known.is_none() {
                    remarks.push(remark);
                }
                format!("naive ({})", index + 1)
            }
            None => "naive".to_owned(),
        };
        let ways = [
            (row.name.as_str(), "serial", &row.serial),
            ("", &mark, &row.naive),
            ("", "heist", &row.heist),
        ];
        writeln!(out, "{}", "-".repeat(width + 57))?;
        for (name, way, times) in ways {
            writeln!(
                out,
                "{name:width$}  {way:9} {:>10} {:>9.2}   {:>11} {:>9.2}",
                milliseconds(times.min()),
                ratio(times, &row.serial, Times::min),
                milliseconds(times.median()),
                ratio(times, &row.serial, Times::median),
            )?;
        }
    }
    writeln!(out)?;
    for (number, remark) in remarks.iter().enumerate() {
        let indented = remark.replace('\n', "\n    ");
        writeln!(out, "({}) The naive pool {indented}.", number + 1)?;
    }
    Ok(())
}

/// The ratio of `times` to those of the serial run.
pub fn ratio(times: &Times, serial: &Times, which: impl Fn(&Times) -> Duration) -> f64 {
    // If the clock is too coarse to measure the job, this would be 0 / 0.
    let nanosecond = 1e-9;
    which(times).as_secs_f64().max(nanosecond) / which(serial).as_secs_f64().max(nanosecond)
}

/// Formats a count of threads: `1 thread`, `2 threads`.
pub fn threads(report: &Report) -> String {
    let plural = if report.threads == 1 { "" } else { "s" };
    format!("{} thread{plural}", report.threads)
}

/// Formats a time such as `12.34 ms`.
pub fn milliseconds(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}
