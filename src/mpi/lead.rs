//! What rank 0 does: it gives work to the other ranks, and takes their answers.
//!
//! A rank has one job at a time: a call, or a chunk of a stream. So when a rank dies, exactly that job may have begun, and all others can run elsewhere.
//!
//! **Invariant.** Nothing of the user's runs under the lock.

use super::channel::Channel;
use super::message::{Answer, Order, read, write};
use super::serve::Pauses;
use super::sys::{Dead, Library};
use crate::executor::remote::Failure;
use crate::process::{Defaults, Format, Job, Outcome, tag};
use crate::sync::{Mutex, lock};
use crate::unwind;
use crate::{ExecutorStats, Lost, TaskId};
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, MutexGuard};
use std::time::{Duration, Instant};

/// How often a rank 0 that has nothing to do looks whether the others live.
const IDLE: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    Open,
    /// No calls are accepted. What there is runs.
    Leaving,
    Over,
}

/// The job of a rank.
struct Active {
    number: u64,
    job: Job,
    deadline: Option<Instant>,
    /// The call's handles have resolved, because its time had passed.
    is_over: bool,
    /// The rank knows that it is cancelled.
    is_told: bool,
}

#[derive(Default)]
struct Member {
    is_dead: bool,
    active: Option<Active>,
}

pub(super) struct State {
    lanes: [VecDeque<Job>; 3],
    members: Vec<Member>,
    pub(super) gate: Gate,
    totals: ExecutorStats,
    /// Handles were cancelled.
    has_cancels: bool,
    /// Everything that runs is to be cancelled.
    is_urgent: bool,
    next: u64,
}

pub(super) struct Lead {
    state: Mutex<State>,
    /// Notified when there is work, and when something has ended.
    changed: Condvar,
    pub(super) defaults: Defaults,
}

impl State {
    pub(super) fn alive(&self) -> usize {
        self.members.iter().filter(|member| !member.is_dead).count()
    }

    pub(super) fn queued(&self) -> usize {
        let jobs = self.lanes.iter().flatten();
        jobs.map(|job| job.items() as usize).sum()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.lanes.iter().all(VecDeque::is_empty) && self.active().next().is_none()
    }

    fn active(&self) -> impl Iterator<Item = &Active> {
        self.members
            .iter()
            .filter_map(|member| member.active.as_ref())
    }

    pub(super) fn running(&self) -> Vec<(TaskId, Option<Arc<str>>)> {
        self.active()
            .map(|active| (active.job.ends.id(), Some(active.job.name())))
            .collect()
    }

    fn pop(&mut self) -> Option<Job> {
        self.lanes.iter_mut().find_map(VecDeque::pop_front)
    }
}

/// Ends all items of a job with the same failure.
fn fail(mut job: Job, failure: impl Fn() -> Failure) {
    while job.items() > 0 {
        let index = job.advance();
        let end = || {
            job.ends
                .end(index, Outcome::Failure(failure()), &|| job.name())
        };
        unwind::catch(end).unwrap_or_else(unwind::drop_quietly);
    }
    unwind::drop_quietly(job);
}

impl Lead {
    pub(super) fn new(size: u32) -> Self {
        let state = State {
            lanes: Default::default(),
            members: (1..size).map(|_| Member::default()).collect(),
            gate: Gate::Open,
            totals: ExecutorStats::default(),
            has_cancels: false,
            is_urgent: false,
            next: 0,
        };
        Lead {
            state: Mutex::new(state),
            changed: Condvar::new(),
            defaults: Defaults::default(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    pub(super) fn note_refused(&self, items: u32) {
        let totals = &mut self.lock().totals;
        totals.submitted += u64::from(items);
        totals.cancelled += u64::from(items);
    }

    pub(super) fn submit(self: &Arc<Self>, job: Job) {
        let lead = Arc::downgrade(self);
        let on_cancel = move || {
            if let Some(lead) = lead.upgrade() {
                lead.lock().has_cancels = true;
                lead.changed.notify_all();
            }
        };
        let (lead, id) = (Arc::downgrade(self), job.ends.id());
        let runs = move || {
            let lead = lead.upgrade();
            let is_it = |active: &Active| active.job.ends.id() == id;
            lead.is_some_and(|lead| lead.lock().active().any(is_it))
        };
        job.ends.watch(Box::new(on_cancel), Some(Arc::new(runs)));
        let mut state = self.lock();
        state.totals.submitted += u64::from(job.items());
        if state.gate != Gate::Open || state.alive() == 0 {
            state.totals.cancelled += u64::from(job.items());
            let is_closed = state.gate != Gate::Open;
            drop(state);
            return job.refuse(|| {
                if is_closed {
                    Failure::Closed
                } else {
                    none_left()
                }
            });
        }
        let lane = match job.priority {
            crate::Priority::High => 0,
            crate::Priority::Normal => 1,
            crate::Priority::Low => 2,
        };
        state.lanes[lane].push_back(job);
        drop(state);
        self.changed.notify_all();
    }

    pub(super) fn stats(&self) -> ExecutorStats {
        let state = self.lock();
        ExecutorStats {
            workers: state.alive(),
            active: state.active().count(),
            queued: state.queued(),
            ..state.totals.clone()
        }
    }

    /// Waits until `done` is true, or the time has come. Returns whether it is true.
    pub(super) fn wait_until(&self, until: Option<Instant>, done: impl Fn(&State) -> bool) -> bool {
        let mut state = self.lock();
        while !done(&state) {
            let left = until.map_or(IDLE, |until| {
                until.saturating_duration_since(Instant::now())
            });
            if left.is_zero() {
                return false;
            }
            let waited = self.changed.wait_timeout(state, left.min(IDLE));
            state = waited.unwrap_or_else(|poison| poison.into_inner()).0;
        }
        true
    }

    /// Accepts no more calls, and ends when those that there are have ended.
    pub(super) fn leave(&self) {
        let mut state = self.lock();
        if state.gate == Gate::Open {
            state.gate = Gate::Leaving;
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Drops what is queued, and cancels what runs. Returns how many calls were dropped.
    pub(super) fn drop_all(&self) -> usize {
        let mut state = self.lock();
        state.gate = match state.gate {
            Gate::Over => Gate::Over,
            _ => Gate::Leaving,
        };
        state.is_urgent = true;
        let jobs: Vec<Job> = state.lanes.iter_mut().flat_map(std::mem::take).collect();
        let dropped: usize = jobs.iter().map(|job| job.items() as usize).sum();
        state.totals.cancelled += dropped as u64;
        drop(state);
        for job in jobs {
            fail(job, || Failure::ShutDown);
        }
        self.changed.notify_all();
        dropped
    }

    /// MPI has ended.
    pub(super) fn end(&self) {
        self.lock().gate = Gate::Over;
        self.changed.notify_all();
    }

    /// The thread of MPI: works until all is done and no more comes.
    pub(super) fn run(self: &Arc<Self>, library: &'static Library) {
        let members = self.lock().members.len();
        let ranks = 1..=u32::try_from(members).unwrap_or(u32::MAX);
        let mut channels: Vec<Channel> = ranks.map(Channel::new).collect();
        let mut pauses = Pauses::new();
        loop {
            let mut has_moved = false;
            for (index, channel) in channels.iter_mut().enumerate() {
                if self.lock().members[index].is_dead {
                    continue;
                }
                match self.turn(index, channel, library) {
                    Ok(moved) => has_moved |= moved,
                    Err(Dead) => {
                        self.bury(index);
                        has_moved = true;
                    }
                }
            }
            self.sweep();
            if has_moved {
                pauses = Pauses::new();
                continue;
            }
            let state = self.lock();
            if state.is_idle() && state.gate == Gate::Leaving {
                break;
            }
            let pause = match state.is_idle() {
                true => Some(IDLE),
                false => pauses.next(),
            };
            match pause {
                Some(pause) => drop(self.changed.wait_timeout(state, pause)),
                None => {
                    drop(state);
                    std::thread::yield_now();
                }
            }
        }
        self.part(&mut channels, library);
    }

    /// Looks once at a rank: what it has sent, what it is to know, what it can do next. Returns whether there was something.
    fn turn(&self, index: usize, channel: &mut Channel, library: &Library) -> Result<bool, Dead> {
        let mut has_moved = false;
        while let Some(message) = channel.receive(library)? {
            has_moved = true;
            if let Some(Answer::Done {
                number,
                ran,
                outcomes,
            }) = read(&message)
            {
                self.done(index, number, ran, &outcomes);
            }
        }
        let mut state = self.lock();
        let is_urgent = state.is_urgent;
        if let Some(active) = &mut state.members[index].active {
            let is_late = active
                .deadline
                .is_some_and(|deadline| deadline <= Instant::now());
            let is_unwanted = is_late || is_urgent || active.job.ends.is_cancelled();
            let tell = (is_unwanted && !active.is_told).then_some(active.number);
            active.is_told |= is_unwanted;
            let expired = (is_late && !active.is_over).then(|| Arc::clone(&active.job.ends));
            active.is_over |= is_late;
            let (item, name) = (active.job.next, active.job.name());
            if expired.is_some() {
                state.totals.failed += 1;
                state.totals.timed_out += 1;
            }
            drop(state);
            if let Some(ends) = expired {
                let end = || {
                    ends.end(item, Outcome::Failure(Failure::Timeout), &|| {
                        Arc::clone(&name)
                    })
                };
                unwind::catch(end).unwrap_or_else(unwind::drop_quietly);
            }
            if let Some(number) = tell {
                channel.send(library, &write(&Order::Cancel(number)))?;
            }
            return Ok(has_moved || tell.is_some());
        }
        let Some(mut job) = state.pop() else {
            return Ok(has_moved);
        };
        let number = state.next;
        state.next += 1;
        job.starts += 1;
        let message = work(number, &job);
        state.members[index].active = Some(Active {
            number,
            deadline: job.timeout().map(|timeout| Instant::now() + timeout),
            job,
            is_over: false,
            is_told: false,
        });
        drop(state);
        channel.send(library, &message)?;
        Ok(true)
    }

    /// Takes the outcomes of a job.
    fn done(&self, index: usize, number: u64, ran: u64, outcomes: &[(u8, &[u8])]) {
        let mut state = self.lock();
        let Some(active) = state.members[index]
            .active
            .take_if(|active| active.number == number)
        else {
            return;
        };
        let mut job = active.job;
        if active.is_over {
            drop(state);
            self.changed.notify_all();
            return unwind::drop_quietly(job);
        }
        let is_cancelled = job.ends.is_cancelled();
        let ran = Duration::from_nanos(ran);
        // The rank has measured the time. This thread may notice too late that a limit has passed.
        let is_late = job.timeout().is_some_and(|limit| limit <= ran);
        for (tag, _) in outcomes {
            match *tag {
                _ if is_cancelled => state.totals.cancelled += 1,
                _ if is_late => {
                    state.totals.failed += 1;
                    state.totals.timed_out += 1;
                }
                tag::VALUE => state.totals.completed += 1,
                tag::UNKNOWN | tag::BAD_ARGS => state.totals.cancelled += 1,
                _ => state.totals.failed += 1,
            }
        }
        drop(state);
        job.ends.ran(ran);
        for (tag, bytes) in outcomes {
            let item = job.advance();
            let outcome = match is_late {
                true => Outcome::Failure(Failure::Timeout),
                false => Outcome::Sent(Format::Compact, *tag, bytes),
            };
            let end = || job.ends.end(item, outcome, &|| job.name());
            unwind::catch(end).unwrap_or_else(unwind::drop_quietly);
        }
        unwind::drop_quietly(job);
        self.changed.notify_all();
    }

    /// Takes the end of a rank into account.
    fn bury(&self, index: usize) {
        let mut state = self.lock();
        state.members[index].is_dead = true;
        let active = state.members[index].active.take();
        let mut failed = Vec::new();
        if let Some(active) = active.filter(|active| !active.is_over) {
            let job = active.job;
            let items = u64::from(job.items());
            if job.ends.is_cancelled() {
                state.totals.cancelled += items;
                failed.push((job, false));
            } else if job.starts < job.tries && state.alive() > 0 {
                state.totals.retried += items;
                state.lanes[0].push_front(job);
            } else {
                state.totals.failed += items;
                state.totals.lost += items;
                failed.push((job, true));
            }
        }
        if state.alive() == 0 {
            let rest: Vec<Job> = state.lanes.iter_mut().flat_map(std::mem::take).collect();
            state.totals.cancelled += rest.iter().map(|job| u64::from(job.items())).sum::<u64>();
            failed.extend(rest.into_iter().map(|job| (job, false)));
        }
        drop(state);
        let rank = u32::try_from(index + 1).unwrap_or(u32::MAX);
        for (job, is_lost) in failed {
            let starts = job.starts;
            fail(job, || match is_lost {
                true => Failure::Lost(Lost::new(rank, None, None, starts)),
                false => none_left(),
            });
        }
        self.changed.notify_all();
    }

    /// Removes queued calls whose handles were cancelled.
    fn sweep(&self) {
        let mut state = self.lock();
        if !std::mem::take(&mut state.has_cancels) {
            return;
        }
        let mut gone = Vec::new();
        for lane in &mut state.lanes {
            let (kept, dropped): (VecDeque<_>, VecDeque<_>) = std::mem::take(lane)
                .into_iter()
                .partition(|job| !job.ends.is_cancelled());
            *lane = kept;
            gone.extend(dropped);
        }
        state.totals.cancelled += gone.iter().map(|job| u64::from(job.items())).sum::<u64>();
        drop(state);
        unwind::drop_quietly(gone);
        self.changed.notify_all();
    }

    /// Sends the ranks home, and waits until they have said that they go.
    fn part(&self, channels: &mut [Channel], library: &Library) {
        let is_dead: Vec<bool> = self
            .lock()
            .members
            .iter()
            .map(|member| member.is_dead)
            .collect();
        let mut alive: Vec<_> = channels
            .iter_mut()
            .zip(is_dead)
            .filter_map(|(channel, is_dead)| (!is_dead).then_some(channel))
            .collect();
        let stop = write(&Order::Stop);
        alive.retain_mut(|channel| channel.send(library, &stop).is_ok());
        let mut pauses = Pauses::new();
        while !alive.is_empty() {
            alive.retain_mut(|channel| matches!(channel.receive(library), Ok(None)));
            if let Some(pause) = pauses.next() {
                std::thread::sleep(pause);
            }
        }
    }
}

fn none_left() -> Failure {
    Failure::Refused("no rank is left that could run it".into())
}

/// The message that gives a job to a rank.
fn work(number: u64, job: &Job) -> Vec<u8> {
    write(&Order::Work {
        number,
        task: job.entry.name(),
        items: job.all_items().collect(),
    })
}
