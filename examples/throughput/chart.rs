//! The results as a bar chart, in SVG written by hand.
//!
//! Lengths are times relative to the serial run, which is a line at 1. If the ratios differ widely, the scale
//! is logarithmic and the bars begin at that line: bars to the left are faster than serial, bars to the right slower. A
//! logarithmic bar that begins anywhere else would have a length without a meaning.

use std::fmt::{self, Write};

use super::measure::{Report, Times};
use super::table::{milliseconds, ratio, threads};

const WIDTH: f64 = 900.0;
const LEFT: f64 = 240.0;
const RIGHT: f64 = 70.0;
const TOP: f64 = 112.0;
const BAR: f64 = 18.0;
const ROW: f64 = 62.0;
const NAIVE: &str = "#c9803a";
const HEIST: &str = "#1f5f9f";
const TEXT: &str = "#1a1a1a";
const GREY: &str = "#5a5a5a";
const GRID: &str = "#dddddd";

/// A complete SVG document.
pub fn svg(report: &Report) -> String {
    let mut text = String::new();
    // Writing to a `String` cannot fail.
    let _ = draw(report, &mut text);
    text
}

fn draw(report: &Report, out: &mut String) -> fmt::Result {
    let bars: Vec<[f64; 2]> = report
        .rows
        .iter()
        .map(|row| [&row.naive, &row.heist].map(|it| ratio(it, &row.serial, Times::median)))
        .collect();
    let scale = Scale::new(bars.as_flattened());
    let bottom = TOP + ROW * report.rows.len() as f64;
    let height = bottom + 72.0;
    writeln!(
        out,
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" font-family="Helvetica, Arial, sans-serif" font-size="14" fill="{TEXT}">"#
    )?;
    writeln!(
        out,
        r##"<rect width="100%" height="100%" fill="#ffffff"/>"##
    )?;
    header(report, out)?;
    axis(&scale, bottom, out)?;
    for (index, (row, ratios)) in report.rows.iter().zip(&bars).enumerate() {
        let top = TOP + ROW * index as f64 + (ROW - 2.0 * BAR) / 2.0;
        let mark = if row.remark.is_some() { "*" } else { "" };
        label(out, LEFT - 14.0, top + 14.0, TEXT, &row.name)?;
        let below = format!("serial {}", milliseconds(row.serial.median()));
        label(out, LEFT - 14.0, top + 32.0, GREY, &below)?;
        bar(&scale, ratios[0], top, NAIVE, mark, out)?;
        bar(&scale, ratios[1], top + BAR, HEIST, "", out)?;
    }
    // The line is drawn over the bars, so that it is visible where they cross it.
    let one = scale.x(1.0);
    writeln!(
        out,
        r#"<line x1="{one:.1}" x2="{one:.1}" y1="{}" y2="{bottom}" stroke="{TEXT}" stroke-width="1.5"/>"#,
        TOP - 6.0
    )?;
    writeln!(out, "</svg>")
}

fn header(report: &Report, out: &mut String) -> fmt::Result {
    writeln!(
        out,
        r#"<text x="24" y="34" font-size="20" font-weight="bold">Time relative to serial code, {}</text>"#,
        threads(report)
    )?;
    writeln!(
        out,
        r#"<text x="24" y="56" fill="{GREY}">median of {} interleaved rounds; left of the line at 1 is faster</text>"#,
        report.rounds
    )?;
    let legend = [
        (24.0, NAIVE, "naive pool (one queue, one lock)"),
        (290.0, HEIST, "heist"),
    ];
    for (x, colour, name) in legend {
        writeln!(
            out,
            r#"<rect x="{x}" y="72" width="14" height="14" fill="{colour}"/><text x="{}" y="84">{name}</text>"#,
            x + 20.0
        )?;
    }
    writeln!(
        out,
        r#"<line x1="372" x2="372" y1="70" y2="88" stroke="{TEXT}" stroke-width="1.5"/><text x="382" y="84">serial</text>"#
    )?;
    if report.rows.iter().any(|row| row.remark.is_some()) {
        writeln!(
            out,
            r#"<text x="460" y="84" fill="{GREY}">* with a cut-off or fixed pieces: see the table's notes</text>"#
        )?;
    }
    Ok(())
}

fn axis(scale: &Scale, bottom: f64, out: &mut String) -> fmt::Result {
    for tick in scale.ticks() {
        let x = scale.x(tick);
        writeln!(
            out,
            r#"<line x1="{x:.1}" x2="{x:.1}" y1="{TOP}" y2="{bottom}" stroke="{GRID}"/>"#
        )?;
        writeln!(
            out,
            r#"<text x="{x:.1}" y="{}" text-anchor="middle">{tick}</text>"#,
            bottom + 20.0
        )?;
    }
    let kind = if scale.logarithmic {
        ", logarithmic"
    } else {
        ""
    };
    writeln!(
        out,
        r#"<text x="{:.1}" y="{}" text-anchor="middle" fill="{GREY}">time / time of the serial run{kind}</text>"#,
        (LEFT + WIDTH - RIGHT) / 2.0,
        bottom + 48.0
    )
}

fn bar(
    scale: &Scale,
    value: f64,
    top: f64,
    colour: &str,
    mark: &str,
    out: &mut String,
) -> fmt::Result {
    let (from, to) = (scale.x(scale.origin()), scale.x(value));
    let (x, width) = (from.min(to), (to - from).abs().max(1.0));
    writeln!(
        out,
        r#"<rect x="{x:.1}" y="{}" width="{width:.1}" height="{}" fill="{colour}"/>"#,
        top + 1.0,
        BAR - 2.0
    )?;
    let (x, anchor) = if to < from {
        (to - 6.0, "end")
    } else {
        (to + 6.0, "start")
    };
    writeln!(
        out,
        r#"<text x="{x:.1}" y="{}" font-size="13" text-anchor="{anchor}">{value:.2}{mark}</text>"#,
        top + 14.0
    )
}

fn label(out: &mut String, x: f64, y: f64, colour: &str, text: &str) -> fmt::Result {
    writeln!(
        out,
        r#"<text x="{x}" y="{y}" text-anchor="end" fill="{colour}">{text}</text>"#
    )
}

/// The axis, which maps ratios to positions.
struct Scale {
    logarithmic: bool,
    least: f64,
    most: f64,
}

impl Scale {
    /// The largest ratio for which the axis is linear.
    const WIDE: f64 = 4.0;

    fn new(values: &[f64]) -> Self {
        let least = values.iter().copied().fold(1.0, f64::min);
        let most = values.iter().copied().fold(1.0, f64::max);
        if most > Self::WIDE {
            // The range is between whole powers of two, with room for the numbers beside the bars.
            return Scale {
                logarithmic: true,
                least: (least * 0.75).log2().floor().exp2(),
                most: (most * 1.25).log2().ceil().exp2(),
            };
        }
        let room = most * 1.08;
        Scale {
            logarithmic: false,
            least: 0.0,
            most: (room / Self::step(room)).ceil() * Self::step(room),
        }
    }

    /// The distance between two ticks of a linear axis.
    fn step(most: f64) -> f64 {
        if most > 2.0 { 0.5 } else { 0.25 }
    }

    /// The position where bars begin.
    fn origin(&self) -> f64 {
        if self.logarithmic { 1.0 } else { 0.0 }
    }

    fn x(&self, value: f64) -> f64 {
        let position = if self.logarithmic {
            (value / self.least).log2() / (self.most / self.least).log2()
        } else {
            (value - self.least) / (self.most - self.least)
        };
        LEFT + position.clamp(0.0, 1.0) * (WIDTH - RIGHT - LEFT)
    }

    /// The ticks, at most about ten.
    fn ticks(&self) -> Vec<f64> {
        if self.logarithmic {
            let (low, high) = (self.least.log2() as i32, self.most.log2() as i32);
            let step = ((high - low) / 10 + 1).max(1);
            let first = low + (-low).rem_euclid(step); // so that 1 is among them
            let powers = (first..=high).step_by(step as usize);
            return powers.map(|power| f64::from(power).exp2()).collect();
        }
        let step = Self::step(self.most);
        let count = (self.most / step).round() as u32;
        (0..=count).map(|index| f64::from(index) * step).collect()
    }
}
