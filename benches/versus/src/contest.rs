//! Runs the contestants of a row in turn and keeps their samples.

use crate::options::Options;
use crate::report;
use crate::results::{Fact, Results, RowResult, Samples, Unit};
use std::path::Path;
use std::thread;
use std::time::Duration;

/// The pause between two contestants, in which the threads of the last one park.
const SETTLE: Duration = Duration::from_millis(1);

/// The options and the results so far.
pub struct Bench {
    options: Options,
    /// Rows and facts, in the order of their measurement.
    pub results: Results,
}

/// A row before it is run.
pub struct Row<'a> {
    about: String,
    unit: Unit,
    ideal: Ideal,
    is_distribution: bool,
    contestants: Vec<Contestant<'a>>,
}

/// The least time that is possible.
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
    /// Runs once and returns one duration, or one for each event.
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

    /// The file to write the samples to.
    pub fn json_path(&self) -> Option<&Path> {
        self.options.json.as_deref()
    }

    /// The thread counts of a row: those of `--threads`, or else the row's own.
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

    /// Builds, runs and prints the row if it is wanted.
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

    /// Adds a contestant whose events are timed one by one. `run` returns how long each took. The events of all repetitions
    /// are its samples.
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

    /// Runs one untimed round, then `repetitions` timed rounds. Each round begins with the next contestant.
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
