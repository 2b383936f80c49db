//! What a page says about a program on other numbers of processors.

/// The work and span of a program, for the page's box.
#[derive(Clone, Debug, Default)]
pub(crate) struct ProfileData {
    /// The time of all its parts, in nanoseconds.
    pub(crate) work: u64,
    /// The longest chain of parts that wait for each other, in nanoseconds: at least, and at most.
    pub(crate) span: (u64, u64),
    /// The span with the cost of stealing.
    pub(crate) burdened_span: u64,
    /// How much faster it was than its work, on how many threads.
    pub(crate) measured: Option<(usize, f64)>,
    /// The speed-up by the number of processors, in ascending order.
    pub(crate) curve: Vec<Curve>,
    /// The sites on the critical path with their time there in nanoseconds, the largest first.
    pub(crate) critical_path: Vec<(String, u64)>,
    /// The sites with the speed-up of the whole program if they took half the time.
    pub(crate) what_if: Vec<(String, f64)>,
}

/// A point of the speed-up curve.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Curve {
    pub(crate) processors: u32,
    /// What no schedule exceeds.
    pub(crate) upper: f64,
    /// What a greedy schedule with the cost of stealing reaches at least.
    pub(crate) lower: f64,
    pub(crate) simulated: f64,
}

impl ProfileData {
    /// How many times as fast the program could be: at least, and at most.
    pub(crate) fn parallelism(&self) -> (f64, f64) {
        let ratio = |span: u64| self.work as f64 / span.max(1) as f64;
        (ratio(self.span.1), ratio(self.span.0))
    }

    /// The number of processors with which the simulated speed-up reaches nine tenths of its highest.
    pub(crate) fn enough(&self) -> Option<u32> {
        let highest = self.curve.iter().map(|point| point.simulated);
        let highest = highest.fold(0.0, f64::max);
        let enough = self
            .curve
            .iter()
            .find(|point| point.simulated >= 0.9 * highest);
        enough.map(|point| point.processors)
    }
}
