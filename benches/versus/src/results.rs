//! The measured rows and facts, and the statistics of their samples.

use serde::{Serialize, Serializer};
use std::fmt;
use std::time::Duration;

/// Everything that was measured.
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
    /// What the row measures, in one sentence.
    pub about: String,
    /// What a sample is counted in.
    pub unit: Unit,
    /// The least value that is possible, where known.
    pub ideal: Option<f64>,
    /// Whether each sample is a single event. Then the spread counts too; else samples are repetitions of one piece of work.
    pub is_distribution: bool,
    /// The contestants, in the order of the row's table.
    pub contestants: Vec<Samples>,
}

/// The samples of one contestant in one row.
#[derive(Serialize)]
pub struct Samples {
    /// `serial`, `heist` or a peer's name.
    pub name: String,
    /// One sample for each repetition, or for each event, in the unit of the row.
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

impl fmt::Display for Unit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unit::NanosecondsPer(what) => write!(formatter, "ns/{what}"),
            Unit::MicrosecondsPer(what) => write!(formatter, "us/{what}"),
            Unit::Milliseconds => formatter.write_str("ms"),
        }
    }
}

impl Unit {
    /// Converts the duration of `units` things to this unit.
    pub fn of(self, duration: Duration, units: u64) -> f64 {
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
