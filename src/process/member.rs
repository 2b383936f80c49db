//! A worker as its pool sees it: the process, what was sent to it, and what it has taken.

use super::call::Job;
use super::codec::Body;
use super::os::{self, Page};
use super::wire::{self, Rubbish};
use super::worker::{Numbers, VARIABLE, greeting};
use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// The time after `wait`, or one that never comes if that is too far away.
pub(super) fn after(now: Instant, wait: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
    now.checked_add(wait).unwrap_or_else(|| now + FAR)
}

/// How a worker process is started.
#[derive(Default)]
pub(super) struct Launch {
    pub(super) args: Vec<OsString>,
    pub(super) env: Vec<(OsString, OsString)>,
}

/// Where a worker is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It has not said hello, or prepares itself. Killed at this time.
    Starting(Instant),
    Ready,
    /// It gets no more tasks.
    Leaving,
    /// It was told to end. Killed at this time.
    Ending(Instant),
    /// It was killed, or its socket has ended. Killed again at this time.
    Dying(Instant),
}

/// Why the pool has killed a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The running item missed its time limit.
    Timeout,
    /// The running item was cancelled, or dropped by a shutdown.
    Cancelled,
    /// It sent something that is no message.
    Rubbish,
    /// It did not become ready in time.
    Silent,
    /// The task that prepares it has failed.
    Unprepared,
}

/// A job under way: its items have the numbers from `first` on.
pub(super) struct Flight {
    pub(super) job: Job,
    /// The number of the first item that has no outcome.
    pub(super) first: u64,
}

impl Flight {
    fn end(&self) -> u64 {
        self.first + u64::from(self.job.items())
    }
}

/// Bytes that wait to be written.
enum Out {
    Bytes(Vec<u8>),
    /// A part of a job's arguments, from this place on.
    Body(Arc<Vec<u8>>, usize),
}

pub(super) struct Member {
    pub(super) id: u64,
    pub(super) pid: u32,
    child: Child,
    /// Becomes readable when the process ends. `None` if the system has no such descriptors, or none left.
    process: Option<Arc<OwnedFd>>,
    page: Page,
    pub(super) data: Arc<UnixStream>,
    control: UnixStream,
    out: VecDeque<Out>,
    /// The bytes of the first entry of `out` that are written.
    written: usize,
    pub(super) phase: Phase,
    pub(super) was_ready: bool,
    pub(super) verdict: Option<Verdict>,
    pub(super) flights: VecDeque<Flight>,
    /// The number of the next item that is sent.
    sent: u64,
    /// The number after that of the last item with an outcome.
    ended: u64,
    /// When the first item without an outcome became the first.
    pub(super) since: Instant,
    /// The number of an item that was cancelled while it ran, and when its process is killed.
    pub(super) doomed: Option<(u64, Instant)>,
    /// It was [stuck](super::state::STUCK), and is not asked again before this time.
    pub(super) avoided_until: Option<Instant>,
    /// The number of items whose outcomes have come.
    pub(super) done: u64,
}

impl Member {
    /// Starts the process.
    pub(super) fn start(id: u64, launch: &Launch, patience: Duration) -> io::Result<Self> {
        let (page, page_fd) = Page::new()?;
        let (control, its_control) = UnixStream::pair()?;
        let (data, its_data) = UnixStream::pair()?;
        data.set_nonblocking(true)?;
        control.set_nonblocking(true)?;
        os::send_fds(
            control.as_fd(),
            &greeting(id),
            [its_data.as_fd(), page_fd.as_fd()],
        )?;
        let numbers = Numbers {
            parent: std::process::id(),
            worker: id,
        };
        let mut command = Command::new("/proc/self/exe");
        if let Some(name) = std::env::args_os().next() {
            command.arg0(name);
        }
        let child = command
            .args(&launch.args)
            // The file of this process's trace is not theirs.
            .env_remove("HEIST_TRACE")
            .envs(launch.env.iter().map(|(name, value)| (name, value)))
            .env(VARIABLE, numbers.text())
            .stdin(OwnedFd::from(its_control))
            // Signals of the terminal go to the program, which decides what happens to its workers.
            .process_group(0)
            .spawn()?;
        let now = Instant::now();
        let pid = child.id();
        Ok(Member {
            id,
            pid,
            child,
            process: os::process_fd(pid).map(Arc::new),
            page,
            data: Arc::new(data),
            control,
            out: VecDeque::new(),
            written: 0,
            phase: Phase::Starting(after(now, patience)),
            was_ready: false,
            verdict: None,
            flights: VecDeque::new(),
            sent: 0,
            ended: 0,
            since: now,
            doomed: None,
            avoided_until: None,
            done: 0,
        })
    }

    /// The descriptor that becomes readable when the process ends, if there is one.
    pub(super) fn process(&self) -> Option<Arc<OwnedFd>> {
        self.process.clone()
    }

    /// Appends a message, and writes what can be written.
    pub(super) fn send_message(&mut self, kind: u8, write: impl FnOnce(&mut Vec<u8>)) {
        wire::put(self.tail(), kind, write);
        self.write();
    }

    /// The bytes to which a message can be appended. They are freed once all of them are written, so they are not many.
    fn tail(&mut self) -> &mut Vec<u8> {
        if !matches!(self.out.back(), Some(Out::Bytes(bytes)) if bytes.len() < TAIL_MAX) {
            self.out.push_back(Out::Bytes(Vec::new()));
        }
        match self.out.back_mut() {
            Some(Out::Bytes(bytes)) => bytes,
            _ => unreachable!("heist: the last entry has just been added"),
        }
    }

    /// Appends a job. [`write`](Self::write) writes it.
    pub(super) fn send(&mut self, job: Job) {
        let first = self.sent;
        self.sent += u64::from(job.items());
        // Large arguments are written from where they are. Small ones are copied, so that several messages are one system call.
        let (small, rest) = match &job.body {
            Body::Small(_) => (&job.body[job.offset..], 0),
            Body::Large(body) => (&[][..], body.len() - job.offset),
        };
        wire::put_with(self.tail(), wire::RUN, rest, |out| {
            out.extend_from_slice(&first.to_le_bytes());
            out.extend_from_slice(&job.items().to_le_bytes());
            wire::put_name(out, job.entry.name());
            out.extend_from_slice(small);
        });
        if let Body::Large(body) = &job.body {
            self.out.push_back(Out::Body(Arc::clone(body), job.offset));
        }
        if self.flights.is_empty() {
            self.since = Instant::now();
        }
        self.flights.push_back(Flight { job, first });
    }

    /// Writes until everything is written or the socket is full. Errors show as the end of the socket.
    pub(super) fn write(&mut self) {
        while let Some(first) = self.out.front() {
            let bytes = match first {
                Out::Bytes(bytes) => &bytes[self.written..],
                Out::Body(body, offset) => &body[offset + self.written..],
            };
            if !bytes.is_empty() {
                match (&*self.data).write(bytes) {
                    Ok(count) => self.written += count,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                    Err(_) => {
                        self.out.clear();
                        self.written = 0;
                        return;
                    }
                }
                continue;
            }
            self.written = 0;
            self.out.pop_front();
        }
    }

    pub(super) fn wants_to_write(&self) -> bool {
        !self.out.is_empty()
    }

    /// Takes the next outcome into account. Returns the job's index of the item, and whether it was the job's last one.
    pub(super) fn outcome(&mut self, number: u64) -> Result<(u32, &Job, bool), Rubbish> {
        let flight = self.flights.front_mut().ok_or(Rubbish)?;
        if flight.first != number || number >= self.sent {
            return Err(Rubbish);
        }
        let index = flight.job.advance();
        flight.first += 1;
        self.ended = flight.first;
        self.done += 1;
        let is_last = flight.job.items() == 0;
        Ok((index, &flight.job, is_last))
    }

    /// Removes the first flight if all its items have outcomes.
    pub(super) fn pop_done(&mut self) -> Option<Job> {
        let first = self.flights.front()?;
        if first.job.items() > 0 {
            return None;
        }
        self.flights.pop_front().map(|flight| flight.job)
    }

    /// Takes back the items that have not begun. Returns them in order.
    pub(super) fn recall(&mut self) -> Result<Vec<Job>, Rubbish> {
        if self.is_corrupt() {
            return Err(Rubbish);
        }
        let next = self.page.next();
        let mut begun = next.load(Ordering::Acquire);
        while begun < self.sent {
            // ORDERING: AcqRel pairs with the worker's claim: one of the two wins each item.
            match next.compare_exchange(begun, self.sent, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Ok(self.take_from(begun)),
                Err(now) => begun = now,
            }
        }
        if begun == self.sent {
            Ok(Vec::new())
        } else {
            Err(Rubbish)
        }
    }

    /// Removes the items from number `begun` on.
    fn take_from(&mut self, begun: u64) -> Vec<Job> {
        let mut taken = VecDeque::new();
        while let Some(last) = self.flights.back_mut() {
            if last.end() <= begun {
                break;
            }
            if last.first < begun {
                let kept = u32::try_from(begun - last.first).unwrap_or(u32::MAX);
                taken.extend(last.job.split(kept));
                break;
            }
            taken.extend(self.flights.pop_back().map(|flight| flight.job));
        }
        taken.into_iter().rev().collect()
    }

    /// Whether somebody has written to the shared page who should not: the next item to begin cannot be that one.
    pub(super) fn is_corrupt(&self) -> bool {
        // ORDERING: an outcome is sent after its claim, so a number that is older than the last outcome is not seen.
        let next = self.page.next().load(Ordering::Acquire);
        next < self.ended || next > self.sent
    }

    /// Whether items that were sent have not begun, as far as one can see.
    pub(super) fn has_unbegun(&self) -> bool {
        let begun = self.page.next().load(Ordering::Relaxed);
        begun < self.sent
    }

    /// Returns the item that began last, if it has no outcome yet: its number and its job. Items before it that have none have ended, and their outcomes are saved or
    /// on their way.
    pub(super) fn running(&self) -> Option<(u64, &Job)> {
        // ORDERING: Acquire pairs with the worker's claim.
        let next = self.page.next().load(Ordering::Acquire);
        let mut begun = self.flights.iter().rev();
        let flight = begun.find(|flight| flight.first < next)?;
        Some((next.min(flight.end()) - 1, &flight.job))
    }

    /// The number of the item that [runs](Self::running).
    pub(super) fn running_number(&self) -> Option<u64> {
        self.running().map(|(number, _)| number)
    }

    /// The number of items that were sent.
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    /// The bytes of arguments under way.
    pub(super) fn bytes(&self) -> usize {
        let bytes = |flight: &Flight| flight.job.body.len() - flight.job.offset;
        self.flights.iter().map(bytes).sum()
    }

    /// The number of items that were sent and have not begun.
    pub(super) fn unbegun(&self) -> usize {
        let next = self.page.next().load(Ordering::Relaxed);
        let unbegun = |flight: &Flight| flight.end() - next.clamp(flight.first, flight.end());
        let items: u64 = self.flights.iter().map(unbegun).sum();
        usize::try_from(items).unwrap_or(usize::MAX)
    }

    /// When the running item misses its time limit. While the worker has not begun the first item, this is a guess, and too early.
    pub(super) fn late_at(&self) -> Option<Instant> {
        self.since.checked_add(self.limit()?)
    }

    /// The time limit of the first item without an outcome.
    pub(super) fn limit(&self) -> Option<Duration> {
        self.flights.front()?.job.timeout()
    }

    /// The number of the running item, and why it is to be killed now, if it is.
    pub(super) fn due(&self, now: Instant) -> Option<(u64, Verdict)> {
        if !matches!(self.phase, Phase::Ready | Phase::Leaving) {
            return None;
        }
        let running = self.running_number()?;
        // A job with a time limit has one item.
        let is_first = self.flights.front()?.first == running;
        if is_first && self.late_at().is_some_and(|time| time <= now) {
            return Some((running, Verdict::Timeout));
        }
        let (number, time) = self.doomed?;
        (number == running && time <= now).then_some((running, Verdict::Cancelled))
    }

    /// Whether other workers are asked before this one, because it was stuck.
    pub(super) fn is_avoided(&self, now: Instant) -> bool {
        self.avoided_until.is_some_and(|time| time > now)
    }

    /// Notes that the worker has sent outcomes.
    pub(super) fn has_sent(&mut self) {
        self.since = Instant::now();
        self.avoided_until = None;
        let first = self.flights.front().map(|flight| flight.first);
        self.doomed = self
            .doomed
            .filter(|(number, _)| first.is_some_and(|first| first <= *number));
    }

    /// Notes that the socket has ended: the process should end too.
    pub(super) fn ends_soon(&mut self) {
        if !matches!(self.phase, Phase::Dying(_)) {
            self.phase = Phase::Dying(Instant::now() + PATIENCE);
        }
    }

    /// After the end of the process: the outcomes that it has saved and not sent.
    pub(super) fn saved(&self) -> (u64, Vec<u8>) {
        wire::Saved(&self.page).get()
    }

    /// Asks the running item to stop. Its process is killed at this time if it has not.
    pub(super) fn cancel(&mut self, number: u64, kill_at: Instant) {
        if self.doomed.is_none_or(|(other, _)| other != number) {
            self.doomed = Some((number, kill_at));
        }
        // A control socket that is full belongs to a worker that does not read it.
        let _ = (&self.control).write(&number.to_le_bytes());
    }

    /// Kills the process. Its end is noticed later.
    pub(super) fn kill(&mut self, verdict: Option<Verdict>) {
        if self.verdict.is_none() {
            self.verdict = verdict;
        }
        match &self.process {
            Some(process) => os::kill_process(process.as_fd()),
            // Fails only if the process has ended.
            None => drop(self.child.kill()),
        }
        self.phase = Phase::Dying(Instant::now() + PATIENCE);
    }

    /// Returns how the process has ended, if it has: signal and code.
    pub(super) fn ended(&mut self) -> Option<(Option<i32>, Option<i32>)> {
        use std::os::unix::process::ExitStatusExt;
        match self.child.try_wait() {
            Ok(Some(status)) => Some((status.signal(), status.code())),
            Ok(None) => None,
            // Somebody else has waited for the process.
            Err(_) => Some((None, None)),
        }
    }
}

/// How long a worker that has closed its socket, or was killed, may take to end before it is killed again.
pub(super) const PATIENCE: Duration = Duration::from_millis(500);

/// How long a worker that was told to end may take. The program's exit handlers run.
pub(super) const EXIT_TIME: Duration = Duration::from_secs(5);

/// Messages are appended to bytes that wait to be written up to about this length.
const TAIL_MAX: usize = 256 << 10;
