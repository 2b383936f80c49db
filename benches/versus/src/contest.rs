//! Runs the contestants of a row in turn and keeps their samples.

use crate::{Options, report};
use serde::{Serialize, Serializer};
use std::path::Path;
use std::thread;
use std::time::Duration;

/// Between two contestants: what the last one left spinning has parked by then.
const SETTLE: Duration = Duration::from_millis(1);

/// The options and what was measured so far.
pub struct Bench {
    options: Options,
    /// Rows and facts, in the order of their measurement.
    pub results: Results,
}

/// All that was measured.
#[derive(Default, Serialize)]
pub struct Results {
    /// Timed rows.
    pub rows: Vec<RowResult>,
    /// Single figures.
    pub facts: Vec<Fact>,
}

/// The samples of one row.
#[derive(Serialize)]
pub struct RowResult {
    /// The name, by which targets and `--only` find it: what is run, then the number of threads.
    pub name: String,
    /// One sentence: what the row measures.
    pub about: String,
    /// What a sample is counted in.
    pub unit: Unit,
    /// The least that is possible, where known.
    pub ideal: Option<f64>,
    /// Whether the samples are single events, whose spread counts, and not repetitions of one work.
    pub is_distribution: bool,
    /// In the order of the row's table.
    pub contestants: Vec<Samples>,
}

/// The samples of one contestant in one row.
#[derive(Serialize)]
pub struct Samples {
    /// `serial`, `heist` or a peer's name.
    pub name: String,
    /// One per repetition, or per event, in the unit of the row.
    pub samples: Vec<f64>,
}

/// A figure that is counted, not timed in repetitions.
#[derive(Serialize)]
pub struct Fact {
    /// The name, by which targets and `--only` find it.
    pub name: String,
    /// Whose figure it is.
    pub contestant: String,
    /// The figure.
    pub value: f64,
    /// What it is counted in.
    pub unit: String,
}

/// What the samples of a row are counted in.
#[derive(Clone, Copy, Debug)]
pub enum Unit {
    /// Nanoseconds for each of the things named.
    NanosecondsPer(&'static str),
    /// Microseconds for each of the things named.
    MicrosecondsPer(&'static str),
    /// Milliseconds for the whole.
    Milliseconds,
}

/// A row before it is run.
pub struct Row<'a> {
    about: String,
    unit: Unit,
    ideal: Ideal,
    is_distribution: bool,
    contestants: Vec<Contestant<'a>>,
}

/// The least that is possible.
enum Ideal {
    Unknown,
    /// In the unit of the row.
    Known(f64),
    /// The fastest serial run, divided among this many threads.
    SerialOver(usize),
}

struct Contestant<'a> {
    name: &'static str,
    units: u64,
    /// What took how long: one duration, or one for each event.
    run: Box<dyn FnMut() -> Vec<Duration> + 'a>,
}

impl Bench {
    /// A bench without results.
    pub fn new(options: Options) -> Self {
        Self {
            options,
            results: Results::default(),
        }
    }

    /// Whether inputs are to be small.
    pub fn is_quick(&self) -> bool {
        self.options.quick
    }

    /// `full`, or `quick` with `--quick`.
    pub fn pick<T>(&self, full: T, quick: T) -> T {
        if self.options.quick { quick } else { full }
    }

    /// Timed repetitions of each contestant.
    pub fn repetitions(&self) -> usize {
        self.options.reps.unwrap_or(self.pick(11, 5))
    }

    /// Where the samples go.
    pub fn json_path(&self) -> Option<&Path> {
        self.options.json.as_deref()
    }

    /// The thread counts of a row: what the user said, else the row's own.
    pub fn threads_or(&self, own: &[usize]) -> Vec<usize> {
        self.options.threads.clone().unwrap_or_else(|| own.to_vec())
    }

    /// Whether `--only` lets this name through.
    pub fn wants(&self, name: &str) -> bool {
        self.options
            .only
            .as_deref()
            .is_none_or(|part| name.contains(part))
    }

    /// Builds the row, if it is wanted, runs it and prints it.
    pub fn row<'a>(&mut self, name: &str, build: impl FnOnce(&Self) -> Row<'a>) {
        if !self.wants(name) {
            return;
        }
        let result = build(self).race(name, self.repetitions());
        report::print_row(&result);
        self.results.rows.push(result);
    }

    /// Keeps and prints a figure.
    pub fn fact(&mut self, name: &str, contestant: &str, value: f64, unit: &str) {
        let fact = Fact {
            name: name.to_string(),
            contestant: contestant.to_string(),
            value,
            unit: unit.to_string(),
        };
        report::print_fact(&fact);
        self.results.facts.push(fact);
    }
}

impl<'a> Row<'a> {
    /// A row without contestants.
    pub fn new(about: impl Into<String>, unit: Unit) -> Self {
        Self {
            about: about.into(),
            unit,
            ideal: Ideal::Unknown,
            is_distribution: false,
            contestants: Vec::new(),
        }
    }

    /// States the least that is possible.
    pub fn ideal(mut self, ideal: Duration) -> Self {
        self.ideal = Ideal::Known(self.unit.of(ideal, 1));
        self
    }

    /// States that the least that is possible is the serial time divided among `threads` threads.
    pub fn ideal_is_serial_over(mut self, threads: usize) -> Self {
        self.ideal = Ideal::SerialOver(threads);
        self
    }

    /// Adds a contestant. `run` does `units` units of work once and returns how long that took.
    pub fn add(
        &mut self,
        name: &'static str,
        units: u64,
        mut run: impl FnMut() -> Duration + 'a,
    ) -> &mut Self {
        self.contestants.push(Contestant {
            name,
            units,
            run: Box::new(move || vec![run()]),
        });
        self
    }

    /// Adds a contestant whose events are timed one by one. `run` returns how long each took; all repetitions' events
    /// together are its samples.
    pub fn add_events(
        &mut self,
        name: &'static str,
        run: impl FnMut() -> Vec<Duration> + 'a,
    ) -> &mut Self {
        self.is_distribution = true;
        self.contestants.push(Contestant {
            name,
            units: 1,
            run: Box::new(run),
        });
        self
    }

    /// One untimed round, then `repetitions` rounds, each beginning with the next contestant.
    fn race(mut self, name: &str, repetitions: usize) -> RowResult {
        let mut samples = vec![Vec::with_capacity(repetitions); self.contestants.len()];
        let count = self.contestants.len();
        for round in 0..=repetitions {
            for turn in 0..count {
                let index = (round + turn) % count;
                let contestant = &mut self.contestants[index];
                thread::sleep(SETTLE);
                let durations = (contestant.run)();
                if round > 0 {
                    let units = contestant.units;
                    samples[index].extend(durations.iter().map(|&d| self.unit.of(d, units)));
                }
            }
        }
        let contestants: Vec<Samples> = self
            .contestants
            .iter()
            .zip(samples)
            .map(|(contestant, samples)| Samples {
                name: contestant.name.to_string(),
                samples,
            })
            .collect();
        let ideal = match self.ideal {
            Ideal::Unknown => None,
            Ideal::Known(ideal) => Some(ideal),
            Ideal::SerialOver(threads) => contestants
                .iter()
                .find(|contestant| contestant.name == "serial")
                .map(|serial| serial.min() / threads as f64),
        };
        RowResult {
            name: name.to_string(),
            about: self.about,
            unit: self.unit,
            ideal,
            is_distribution: self.is_distribution,
            contestants,
        }
    }
}

impl Unit {
    fn of(self, duration: Duration, units: u64) -> f64 {
        let scale = match self {
            Unit::NanosecondsPer(_) => 1e9,
            Unit::MicrosecondsPer(_) => 1e6,
            Unit::Milliseconds => 1e3,
        };
        duration.as_secs_f64() * scale / units as f64
    }
}

impl Serialize for Unit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Results {
    /// Whether nothing was measured.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.facts.is_empty()
    }

    /// The row of this name.
    pub fn row(&self, name: &str) -> Option<&RowResult> {
        self.rows.iter().find(|row| row.name == name)
    }

    /// A contestant's fact of this name.
    pub fn fact(&self, name: &str, contestant: &str) -> Option<f64> {
        self.facts
            .iter()
            .find(|fact| fact.name == name && fact.contestant == contestant)
            .map(|fact| fact.value)
    }
}

impl RowResult {
    /// The samples of a contestant.
    pub fn contestant(&self, name: &str) -> Option<&Samples> {
        self.contestants
            .iter()
            .find(|contestant| contestant.name == name)
    }
}

impl Samples {
    /// The smallest sample.
    pub fn min(&self) -> f64 {
        self.samples.iter().copied().fold(f64::INFINITY, f64::min)
    }

    /// The middle sample; of an even number, the mean of the two in the middle.
    pub fn median(&self) -> f64 {
        let sorted = self.sorted();
        let middle = sorted.len() / 2;
        if sorted.len() % 2 == 1 {
            sorted[middle]
        } else {
            (sorted[middle - 1] + sorted[middle]) / 2.0
        }
    }

    /// The sample that 99 of 100 do not exceed.
    pub fn p99(&self) -> f64 {
        let sorted = self.sorted();
        sorted[(sorted.len() * 99).div_ceil(100) - 1]
    }

    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.samples.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        sorted
    }
}
