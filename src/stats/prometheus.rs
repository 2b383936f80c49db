//! The figures of a pool as text for Prometheus.

use super::{Histogram, PoolStats};
use std::collections::BTreeSet;
use std::fmt::{self, Write};

/// The bounds of the buckets that are written, as powers of two of nanoseconds: 256 ns to 69 s, each four times the one before.
const BOUNDS: std::ops::RangeInclusive<u32> = 8..=36;
const BOUND_STEP: usize = 2;

impl PoolStats {
    /// Writes the figures in the text format of Prometheus, version 0.0.4. Each sample has the `labels`.
    ///
    /// | metric | type | labels of its own |
    /// |---|---|---|
    /// | `heist_tasks_submitted_total`, `heist_steals_total`, `heist_parks_total`, `heist_wakeups_total`, `heist_lost_panics_total`, `heist_beyond_capacity_total`, `heist_start_failures_total` | counter | |
    /// | `heist_tasks_total` | counter | `outcome`: `completed`, `panicked`, `timed_out`, `cancelled` |
    /// | `heist_threads` | gauge | `state`: `active`, `idle`, `spare` |
    /// | `heist_workers`, `heist_queue_depth`, `heist_suspended_tasks` | gauge | |
    /// | `heist_busy_seconds_total`, `heist_executed_total`, `heist_stolen_total` | counter | `worker` |
    /// | `heist_worker_queue_depth` | gauge | `worker` |
    /// | `heist_queue_wait_seconds`, `heist_run_time_seconds` | histogram | `le` |
    ///
    /// Any text can be the value of a label. A name that is no name of a label is changed into one: other characters than ASCII letters, digits and
    /// `_` become `_`. If a name is taken, by a label of the metric itself or by an earlier one, it gets the prefix `exported_`.
    ///
    /// The counts of the histograms are those of the tasks that [`timing`](crate::ThreadPoolBuilder::timing) selects.
    ///
    /// # Errors
    ///
    /// Returns an error of `out`. A `String` has none.
    ///
    /// ```
    /// let pool = heist::ThreadPool::new()?;
    /// pool.submit(|| ()).join().unwrap();
    /// pool.wait_idle();
    /// let mut text = String::new();
    /// pool.stats().write_prometheus(&mut text, &[("pool", "main")])?;
    /// assert!(text.contains("heist_tasks_total{pool=\"main\",outcome=\"completed\"} 1\n"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn write_prometheus(&self, out: &mut impl Write, labels: &[(&str, &str)]) -> fmt::Result {
        let mut to = Exposition {
            out,
            labels: with_unique_names(labels),
        };
        self.write_totals(&mut to)?;
        to.counts(
            ("heist_tasks_total", "counter", "Tasks that have ended."),
            "outcome",
            [
                ("completed", self.completed),
                ("panicked", self.failed.saturating_sub(self.timed_out)),
                ("timed_out", self.timed_out),
                ("cancelled", self.cancelled),
            ],
        )?;
        to.counts(
            (
                "heist_threads",
                "gauge",
                "Threads that take part in the pool.",
            ),
            "state",
            [
                ("active", self.active),
                ("idle", self.idle),
                ("spare", self.spares),
            ],
        )?;
        self.write_gauges(&mut to)?;
        self.write_workers(&mut to)?;
        to.histogram(
            "heist_queue_wait_seconds",
            "How long tasks waited in queues.",
            &self.queue_wait,
        )?;
        to.histogram(
            "heist_run_time_seconds",
            "How long tasks ran.",
            &self.run_time,
        )
    }

    fn write_totals<W: Write>(&self, to: &mut Exposition<'_, W>) -> fmt::Result {
        let totals: [(&str, u64, &str); 7] = [
            (
                "heist_tasks_submitted_total",
                self.submitted,
                "Tasks that were made, including refused ones.",
            ),
            (
                "heist_steals_total",
                self.steals,
                "Forks and tasks that a thread took from another.",
            ),
            (
                "heist_parks_total",
                self.parks,
                "Times a thread went to sleep.",
            ),
            (
                "heist_wakeups_total",
                self.wakeups,
                "Threads that were woken or started for work.",
            ),
            (
                "heist_lost_panics_total",
                self.lost_panics,
                "Panics that no handle and no scope saw.",
            ),
            (
                "heist_beyond_capacity_total",
                self.beyond_capacity,
                "Tasks that the pool's own threads queued beyond the capacity.",
            ),
            (
                "heist_start_failures_total",
                self.start_failures,
                "Failed attempts to start a thread.",
            ),
        ];
        for (name, value, help) in totals {
            to.family(name, "counter", help)?;
            to.sample(name, None, value)?;
        }
        Ok(())
    }

    fn write_gauges<W: Write>(&self, to: &mut Exposition<'_, W>) -> fmt::Result {
        let gauges: [(&str, usize, &str); 3] = [
            (
                "heist_workers",
                self.threads,
                "The number of workers, started or not.",
            ),
            (
                "heist_queue_depth",
                self.queued,
                "Queue entries with something to run.",
            ),
            (
                "heist_suspended_tasks",
                self.suspended,
                "Futures that wait to be woken.",
            ),
        ];
        for (name, value, help) in gauges {
            to.family(name, "gauge", help)?;
            to.sample(name, None, value)?;
        }
        Ok(())
    }

    fn write_workers<W: Write>(&self, to: &mut Exposition<'_, W>) -> fmt::Result {
        let names: Vec<String> = (0..self.workers.len())
            .map(|index| index.to_string())
            .collect();
        let workers = || names.iter().map(String::as_str).zip(&self.workers);
        to.counts(
            (
                "heist_busy_seconds_total",
                "counter",
                "Time in which a worker was not looking for work.",
            ),
            "worker",
            workers().map(|(name, worker)| (name, worker.busy.as_secs_f64())),
        )?;
        to.counts(
            (
                "heist_executed_total",
                "counter",
                "Tasks and stolen forks that a worker has begun.",
            ),
            "worker",
            workers().map(|(name, worker)| (name, worker.executed)),
        )?;
        to.counts(
            (
                "heist_stolen_total",
                "counter",
                "Forks and tasks that a worker took from another thread.",
            ),
            "worker",
            workers().map(|(name, worker)| (name, worker.stolen)),
        )?;
        to.counts(
            (
                "heist_worker_queue_depth",
                "gauge",
                "Entries in a worker's own queues.",
            ),
            "worker",
            workers().map(|(name, worker)| (name, worker.queued)),
        )
    }
}

/// Text under way.
struct Exposition<'a, W> {
    out: &'a mut W,
    /// The user's labels, by names that are valid and different.
    labels: Vec<(String, &'a str)>,
}

impl<W: Write> Exposition<'_, W> {
    fn family(&mut self, name: &str, kind: &str, help: &str) -> fmt::Result {
        writeln!(self.out, "# HELP {name} {help}\n# TYPE {name} {kind}")
    }

    fn sample(
        &mut self,
        name: &str,
        own: Option<(&str, &str)>,
        value: impl fmt::Display,
    ) -> fmt::Result {
        self.out.write_str(name)?;
        let labels = self
            .labels
            .iter()
            .map(|(name, value)| (name.as_str(), *value));
        let mut separator = '{';
        for (label, value) in labels.chain(own) {
            write!(self.out, "{separator}{label}=\"")?;
            write_escaped(self.out, value)?;
            self.out.write_char('"')?;
            separator = ',';
        }
        if separator == ',' {
            self.out.write_char('}')?;
        }
        writeln!(self.out, " {value}")
    }

    /// Writes a family with one sample for each value of its own label.
    fn counts<'v, V: fmt::Display>(
        &mut self,
        (name, kind, help): (&str, &str, &str),
        label: &str,
        samples: impl IntoIterator<Item = (&'v str, V)>,
    ) -> fmt::Result {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return Ok(());
        }
        self.family(name, kind, help)?;
        samples.try_for_each(|(value, count)| self.sample(name, Some((label, value)), count))
    }

    fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) -> fmt::Result {
        self.family(name, "histogram", help)?;
        let bucket = format!("{name}_bucket");
        for power in BOUNDS.step_by(BOUND_STEP) {
            // A bound includes what is equal to it: the longest duration that is counted.
            let bound = ((1_u64 << power) - 1) as f64 / 1e9;
            let below = histogram.count_below(power);
            self.sample(&bucket, Some(("le", &bound.to_string())), below)?;
        }
        self.sample(&bucket, Some(("le", "+Inf")), histogram.count())?;
        let total = histogram.total.as_secs_f64();
        self.sample(&format!("{name}_sum"), None, total)?;
        self.sample(&format!("{name}_count"), None, histogram.count())
    }
}

fn write_escaped(out: &mut impl Write, value: &str) -> fmt::Result {
    for part in value.split_inclusive(['\\', '"', '\n']) {
        let escape = match part.as_bytes().last() {
            Some(b'\\') => "\\\\",
            Some(b'"') => "\\\"",
            Some(b'\n') => "\\n",
            _ => {
                out.write_str(part)?;
                continue;
            }
        };
        out.write_str(&part[..part.len() - 1])?;
        out.write_str(escape)?;
    }
    Ok(())
}

/// The labels that the metrics have themselves.
const OWN_LABELS: [&str; 4] = ["le", "outcome", "state", "worker"];

/// Makes valid and different names of those of the labels.
fn with_unique_names<'a>(labels: &[(&str, &'a str)]) -> Vec<(String, &'a str)> {
    let mut taken: BTreeSet<String> = OWN_LABELS.iter().map(|name| (*name).to_owned()).collect();
    let rename = |&(name, value): &(&str, &'a str)| {
        let mut valid: String = name
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
            .collect();
        let is_reserved = valid.starts_with("__");
        if is_reserved || !valid.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
            valid.insert_str(0, "exported_");
        }
        while !taken.insert(valid.clone()) {
            valid.insert_str(0, "exported_");
        }
        (valid, value)
    };
    labels.iter().map(rename).collect()
}
