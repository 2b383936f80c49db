//! A thread's number in the system, and how much it runs.

/// What the system says about a thread of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Usage {
    /// For how long it has run, in nanoseconds.
    pub(crate) ran_ns: u64,
    /// For how long it has been ready to run without a processor, in nanoseconds, until it last got one. `None` if the system does not say.
    pub(crate) delayed_ns: Option<u64>,
    /// `R` if it is ready to run, `S` or `D` if it sleeps, `T` or `t` if it is stopped.
    pub(crate) state: u8,
}

#[cfg(all(target_os = "linux", not(miri)))]
mod linux {
    use super::Usage;
    use std::cell::Cell;
    use std::fs;

    /// The number of the current thread, which is not 0.
    pub(crate) fn own_id() -> u64 {
        thread_local! {
            /// The number, and the count of forks when it was read: a forked child's thread has another one.
            static ID: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
        }
        // A thread whose thread-locals are gone asks each time.
        let cached = ID.try_with(Cell::get).unwrap_or_default();
        if cached.0 != 0 && cached.1 == crate::sys::forks() {
            return cached.0;
        }
        // SAFETY: the system call takes no arguments.
        let id = unsafe { libc::syscall(libc::SYS_gettid) };
        let id = u64::try_from(id).unwrap_or(0);
        let _ = ID.try_with(|cell| cell.set((id, crate::sys::forks())));
        id
    }

    /// The name that the system has for a thread of this process, which can be shorter than the one that it was given.
    pub(crate) fn name(thread: u64) -> Option<String> {
        let name = fs::read(format!("/proc/self/task/{thread}/comm")).ok()?;
        Some(
            String::from_utf8_lossy(&name)
                .trim_end_matches('\n')
                .to_owned(),
        )
    }

    /// Returns `None` if there is no such thread.
    pub(crate) fn usage(thread: u64) -> Option<Usage> {
        let stat = fs::read(format!("/proc/self/task/{thread}/stat")).ok()?;
        // The line is "number (name) S ...". The name may hold any byte, so the state follows the last bracket.
        let bracket = stat.iter().rposition(|&byte| byte == b')')?;
        let state = *stat.get(bracket + 2)?;
        let text = fs::read_to_string(format!("/proc/self/task/{thread}/schedstat"));
        let schedule: Vec<u64> = text
            .unwrap_or_default()
            .split_ascii_whitespace()
            .filter_map(|number| number.parse().ok())
            .collect();
        let ran_ns = cpu_time(thread).or_else(|| schedule.first().copied())?;
        Some(Usage {
            ran_ns,
            delayed_ns: schedule.get(1).copied(),
            state,
        })
    }

    /// The processor time of a thread, which is exact at any moment. The file `schedstat` lags behind while the thread runs.
    fn cpu_time(thread: u64) -> Option<u64> {
        // The kernel's encoding of a clock of one thread: the complement of its number, and the bits for "thread" and "scheduler".
        let clock = (!i32::try_from(thread).ok()?) << 3 | 0b110;
        let mut time = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: `time` has room for the result.
        let result = unsafe { libc::clock_gettime(clock, &raw mut time) };
        let seconds = u64::try_from(time.tv_sec).ok()?;
        (result == 0).then(|| seconds * 1_000_000_000 + time.tv_nsec.cast_unsigned())
    }
}

#[cfg(all(target_os = "linux", not(miri)))]
pub(crate) use linux::{name, own_id, usage};

/// Where the system's numbers are not known, a number that no other thread of the process has, and which is not 0.
#[cfg(any(miri, not(target_os = "linux")))]
pub(crate) fn own_id() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(1);
    thread_local! {
        static ID: u64 = NEXT.fetch_add(1, Ordering::Relaxed);
    }
    ID.try_with(|id| *id).unwrap_or(0)
}

#[cfg(any(miri, not(target_os = "linux")))]
pub(crate) fn name(_: u64) -> Option<String> {
    None
}

#[cfg(any(miri, not(target_os = "linux")))]
pub(crate) fn usage(_: u64) -> Option<Usage> {
    None
}
