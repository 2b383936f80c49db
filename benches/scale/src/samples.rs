//! Repeated measurements.

use crate::table::figure;

/// The samples of one row.
#[derive(Clone, Debug, Default)]
pub struct Samples(Vec<f64>);

impl Samples {
    /// Adds a sample.
    pub fn push(&mut self, sample: f64) {
        self.0.push(sample);
    }

    /// Minimum and median, as two cells of a table. Both are `-` where there is no sample.
    pub fn cells(&self) -> [String; 2] {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let cell = |index: usize| sorted.get(index).map_or("-".to_owned(), |at| figure(*at));
        [cell(0), cell(sorted.len() / 2)]
    }
}

impl FromIterator<f64> for Samples {
    fn from_iter<I: IntoIterator<Item = f64>>(samples: I) -> Self {
        Samples(samples.into_iter().collect())
    }
}
