//! A dump in words.

use super::model::{
    Dump, PoolDump, QueueDump, SystemState, TaskDump, ThreadDump, ThreadRef, ThreadRole,
    ThreadState, WaitCycle,
};
use std::fmt;
use std::time::Duration;

/// Names are cut after so many characters.
const LONGEST_NAME: usize = 80;

impl fmt::Display for Dump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, pool) in self.pools.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            self.write_pool(f, index, pool)?;
        }
        for cycle in &self.cycles {
            writeln!(f)?;
            self.write_cycle(f, cycle)?;
        }
        for caller in &self.callers {
            let (name, since) = (Quoted(&caller.name), seconds(caller.since));
            write!(
                f,
                "\nthread {name} {} waits since {since} for task #{}",
                caller.os_id, caller.task
            )?;
            if let Some(place) = caller.runs_on {
                write!(f, ", which runs on {}", self.title(place, 0))?;
            }
        }
        if self.is_partial {
            write!(f, "\nOther pools are left out: another thread held a lock.")?;
        }
        Ok(())
    }
}

impl Dump {
    fn write_pool(&self, f: &mut fmt::Formatter<'_>, index: usize, pool: &PoolDump) -> fmt::Result {
        write!(
            f,
            "pool {}: {} workers, {} threads awake",
            pool.number, pool.workers, pool.awake
        )?;
        if pool.is_of_parent {
            return write!(
                f,
                "; it was made before fork(), and its threads stayed in the parent"
            );
        }
        if pool.is_closed {
            write!(f, ", closed")?;
        }
        write!(f, "; queued: {}", pool.queues)?;
        if pool.suspended > 0 {
            write!(f, "; {} futures wait to be woken", pool.suspended)?;
        }
        for (thread, dump) in pool.threads.iter().enumerate() {
            let place = ThreadRef {
                pool: index,
                thread,
            };
            write!(f, "\n  {:<10} {dump}", dump.role.to_string())?;
            let to = self.waits.iter().filter(|edge| edge.from == place);
            for (n, edge) in to.enumerate() {
                let word = if n == 0 { ", which runs on " } else { " and " };
                write!(f, "{word}{}", self.title(edge.to, index))?;
            }
            dump.write_rest(f)?;
        }
        Ok(())
    }

    /// What a thread is called by those of the pool `from`.
    fn title(&self, place: ThreadRef, from: usize) -> String {
        let thread = self.thread(place);
        match place.pool {
            pool if pool == from => thread.title(),
            pool => format!("{} of pool {}", thread.title(), self.pools[pool].number),
        }
    }

    /// Names a circle, for example `deadlock: worker 0, in task "a" (#1), waits for task #2 on worker 1, ..`.
    pub(crate) fn write_cycle(&self, f: &mut fmt::Formatter<'_>, cycle: &WaitCycle) -> fmt::Result {
        // With the pools named if there are several.
        let pools = cycle.edges.iter().map(|edge| edge.to.pool);
        let is_mixed = pools
            .clone()
            .any(|pool| Some(pool) != cycle.edges.first().map(|e| e.to.pool));
        let title =
            |place: ThreadRef| self.title(place, if is_mixed { usize::MAX } else { place.pool });
        write!(f, "deadlock: ")?;
        for (n, edge) in cycle.edges.iter().enumerate() {
            let thread = self.thread(edge.from);
            let separator = if n == 0 { "" } else { "; " };
            write!(f, "{separator}{}", title(edge.from))?;
            if let Some(task) = &thread.task {
                write!(f, ", in {task},")?;
            }
            let what = Waiting {
                state: thread.does,
                dump: self,
            };
            write!(f, " waits for {what} on {}", title(edge.to))?;
        }
        Ok(())
    }

    /// The task of this id, if a thread runs it.
    fn task(&self, id: u64) -> Option<&TaskDump> {
        let threads = self.pools.iter().flat_map(|pool| &pool.threads);
        threads
            .filter_map(|thread| thread.task.as_ref())
            .find(|task| task.id == id)
    }
}

/// What a thread waits for.
struct Waiting<'a> {
    state: ThreadState,
    dump: &'a Dump,
}

impl fmt::Display for Waiting<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.state {
            ThreadState::WaitingForTask(id) => match self.dump.task(id) {
                Some(task) => write!(f, "{task}"),
                None => write!(f, "task #{id}"),
            },
            state => f.write_str(awaited(state)),
        }
    }
}

fn awaited(state: ThreadState) -> &'static str {
    match state {
        ThreadState::WaitingForJoin => "the other part of a join",
        ThreadState::WaitingForScope(_) => "the tasks of a scope",
        ThreadState::WaitingForTask(_) => "a task",
        ThreadState::WaitingForSeveral => "any of several tasks",
        ThreadState::WaitingForRoom => "room in a full queue",
        ThreadState::WaitingForWaker => "the waker of a future",
        _ => "something in the pool",
    }
}

impl fmt::Display for ThreadDump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.does {
            ThreadState::Idle => write!(f, "has no work{}", self.since()),
            ThreadState::Searching => write!(f, "looks for work"),
            ThreadState::Running => write!(f, "{}{}", self.running(), self.since()),
            ThreadState::Blocking => write!(f, "is in heist::blocking{}", self.since()),
            ThreadState::WaitingForTask(id) => write!(f, "waits{} for task #{id}", self.since()),
            ThreadState::WaitingForScope(left) => {
                write!(
                    f,
                    "waits{} for a scope with {left} tasks left",
                    self.since()
                )
            }
            state => write!(f, "waits{} for {}", self.since(), awaited(state)),
        }
    }
}

impl ThreadDump {
    /// How a text calls the thread.
    fn title(&self) -> String {
        let has_own_name = self.role == ThreadRole::Guest && !self.name.is_empty();
        if has_own_name {
            format!("thread {}", Quoted(&self.name))
        } else {
            self.role.to_string()
        }
    }

    fn running(&self) -> &'static str {
        match self.system {
            SystemState::Blocked => "is blocked in the program's code",
            SystemState::Starved => "is ready to run but gets no processor",
            SystemState::Stopped => "is stopped by a signal or a debugger",
            SystemState::Busy => "is busy in the program's code",
            SystemState::Unknown => "runs the program's code",
        }
    }

    fn since(&self) -> String {
        let (least, most) = (self.since_at_least, self.since_at_most);
        match most {
            Some(most) if seconds(most) == seconds(least) => format!(" since {}", seconds(least)),
            Some(most) if least.is_zero() => format!(" since at most {}", seconds(most)),
            Some(most) => format!(" since {} to {}", seconds(least), seconds(most)),
            None if least.is_zero() => String::new(),
            None => format!(" since at least {}", seconds(least)),
        }
    }

    fn write_rest(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(task) = &self.task {
            write!(f, "; in {task}")?;
        }
        let outer = self.outer_tasks.iter().rev();
        outer
            .clone()
            .try_for_each(|id| write!(f, ", inside task #{id}"))?;
        if self.joins > 0 {
            write!(f, "; {} joins, {} stolen", self.joins, self.stolen)?;
        }
        if self.queued > 0 {
            write!(f, "; {} queued", self.queued)?;
        }
        if !self.name.is_empty() {
            write!(f, "; thread {} {}", Quoted(&self.name), self.os_id)?;
        }
        Ok(())
    }
}

fn seconds(time: Duration) -> String {
    match time {
        time if time >= Duration::from_secs(10) => format!("{:.0} s", time.as_secs_f64()),
        time if time >= Duration::from_millis(100) => format!("{:.1} s", time.as_secs_f64()),
        time => format!("{:.1} ms", time.as_secs_f64() * 1e3),
    }
}

impl fmt::Display for ThreadRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ThreadRole::Worker(index) => write!(f, "worker {index}"),
            ThreadRole::Spare => write!(f, "a spare"),
            ThreadRole::Guest => write!(f, "a caller"),
        }
    }
}

impl fmt::Display for TaskDump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "task {} (#{})", Quoted(name), self.id),
            None => write!(f, "task #{}", self.id),
        }
    }
}

impl fmt::Display for QueueDump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let queues = [
            (self.high, "high"),
            (self.normal, "normal"),
            (self.low, "low"),
            (self.woken, "woken"),
            (self.items.unwrap_or(0), "items of streams"),
            (self.scope_tasks, "of scopes"),
        ];
        let mut is_empty = true;
        for (len, name) in queues.into_iter().filter(|&(len, _)| len > 0) {
            let separator = if is_empty { "" } else { ", " };
            write!(f, "{separator}{len} {name}")?;
            is_empty = false;
        }
        if is_empty {
            write!(f, "nothing")?;
        }
        if !self.oldest.is_zero() {
            write!(f, ", the oldest since at least {}", seconds(self.oldest))?;
        }
        Ok(())
    }
}

/// A name in quotes, without control characters, cut if it is long.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (start, rest) = match self.0.char_indices().nth(LONGEST_NAME) {
            Some((at, _)) => (&self.0[..at], "..."),
            None => (self.0, ""),
        };
        write!(f, "\"{}\"{rest}", start.escape_debug())
    }
}
