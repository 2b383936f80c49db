//! Charts of the simulation, as SVG files.

use crate::simulate::Point;
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;
use std::error::Error;
use std::path::Path;

/// Width and height of a chart, in pixels.
const SIZE: (u32, u32) = (900, 560);

/// One line of a chart: a policy's name and its values by the number of workers.
type Line = (String, Vec<(f64, f64)>);

/// What a chart shows.
struct Chart {
    title: String,
    unit: &'static str,
    /// Where no line is.
    legend: SeriesLabelPosition,
    lines: Vec<Line>,
}

/// Draws both charts into a folder, which is made if needed. `program` says what was simulated, for each worker `per_worker_ms`.
pub fn draw(
    folder: &Path,
    program: &str,
    per_worker_ms: f64,
    points: &[Point],
) -> Result<(), Box<dyn Error>> {
    std::fs::create_dir_all(folder)?;
    let about = format!("{program}, {per_worker_ms} ms a worker");
    let file = |name: &str| folder.join(format!("{name}-{per_worker_ms}ms.svg"));
    let efficiency = Chart {
        title: format!("Efficiency: {about}"),
        unit: "work / (workers x time)",
        legend: SeriesLabelPosition::LowerLeft,
        lines: lines(points, |point| Some(point.efficiency)),
    };
    efficiency.draw(&file("efficiency"), 0.0..1.0)?;
    // With two workers the thread that runs the program is half of them.
    let busy = |point: &Point| point.half_busy_us.filter(|time| *time > 0.0);
    let ramp_up = Chart {
        title: format!("Time until half of the workers are busy: {about}"),
        unit: "us",
        legend: SeriesLabelPosition::UpperLeft,
        lines: lines(points, busy),
    };
    let times = ramp_up.lines.iter().flat_map(|(_, values)| values);
    let most = times.map(|value| value.1).fold(100.0, f64::max);
    ramp_up.draw(&file("ramp-up"), (10.0..2.0 * most).log_scale())
}

/// The values of each policy, in the order in which they come first.
fn lines(points: &[Point], value: impl Fn(&Point) -> Option<f64>) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for point in points {
        let index = lines.iter().position(|(name, _)| *name == point.policy);
        let index = index.unwrap_or_else(|| {
            lines.push((point.policy.clone(), Vec::new()));
            lines.len() - 1
        });
        if let Some(value) = value(point) {
            lines[index].1.push((point.threads as f64, value));
        }
    }
    lines
}

impl Chart {
    fn draw<Y>(&self, path: &Path, range: Y) -> Result<(), Box<dyn Error>>
    where
        Y: AsRangedCoord<Value = f64>,
        Y::CoordDescType: ValueFormatter<f64>,
    {
        let root = SVGBackend::new(path, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        let values = self.lines.iter().flat_map(|(_, values)| values);
        let most = values.map(|value| value.0).fold(4.0, f64::max);
        let mut chart = ChartBuilder::on(&root)
            .caption(&self.title, ("sans-serif", 20))
            .margin(14)
            .x_label_area_size(44)
            .y_label_area_size(64)
            .build_cartesian_2d((2.0..most).log_scale().base(2.0), range)?;
        chart
            .configure_mesh()
            .x_desc("workers")
            .y_desc(self.unit)
            .x_label_formatter(&|count| format!("{count:.0}"))
            .light_line_style(TRANSPARENT)
            .draw()?;
        for (index, (name, values)) in self.lines.iter().enumerate() {
            let style = Palette99::pick(index).to_rgba().stroke_width(2);
            let line = LineSeries::new(values.iter().copied(), style).point_size(3);
            let drawn = chart.draw_series(line)?.label(name);
            drawn.legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
        }
        chart
            .configure_series_labels()
            .position(self.legend.clone())
            .background_style(WHITE)
            .border_style(BLACK)
            .draw()?;
        root.present()?;
        Ok(())
    }
}
