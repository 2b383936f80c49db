//! What a pool of processes knows, and each of its decisions: who gets which job, what the end of a worker means. No file does I/O under the pool's lock except to
//! write to sockets that never block; nothing here runs the user's code.

use super::backend::{ExecutorStats, ProcessStats};
use super::call::{Ends, Job};
use super::member::{EXIT_TIME, Flight, Member, Phase, Verdict, after};
use super::task::TaskEntry;
use super::wire::{self, Rubbish};
use crate::TaskId;
use crate::executor::remote::Failure;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The most jobs that a worker holds: enough to hide the round trip of cheap ones.
const PREFETCH: usize = 16;

/// The most jobs that a worker holds which has sent nothing for [`LATE`].
const PREFETCH_LATE: usize = 2;

/// A worker without a result for so long is late: what it has not begun is given to a worker that is free.
pub(super) const LATE: Duration = Duration::from_millis(1);

/// A worker that has begun nothing of what it was given for so long is stuck, perhaps stopped: what it holds is given to a worker that is free, and it gets no more
/// while others have room.
pub(super) const STUCK: Duration = Duration::from_millis(50);

/// A worker that holds so many bytes of arguments gets no more.
const BYTES_MAX: usize = 1 << 20;

/// With so many points of failed starts in a row, and no worker left, the pool refuses what is queued.
const FAILURES_MAX: u32 = 100;

/// The points of a worker that fails by itself: after five of them the pool gives up.
pub(super) const OWN_FAILURE: u32 = 20;

/// The longest time between two attempts to start a worker.
const START_DELAY_MAX: Duration = Duration::from_secs(1);

/// The points of a worker that somebody has killed while it started, which says little about the next one.
pub(super) const KILLED: u32 = 1;

/// What is done once the lock is released.
#[derive(Default)]
pub(super) struct Effects {
    pub(super) finished: Vec<Finished>,
    /// Jobs that nobody wants. Dropping one can run the user's code.
    pub(super) trash: Vec<Job>,
    /// The number of items that have ended.
    pub(super) ended: u64,
}

/// An item that has ended.
pub(super) struct Finished {
    pub(super) ends: Arc<dyn Ends>,
    pub(super) index: u32,
    pub(super) what: What,
    pub(super) name: Option<Arc<str>>,
    pub(super) entry: &'static TaskEntry,
}

pub(super) enum What {
    /// A tag, and a place in the worker's buffer.
    Sent(u8, Range<usize>),
    /// A tag, and bytes that the worker had saved.
    Saved(u8, Vec<u8>),
    Failure(Failure),
    /// The time that items of the job have run.
    Ran(Duration),
}

impl Effects {
    pub(super) fn push(&mut self, job: &Job, index: u32, what: What) {
        self.finished.push(Finished {
            ends: Arc::clone(&job.ends),
            index,
            what,
            name: job.own_name(),
            entry: job.entry,
        });
    }
}

/// Totals since the pool was built.
#[derive(Default)]
pub(super) struct Totals {
    pub(super) submitted: u64,
    pub(super) completed: u64,
    pub(super) failed: u64,
    pub(super) timed_out: u64,
    pub(super) lost: u64,
    pub(super) cancelled: u64,
    pub(super) retried: u64,
    pub(super) started: u64,
    pub(super) start_failures: u64,
}

/// Whether the pool takes calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    Open,
    /// What is queued runs.
    Draining,
    /// The workers end.
    Closed,
}

pub(super) struct State {
    /// Low, normal, high.
    pub(super) lanes: [VecDeque<Job>; 3],
    pub(super) members: Vec<Member>,
    /// The number of workers that there should be.
    pub(super) target: usize,
    pub(super) gate: Gate,
    pub(super) totals: Totals,
    /// The number of items that have not ended.
    pub(super) open: u64,
    /// Points of the starts that have failed since the last worker became ready.
    pub(super) failures: u32,
    /// No worker is started before.
    pub(super) start_after: Option<Instant>,
    /// Why the last start failed.
    pub(super) trouble: Option<Arc<str>>,
    /// Whether a worker was ever ready.
    pub(super) has_worked: bool,
    /// The thread for input and output has ended, or there never was one.
    pub(super) is_over: bool,
    /// When a job was sent last.
    last_sent: Instant,
    /// The thread looks again after at most [`STUCK`]. If not, whoever sends a job wakes it.
    pub(super) is_watched: bool,
    /// Nothing begins any more, and nothing is tried again.
    pub(super) is_stopping: bool,
    pub(super) settings: Settings,
}

/// What a pool is told when it is built.
pub(super) struct Settings {
    pub(super) max_tasks: u64,
    pub(super) grace: Duration,
    pub(super) capacity: Option<usize>,
    pub(super) rejects: bool,
    /// The body of the message that prepares a worker.
    pub(super) preparation: Vec<u8>,
}

impl State {
    pub(super) fn new(target: usize, settings: Settings) -> Self {
        State {
            lanes: Default::default(),
            members: Vec::new(),
            target,
            gate: Gate::Open,
            totals: Totals::default(),
            open: 0,
            failures: 0,
            start_after: None,
            trouble: None,
            has_worked: false,
            is_over: false,
            last_sent: Instant::now(),
            is_watched: false,
            is_stopping: false,
            settings,
        }
    }

    pub(super) fn queued(&self) -> usize {
        self.lanes.iter().map(VecDeque::len).sum()
    }

    /// Whether the queue is full. Forgets cancelled jobs first.
    pub(super) fn is_full(&mut self, effects: &mut Effects) -> bool {
        let Some(capacity) = self.settings.capacity else {
            return false;
        };
        if self.queued() >= capacity {
            self.sweep(effects);
        }
        self.queued() >= capacity
    }

    fn sweep(&mut self, effects: &mut Effects) {
        for lane in 0..self.lanes.len() {
            let jobs = std::mem::take(&mut self.lanes[lane]);
            let (cancelled, wanted) = jobs
                .into_iter()
                .partition(|job: &Job| job.ends.is_cancelled());
            self.lanes[lane] = wanted;
            cancelled
                .into_iter()
                .for_each(|job| self.forget(job, effects));
        }
    }

    /// Counts items that were not queued.
    pub(super) fn count_refused(&mut self, items: u32) {
        self.totals.submitted += u64::from(items);
        self.totals.cancelled += u64::from(items);
    }

    /// Queues a new job.
    pub(super) fn enqueue(&mut self, job: Job) {
        let items = u64::from(job.items());
        self.totals.submitted += items;
        self.open += items;
        self.lanes[job.priority as usize].push_back(job);
    }

    /// Puts jobs that were sent back to the front of their lanes, in their order.
    pub(super) fn requeue(&mut self, jobs: Vec<Job>) {
        for job in jobs.into_iter().rev() {
            self.lanes[job.priority as usize].push_front(job);
        }
    }

    fn next_job(&mut self, effects: &mut Effects) -> Option<Job> {
        loop {
            let job = self.lanes.iter_mut().rev().find_map(VecDeque::pop_front)?;
            if !job.ends.is_cancelled() {
                return Some(job);
            }
            self.forget(job, effects);
        }
    }

    /// Drops a job whose handle has ended.
    fn forget(&mut self, job: Job, effects: &mut Effects) {
        self.totals.cancelled += u64::from(job.items());
        effects.ended += u64::from(job.items());
        effects.trash.push(job);
    }

    /// Ends each of the job's items with a failure.
    fn fail(&mut self, mut job: Job, failure: impl Fn() -> Failure, effects: &mut Effects) {
        self.totals.cancelled += u64::from(job.items());
        effects.ended += u64::from(job.items());
        while job.items() > 0 {
            let index = job.advance();
            effects.push(&job, index, What::Failure(failure()));
        }
    }

    /// Sends queued jobs to the workers that have room. `watch` is called with each job that is sent for the first time.
    pub(super) fn dispatch(
        &mut self,
        depth: Depth,
        effects: &mut Effects,
        watch: &dyn Fn(&dyn Ends),
    ) {
        let now = Instant::now();
        while self.lanes.iter().any(|lane| !lane.is_empty()) {
            let max_tasks = self.settings.max_tasks;
            let free = self
                .members
                .iter_mut()
                .filter(|member| room(member, now, depth, max_tasks));
            let Some(index) = free
                .min_by_key(|member| (member.is_avoided(now), member.flights.len()))
                .map(|member| member.id)
                .and_then(|id| self.members.iter().position(|member| member.id == id))
            else {
                break;
            };
            let Some(mut job) = self.next_job(effects) else {
                break;
            };
            if self.members[index].is_corrupt() {
                self.members[index].kill(Some(Verdict::Rubbish));
                self.requeue(vec![job]);
                continue;
            }
            self.last_sent = now;
            if !std::mem::replace(&mut job.is_watched, true) {
                watch(&*job.ends);
            }
            let member = &mut self.members[index];
            // A chunk can have more items than the worker may still run.
            let left = u32::try_from(max_tasks - member.sent()).unwrap_or(u32::MAX);
            if let Some(rest) = job.split(left) {
                self.lanes[rest.priority as usize].push_front(rest);
            }
            member.send(job);
            if member.sent() >= max_tasks {
                member.phase = Phase::Leaving;
            }
            if depth == Depth::Idle {
                member.write();
            }
        }
        if depth == Depth::Full {
            self.members.iter_mut().for_each(Member::write);
        }
    }

    /// Takes back what a worker has not begun. Kills a worker that has written nonsense to the shared page.
    pub(super) fn recall(&mut self, index: usize) {
        let member = &mut self.members[index];
        match member.recall() {
            Ok(jobs) => self.requeue(jobs),
            Err(Rubbish) => member.kill(Some(Verdict::Rubbish)),
        }
    }

    /// Ends a call whose handle was cancelled: it is dropped if it has not begun, else its worker is asked, and killed after a grace.
    pub(super) fn cancel(&mut self, id: TaskId) {
        let is_it = |flight: &Flight| flight.job.ends.id() == id;
        for index in 0..self.members.len() {
            if self.members[index].flights.iter().any(is_it) {
                self.recall(index);
                self.ask_to_stop(index, |job| job.ends.id() == id);
            }
        }
    }

    /// Whether a call runs now.
    pub(super) fn runs(&self, id: TaskId) -> bool {
        let running = self.members.iter().filter_map(Member::running);
        running.into_iter().any(|(_, job)| job.ends.id() == id)
    }

    /// Asks the item that runs to stop, if it is one of such a job. Its worker is killed after a grace.
    fn ask_to_stop(&mut self, index: usize, which: impl Fn(&Job) -> bool) {
        let kill_at = after(Instant::now(), self.settings.grace);
        let member = &mut self.members[index];
        if let Some((number, job)) = member.running()
            && which(job)
        {
            member.cancel(number, kill_at);
        }
    }

    /// Notes that a worker could not be started or did not become ready.
    pub(super) fn start_failed(&mut self, text: impl Into<Arc<str>>, points: u32) {
        self.totals.start_failures += 1;
        self.failures = self.failures.saturating_add(points);
        let delay = Duration::from_millis(self.failures.into());
        self.start_after = Some(Instant::now() + delay.min(START_DELAY_MAX));
        self.trouble = Some(text.into());
    }

    pub(super) fn started(&mut self, member: Member) {
        self.totals.started += 1;
        self.members.push(member);
    }

    /// Whether a worker has failed by itself since the last one became ready.
    pub(super) fn has_failed(&self) -> bool {
        self.failures >= OWN_FAILURE
    }

    /// Refuses what is queued, if no worker can be started.
    pub(super) fn refuse_if_stuck(&mut self, effects: &mut Effects) {
        if self.failures < FAILURES_MAX
            || self
                .members
                .iter()
                .any(|member| member.phase == Phase::Ready)
        {
            return;
        }
        let why = self.trouble.clone().unwrap_or_else(|| "unknown".into());
        let text: Arc<str> = format!("no worker process can be started: {why}").into();
        while let Some(job) = self.next_job(effects) {
            self.fail(job, || Failure::Refused(Arc::clone(&text)), effects);
        }
    }

    /// Drops what is queued. Returns the number of items.
    pub(super) fn drop_queued(&mut self, effects: &mut Effects) -> usize {
        let before = effects.ended;
        while let Some(job) = self.next_job(effects) {
            self.fail(job, || Failure::ShutDown, effects);
        }
        usize::try_from(effects.ended - before).unwrap_or(usize::MAX)
    }

    /// Drops everything that has not begun, and asks what runs to stop. Returns the number of dropped items.
    pub(super) fn stop(&mut self, effects: &mut Effects) -> usize {
        self.is_stopping = true;
        for index in 0..self.members.len() {
            self.recall(index);
            self.ask_to_stop(index, |_| true);
        }
        self.drop_queued(effects)
    }

    /// Kills a worker because of the item with this number, unless it has begun another one meanwhile, which the kill would hit. The outcomes of the items before are
    /// saved or on their way.
    fn kill_running(&mut self, index: usize, number: u64, verdict: Verdict) {
        // From now on the worker begins nothing else.
        self.recall(index);
        let member = &mut self.members[index];
        if member.running_number() == Some(number) {
            member.kill(Some(verdict));
        }
    }

    /// Does what is due, and returns when the next thing is.
    pub(super) fn tick(&mut self, now: Instant) -> Option<Instant> {
        for index in 0..self.members.len() {
            let member = &mut self.members[index];
            if let Some((number, verdict)) = member.due(now) {
                self.kill_running(index, number, verdict);
            } else if member.is_corrupt() && !matches!(member.phase, Phase::Dying(_)) {
                member.kill(Some(Verdict::Rubbish));
            }
        }
        let mut next: Option<Instant> = None;
        let mut at = |time: Instant| next = Some(next.map_or(time, |next| next.min(time)));
        for member in &mut self.members {
            match member.phase {
                Phase::Starting(time) if time <= now => member.kill(Some(Verdict::Silent)),
                Phase::Ending(time) | Phase::Dying(time) if time <= now => member.kill(None),
                Phase::Leaving if member.flights.is_empty() => {
                    member.send_message(wire::EXIT, |_| ());
                    member.phase = Phase::Ending(now + EXIT_TIME);
                }
                _ => {}
            }
            match member.phase {
                Phase::Starting(time) | Phase::Ending(time) | Phase::Dying(time) => at(time),
                Phase::Ready | Phase::Leaving => {
                    let killed = member.doomed.map(|(_, time)| time);
                    let times = killed.into_iter().chain(member.late_at());
                    times.for_each(|time| at(time.max(now + LATE)));
                }
            }
        }
        if let Some(time) = self.next_rebalance(now) {
            at(time);
        }
        self.is_watched = now.saturating_duration_since(self.last_sent) < STUCK;
        if self.is_watched {
            at(now + STUCK);
        }
        if self.missing() > 0 {
            at(self.start_after.unwrap_or(now));
        }
        next
    }

    /// How many workers have to be started.
    pub(super) fn missing(&self) -> usize {
        if self.gate == Gate::Closed {
            return 0;
        }
        let stays = |member: &&Member| matches!(member.phase, Phase::Starting(_) | Phase::Ready);
        self.target
            .saturating_sub(self.members.iter().filter(stays).count())
    }

    /// Makes all workers leave, if nothing is left to do for a pool that was shut down.
    pub(super) fn close_if_drained(&mut self) {
        if self.gate != Gate::Draining || self.open > 0 {
            return;
        }
        self.gate = Gate::Closed;
        for member in &mut self.members {
            match member.phase {
                Phase::Starting(_) => member.kill(None),
                Phase::Ready => member.phase = Phase::Leaving,
                Phase::Leaving | Phase::Ending(_) | Phase::Dying(_) => {}
            }
        }
    }

    /// Makes surplus workers leave, idle ones first.
    pub(super) fn let_go(&mut self) {
        let stays = |member: &Member| matches!(member.phase, Phase::Starting(_) | Phase::Ready);
        let surplus = self.members.iter().filter(|member| stays(member)).count();
        let surplus = surplus.saturating_sub(self.target);
        for _ in 0..surplus {
            let ready = |index: &usize| self.members[*index].phase == Phase::Ready;
            let least = (0..self.members.len()).filter(ready);
            let Some(index) = least.min_by_key(|index| self.members[*index].flights.len()) else {
                return;
            };
            self.members[index].phase = Phase::Leaving;
            self.recall(index);
        }
    }

    pub(super) fn stats(&self) -> ExecutorStats {
        let totals = &self.totals;
        let items = |job: &Job| job.items() as usize;
        let unbegun: usize = self.members.iter().map(Member::unbegun).sum();
        ExecutorStats {
            workers: self.target,
            active: self
                .members
                .iter()
                .filter(|member| !member.flights.is_empty())
                .count(),
            queued: self.lanes.iter().flatten().map(items).sum::<usize>() + unbegun,
            submitted: totals.submitted,
            completed: totals.completed,
            failed: totals.failed,
            timed_out: totals.timed_out,
            lost: totals.lost,
            cancelled: totals.cancelled,
            retried: totals.retried,
            started: totals.started,
            start_failures: totals.start_failures,
            processes: {
                let mut processes: Vec<_> = self.members.iter().map(process_stats).collect();
                processes.sort_by_key(|process| process.pid);
                processes
            },
        }
    }

    /// The jobs that run now.
    pub(super) fn running(&self) -> Vec<(TaskId, Option<Arc<str>>)> {
        let running = |member: &Member| {
            let (_, job) = member.running()?;
            Some((job.ends.id(), Some(job.name())))
        };
        self.members.iter().filter_map(running).collect()
    }
}

fn process_stats(member: &Member) -> ProcessStats {
    ProcessStats {
        pid: member.pid,
        done: member.done,
        under_way: member
            .flights
            .iter()
            .map(|flight| flight.job.items() as usize)
            .sum(),
    }
}

/// How far a worker's queue is filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Depth {
    /// Only workers with nothing to do, and one more job behind what runs. For threads that submit.
    Idle,
    Full,
}

fn room(member: &Member, now: Instant, depth: Depth, max_tasks: u64) -> bool {
    if member.phase != Phase::Ready || member.sent() >= max_tasks {
        return false;
    }
    let most = match depth {
        Depth::Idle => PREFETCH_LATE,
        Depth::Full if now.duration_since(member.since) >= LATE => PREFETCH_LATE,
        Depth::Full => PREFETCH,
    };
    member.flights.len() < most && (member.flights.is_empty() || member.bytes() < BYTES_MAX)
}
