//! What the messages and the end of a worker mean for the jobs that it has.

use super::call::Job;
use super::codec;
use super::member::{Phase, Verdict};
use super::os::SIGKILL;
use super::state::{Effects, Gate, KILLED, OWN_FAILURE, State, What};
use super::wire::{self, Reader, Rubbish};
use crate::Lost;
use crate::executor::remote::Failure;
use std::time::Duration;

impl State {
    /// Takes a message of a worker into account. `base` is the place of the message in the buffer.
    pub(super) fn message(
        &mut self,
        id: u64,
        base: usize,
        message: &[u8],
        effects: &mut Effects,
    ) -> Result<(), Rubbish> {
        let Some(index) = self.members.iter().position(|member| member.id == id) else {
            return Ok(());
        };
        let mut read = Reader(message);
        match (read.u8()?, self.members[index].phase) {
            (wire::HELLO, Phase::Starting(_)) if read.u32()? == wire::VERSION => {
                let preparation = &self.settings.preparation;
                self.members[index]
                    .send_message(wire::INIT, |out| out.extend_from_slice(preparation));
            }
            (wire::READY, Phase::Starting(_)) => {
                self.members[index].phase = Phase::Ready;
                self.members[index].was_ready = true;
                self.has_worked = true;
                self.failures = 0;
                self.start_after = None;
                self.trouble = None;
            }
            (wire::INIT_FAILED, Phase::Starting(_)) => {
                let (tag, bytes) = read.outcome()?;
                self.trouble = Some(init_text(tag, bytes).into());
                self.members[index].kill(Some(Verdict::Unprepared));
            }
            (wire::RESULTS, _) => self.results(index, base, message, read, effects)?,
            _ => return Err(Rubbish),
        }
        Ok(())
    }

    /// Kills a worker that does not keep to the protocol.
    pub(super) fn kill_for_rubbish(&mut self, id: u64) {
        if let Some(member) = self.members.iter_mut().find(|member| member.id == id) {
            member.kill(Some(Verdict::Rubbish));
        }
    }

    fn results(
        &mut self,
        index: usize,
        base: usize,
        message: &[u8],
        mut read: Reader<'_>,
        effects: &mut Effects,
    ) -> Result<(), Rubbish> {
        let (first, count) = (read.u64()?, read.u32()?);
        let time = Duration::from_nanos(read.u64()?);
        let end = first.checked_add(u64::from(count)).ok_or(Rubbish)?;
        // A message concerns one job. The time comes before the outcome that may be the last one.
        if let Some(flight) = self.members[index].flights.front()
            && flight.job.end > 1
        {
            effects.push(&flight.job, 0, What::Ran(time));
        }
        // The worker has measured the time. This thread may notice too late that a limit has passed. A job with a time limit has one item.
        let limit = self.members[index].limit();
        let is_late = limit.is_some_and(|limit| limit <= time);
        for number in first..end {
            let (tag, bytes) = read.outcome()?;
            let stop = base + message.len() - read.0.len();
            let place = stop - bytes.len()..stop;
            let what = match is_late {
                true => What::Failure(Failure::Timeout),
                false => What::Sent(tag, place),
            };
            self.outcome(index, number, tag, what, effects)?;
        }
        if !read.0.is_empty() {
            return Err(Rubbish);
        }
        self.members[index].has_sent();
        Ok(())
    }

    /// Takes one outcome into account. The only failure is that the item has missed its time limit.
    fn outcome(
        &mut self,
        index: usize,
        number: u64,
        tag: u8,
        what: What,
        effects: &mut Effects,
    ) -> Result<(), Rubbish> {
        let member = &mut self.members[index];
        let (item, job, is_last) = member.outcome(number)?;
        match tag {
            _ if job.ends.is_cancelled() => self.totals.cancelled += 1,
            _ if matches!(what, What::Failure(_)) => {
                self.totals.failed += 1;
                self.totals.timed_out += 1;
            }
            wire::VALUE => self.totals.completed += 1,
            wire::UNKNOWN | wire::BAD_ARGS => self.totals.cancelled += 1,
            _ => self.totals.failed += 1,
        }
        effects.ended += 1;
        effects.push(job, item, what);
        if is_last {
            effects.trash.extend(member.pop_done());
        }
        Ok(())
    }

    /// Takes the end of a worker into account that was never ready for calls.
    fn ended_early(&mut self, verdict: Option<Verdict>, signal: Option<i32>, code: Option<i32>) {
        let (text, points) = match verdict {
            Some(Verdict::Unprepared) => (self.trouble.take(), OWN_FAILURE),
            Some(_) => (
                Some("a worker did not say hello in time".into()),
                OWN_FAILURE,
            ),
            None if signal == Some(SIGKILL) => (None, KILLED),
            None => (None, OWN_FAILURE),
        };
        let text = text.unwrap_or_else(|| died_text(signal, code).into());
        self.start_failed(text, points);
    }

    /// Takes the end of a worker into account, whose socket was read to its end. Returns the failures that are to be reported.
    pub(super) fn buried(
        &mut self,
        id: u64,
        (signal, code): (Option<i32>, Option<i32>),
        effects: &mut Effects,
    ) {
        let Some(index) = self.members.iter().position(|member| member.id == id) else {
            return;
        };
        self.take_saved(index, effects);
        let mut member = self.members.swap_remove(index);
        if !member.was_ready && self.gate != Gate::Closed {
            self.ended_early(member.verdict, signal, code);
        }
        let running = member.running_number();
        let mut rest = Vec::new();
        for mut flight in std::mem::take(&mut member.flights) {
            // Usually only the first item has begun. Others have, and have no outcome, if the worker has destroyed what it had saved.
            while let Some(running) = running
                && flight.first <= running
                && flight.job.items() > 0
            {
                let job = &mut flight.job;
                if flight.first == running && self.may_retry(job, member.verdict) {
                    job.starts += 1;
                    self.totals.retried += 1;
                    break;
                }
                let verdict = member.verdict.filter(|_| flight.first == running);
                let lost = Lost::new(member.pid, signal, code, job.starts + 1);
                self.fail_running(job, verdict, lost, effects);
                flight.first += 1;
            }
            if flight.job.items() > 0 {
                rest.push(flight.job);
            } else {
                effects.trash.push(flight.job);
            }
        }
        self.requeue(rest);
        if self.gate == Gate::Closed || self.is_stopping {
            self.drop_queued(effects);
        }
    }

    /// Whether a job is started again whose worker has ended while it ran its first item.
    fn may_retry(&self, job: &Job, verdict: Option<Verdict>) -> bool {
        let ended_by_us = matches!(verdict, Some(Verdict::Timeout | Verdict::Cancelled));
        let is_wanted = !self.is_stopping && !job.ends.is_cancelled();
        is_wanted && !ended_by_us && job.starts + 1 < job.tries
    }

    /// Ends the first item of a job whose worker has ended while it ran that item.
    fn fail_running(
        &mut self,
        job: &mut Job,
        verdict: Option<Verdict>,
        lost: Lost,
        effects: &mut Effects,
    ) {
        let totals = &mut self.totals;
        let (failure, total) = match verdict {
            Some(Verdict::Timeout) => (Failure::Timeout, &mut totals.timed_out),
            Some(Verdict::Cancelled) => (Failure::ShutDown, &mut totals.cancelled),
            _ => (Failure::Lost(lost), &mut totals.lost),
        };
        if job.ends.is_cancelled() {
            totals.cancelled += 1;
        } else {
            *total += 1;
            totals.failed += u64::from(!matches!(failure, Failure::ShutDown));
        }
        effects.ended += 1;
        let item = job.advance();
        effects.push(job, item, What::Failure(failure));
    }

    /// The outcomes that a worker had saved when it ended.
    fn take_saved(&mut self, index: usize, effects: &mut Effects) {
        let (first, saved) = self.members[index].saved();
        let expected = self.members[index]
            .flights
            .front()
            .map(|flight| flight.first);
        if expected != Some(first) {
            return;
        }
        // The worker was killed because this item had missed its limit. It ended meanwhile, and too late all the same.
        let is_late = self.members[index].verdict == Some(Verdict::Timeout);
        let mut read = Reader(&saved);
        let mut number = first;
        while let Ok((tag, bytes)) = read.outcome() {
            let what = match is_late {
                true => What::Failure(Failure::Timeout),
                false => What::Saved(tag, bytes.to_vec()),
            };
            if self.outcome(index, number, tag, what, effects).is_err() {
                return;
            }
            number += 1;
        }
    }
}

fn init_text(tag: u8, bytes: &[u8]) -> String {
    let why = match codec::decode_failure(tag, bytes) {
        Some(text) => format!("panicked: {text}"),
        None if tag == wire::UNKNOWN => {
            "is not known to the worker: register it before `heist::init`".to_owned()
        }
        None => String::from_utf8_lossy(bytes).into_owned(),
    };
    format!("the task that prepares a worker {why}")
}

fn died_text(signal: Option<i32>, code: Option<i32>) -> String {
    let how = match (signal, code) {
        (Some(signal), _) => format!("died of signal {signal}"),
        (None, Some(code)) => format!("exited with code {code}"),
        (None, None) => "ended".to_owned(),
    };
    format!(
        "a worker {how} before it was ready: does the program call `heist::init()` first in `main`, or in the test \
         that `worker_args` names?"
    )
}
