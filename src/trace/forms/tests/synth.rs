//! Traces of a simulated pool, for tests: a producer makes tasks in phases, workers run them, make more, steal, wait and sleep.

use crate::stats::{PoolStats, WorkerStats};
use crate::trace::model::{
    Event, EventKind, Outcome, Site, SiteKind, Trace, Track, TrackRole, Wait, Work,
};
use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

/// What to simulate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) workers: usize,
    /// About as many events are made.
    pub(super) events: usize,
    /// The mean length of a run in nanoseconds.
    pub(super) mean: u64,
    /// The number of oldest events that each track loses, in per cent.
    pub(super) lost: usize,
}

impl Default for Plan {
    fn default() -> Self {
        Plan {
            seed: 1,
            workers: 4,
            events: 5_000,
            mean: 40_000,
            lost: 0,
        }
    }
}

/// A generator of numbers: xorshift.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit.max(1)
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// A length around the mean, now and then a much longer one.
    fn length(&mut self, mean: u64) -> u64 {
        let spread = mean / 4 + self.below(mean * 3 / 2);
        match self.below(100) {
            0 => spread * (10 + self.below(20)),
            1..=9 => spread * 3,
            _ => spread,
        }
    }
}

/// The sites of the simulation. The first six make tasks.
pub(super) fn sites() -> Vec<Site> {
    let site = |kind, name: &str, line| Site {
        kind,
        name: name.to_owned(),
        file: Some("src/main.rs"),
        line,
    };
    vec![
        site(SiteKind::Task, "dupes::hash_file::{{closure}}", 112),
        site(SiteKind::Task, "dupes::read_directory::{{closure}}", 64),
        site(SiteKind::Task, "thumbnail", 201),
        site(SiteKind::Scope, "dupes::compare::{{closure}}", 148),
        site(SiteKind::Future, "dupes::upload::{{closure}}", 233),
        site(SiteKind::Map, "dupes::image::blur::{{closure}}", 87),
        site(SiteKind::Join, "dupes::sort::quick::{{closure}}", 31),
        site(SiteKind::Join, "dupes::sort::merge::{{closure}}", 45),
        site(SiteKind::Span, "parse", 12),
        site(SiteKind::Span, "index", 19),
        site(SiteKind::Mark, "phase 2", 25),
        site(SiteKind::Run, "dupes::main::{{closure}}", 9),
    ]
}

const TASK_SITES: u64 = 6;
const FORK_SITE: u32 = 6;
const PARSE: u32 = 8;
const INDEX: u32 = 9;
const PHASE: u32 = 10;

struct Simulation {
    plan: Plan,
    random: Random,
    events: Vec<Vec<Event>>,
    /// The time until which each worker has been simulated.
    clocks: Vec<u64>,
    /// Ready time, number, site, maker.
    queue: VecDeque<(u64, u64, u32, usize)>,
    next_id: u64,
    stats: PoolStats,
}

/// Simulates a pool.
pub(super) fn trace(plan: Plan) -> Trace {
    let mut simulation = Simulation {
        plan,
        random: Random::new(plan.seed),
        events: vec![Vec::new(); plan.workers + 1],
        clocks: vec![0; plan.workers],
        queue: VecDeque::new(),
        next_id: 1,
        stats: PoolStats {
            threads: plan.workers,
            workers: vec![WorkerStats::default(); plan.workers],
            ..PoolStats::default()
        },
    };
    for worker in 0..plan.workers {
        let start = 1_000 + 700 * worker as u64;
        simulation.add(worker, start, EventKind::ThreadBegin);
        simulation.clocks[worker] = start;
    }
    simulation.play();
    simulation.finish()
}

impl Simulation {
    fn add(&mut self, track: usize, time: u64, kind: EventKind) {
        self.events[track].push(Event { time, kind });
    }

    fn made(&self) -> usize {
        self.events.iter().map(Vec::len).sum()
    }

    /// Phases in which the producer first works alone and then queues tasks, until there are enough events.
    fn play(&mut self) {
        let producer = self.plan.workers;
        let mut now = 2_000;
        let phases = 3;
        self.add(producer, now, EventKind::GuestEnter);
        for phase in 0..phases {
            let goal = self.plan.events * (phase + 1) / phases;
            let site = if phase == 0 { PARSE } else { INDEX };
            let share = (goal - self.made().min(goal)) as u64 / self.plan.workers as u64;
            self.add(producer, now, EventKind::SpanBegin { site });
            now += self.plan.mean * share / if phase == 1 { 20 } else { 60 };
            self.add(producer, now, EventKind::SpanEnd);
            self.add(producer, now, EventKind::Mark { site: PHASE });
            while self.made() < goal {
                let batch = self.plan.workers as u64 * 8;
                for _ in 0..batch {
                    let site = self.random.below(TASK_SITES.min(4 + phase as u64)) as u32;
                    self.submit(producer, now, site);
                    now += 300;
                }
                self.depth(producer, now);
                now += self.plan.mean * 12;
                self.work_until(now);
            }
            self.add(
                producer,
                now,
                EventKind::WaitBegin {
                    on: Wait::Latch,
                    id: 0,
                },
            );
            while !self.queue.is_empty() {
                now += self.plan.mean;
                self.work_until(now);
            }
            now = now.max(self.clocks.iter().copied().max().unwrap_or(0));
            self.add(producer, now, EventKind::WaitEnd);
        }
        self.work_until(now + 1);
        self.add(producer, now, EventKind::GuestLeave);
    }

    fn submit(&mut self, track: usize, time: u64, site: u32) {
        let id = self.next_id;
        self.next_id += 1;
        self.stats.submitted += 1;
        self.add(track, time, EventKind::Made { id, site });
        if self.random.one_in(200) {
            self.stats.cancelled += 1;
            self.add(track, time + 100, EventKind::Cancelled { id });
            return;
        }
        self.queue.push_back((time, id, site, track));
    }

    /// Notes the lengths of the queues.
    fn depth(&mut self, track: usize, time: u64) {
        let injector = self.queue.len() as u32;
        let kind = EventKind::Depth {
            injector,
            deque: injector % 5,
            ring: injector % 17,
        };
        self.add(track, time, kind);
    }

    fn work_until(&mut self, time: u64) {
        while let Some(worker) = (0..self.plan.workers).min_by_key(|&w| self.clocks[w])
            && self.clocks[worker] < time
        {
            self.step(worker, time);
        }
    }

    /// Lets a worker run the next task, or sleep until there is one.
    fn step(&mut self, worker: usize, horizon: u64) {
        let now = self.clocks[worker];
        let Some(&(ready, id, site, maker)) = self.queue.front() else {
            self.rest(worker, horizon, None);
            return;
        };
        if ready > now {
            self.rest(
                worker,
                ready.min(horizon),
                (ready <= horizon).then_some(maker),
            );
            return;
        }
        self.queue.pop_front();
        let what = match site {
            3 => Work::ScopeTask,
            4 => Work::Poll,
            _ => Work::Task,
        };
        if maker != worker && maker < self.plan.workers {
            let kind = EventKind::Steal {
                victim: maker as u32,
                what,
                forced: self.random.one_in(9),
            };
            self.add(worker, now + 50, kind);
            self.stats.steals += 1;
            self.stats.workers[worker].stolen += 1;
        }
        self.add(worker, now + 60, EventKind::RunBegin { what, id, site });
        self.stats.workers[worker].executed += 1;
        let end = self.inside(worker, now + 60, site);
        let outcome = match self.random.below(500) {
            0 => Outcome::Panicked,
            _ => Outcome::Returned,
        };
        match outcome {
            Outcome::Panicked => self.stats.failed += 1,
            _ => self.stats.completed += 1,
        }
        self.add(worker, end, EventKind::RunEnd { outcome });
        self.add(worker, end, EventKind::Finished { id });
        self.clocks[worker] = end + 20;
    }

    /// What happens inside of a run. Returns the time at which it ends.
    fn inside(&mut self, worker: usize, begin: u64, site: u32) -> u64 {
        let mean = self.plan.mean / 2 * (1 + u64::from(site % 4));
        let mut now = begin + self.random.length(mean);
        match self.random.below(14) {
            0 => {
                let site = 5 * (now % 2) as u32;
                self.submit(worker, now, site);
                now += self.random.length(mean) / 4;
            }
            1 => now = self.fork(worker, now, mean),
            2 if self.random.one_in(5) => {
                let count = 20 + self.random.below(400) as u32;
                let begin = now;
                now += u64::from(count) * 190;
                let kind = EventKind::Batch {
                    begin,
                    count,
                    site: 3,
                };
                self.add(worker, now, kind);
            }
            3 => self.depth(worker, now),
            _ => (),
        }
        now
    }

    /// A join whose other half was stolen: the worker waits, and helps the thief or sleeps.
    fn fork(&mut self, worker: usize, begin: u64, mean: u64) -> u64 {
        let mut now = begin;
        let wait = EventKind::WaitBegin {
            on: Wait::Fork,
            id: 0,
        };
        self.add(worker, now, wait);
        if self.random.one_in(3) {
            self.add(worker, now + 2_000, EventKind::Park);
            now += 2_000 + self.random.length(mean) / 2;
            self.add(worker, now, EventKind::Unpark);
            self.parked(worker);
        } else {
            let victim = (worker + 1) % self.plan.workers;
            let steal = EventKind::Steal {
                victim: victim as u32,
                what: Work::Fork,
                forced: false,
            };
            self.add(worker, now + 200, steal);
            self.stats.steals += 1;
            self.stats.workers[worker].stolen += 1;
            self.stats.workers[worker].executed += 1;
            let run = EventKind::RunBegin {
                what: Work::Fork,
                id: 0,
                site: FORK_SITE + (now % 2) as u32,
            };
            self.add(worker, now + 210, run);
            now += 210 + self.random.length(mean) / 2;
            let outcome = Outcome::Returned;
            self.add(worker, now, EventKind::RunEnd { outcome });
        }
        self.add(worker, now + 30, EventKind::WaitEnd);
        now + 30 + self.random.length(mean) / 8
    }

    fn parked(&mut self, worker: usize) {
        self.stats.parks += 1;
        self.stats.workers[worker].parks += 1;
    }

    /// Searches, and sleeps if that is in vain, until `until`. `waker` is who wakes it then.
    fn rest(&mut self, worker: usize, until: u64, waker: Option<usize>) {
        let now = self.clocks[worker];
        let idle = EventKind::WaitBegin {
            on: Wait::Idle,
            id: 0,
        };
        self.add(worker, now, idle);
        let mut end = until;
        if until > now + 10_000 {
            self.add(worker, now + 5_000, EventKind::Park);
            end = until + 2_000 + self.random.below(4_000);
            if let Some(waker) = waker {
                let whom = worker as u32;
                self.add(waker, until, EventKind::Wake { whom });
                self.stats.wakeups += 1;
            }
            self.add(worker, end, EventKind::Unpark);
            self.parked(worker);
        }
        self.add(worker, end, EventKind::WaitEnd);
        self.clocks[worker] = end.max(now + 1);
    }

    fn finish(mut self) -> Trace {
        let taken = self.events.iter().flatten().map(|event| event.time).max();
        let taken = taken.unwrap_or(0) + 1_000;
        let mut tracks = Vec::new();
        let mut busy = 0;
        for (index, mut events) in std::mem::take(&mut self.events).into_iter().enumerate() {
            events.sort_by_key(|event| event.time);
            if index < self.plan.workers {
                busy += busy_time(&events);
            }
            let written = events.len() as u64;
            let lost = events.len() * self.plan.lost / 100;
            events.drain(..lost);
            let (role, name) = match index {
                _ if index < self.plan.workers => {
                    (TrackRole::Worker(index), format!("heist-{index}"))
                }
                _ => (TrackRole::Guest, "main".to_owned()),
            };
            tracks.push(Track {
                role,
                name,
                thread_id: 4_000 + index as u64,
                written,
                lost: lost as u64,
                older: 0,
                events,
            });
        }
        self.stats.busy = Duration::from_nanos(busy);
        Trace {
            program: "dupes".to_owned(),
            pool: "heist".to_owned(),
            num_threads: self.plan.workers,
            started: SystemTime::UNIX_EPOCH + Duration::from_secs(1_796_000_000),
            monotonic: 77_000_000_000,
            taken,
            resolution: 1_000,
            before: PoolStats {
                threads: self.plan.workers,
                workers: vec![WorkerStats::default(); self.plan.workers],
                ..PoolStats::default()
            },
            stats: self.stats,
            sites: sites(),
            tracks,
        }
    }
}

/// The time between a worker's searches.
fn busy_time(events: &[Event]) -> u64 {
    let mut idle = 0;
    let mut since = None;
    for event in events {
        match event.kind {
            EventKind::WaitBegin { on: Wait::Idle, .. } => since = Some(event.time),
            EventKind::WaitEnd => idle += since.take().map_or(0, |since| event.time - since),
            _ => (),
        }
    }
    let begin = events.first().map_or(0, |event| event.time);
    let end = events.last().map_or(0, |event| event.time);
    end - begin - idle
}
