//! Signals to processes, which `tests/cluster` sends too.

pub fn kill(pid: u32) {
    signal(pid, libc::SIGKILL);
}

pub fn signal(pid: u32, signal: i32) {
    let pid = libc::pid_t::try_from(pid).expect("an id of a process");
    // SAFETY: the call takes two integers.
    unsafe { libc::kill(pid, signal) };
}
