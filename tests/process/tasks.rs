//! The tasks of the tests.

use crate::support::note;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

#[heist::task]
pub fn square(n: u64) -> u64 {
    n.wrapping_mul(n)
}

#[heist::task]
pub fn nothing() {}

#[heist::task]
pub fn join_words(first: String, second: String, times: usize) -> String {
    format!("{first} {second}").repeat(times)
}

#[heist::task]
pub fn pid() -> u32 {
    std::process::id()
}

#[heist::task]
pub fn panics(text: String) -> u32 {
    panic!("{text}")
}

#[heist::task]
pub fn panics_without_text() -> u32 {
    std::panic::panic_any(7_u32)
}

#[heist::task]
pub fn fails(n: u32) -> Result<u32, String> {
    if n % 2 == 1 {
        Err(format!("{n} is odd"))
    } else {
        Ok(n)
    }
}

#[heist::task]
pub fn sleep_ms(ms: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(ms));
    ms
}

/// Returns when its token is cancelled, at the latest after a minute. Returns whether it was.
#[heist::task]
pub fn until_cancelled(log: String) -> bool {
    let token = heist::current_token();
    note(&log, 0);
    let begin = Instant::now();
    while !token.is_cancelled() && begin.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(1));
    }
    if token.is_cancelled() {
        note(&log, 1);
    }
    token.is_cancelled()
}

#[heist::task]
pub fn bytes(bytes: serde_bytes::ByteBuf) -> serde_bytes::ByteBuf {
    bytes
}

#[heist::task]
pub fn many_bytes(count: usize) -> serde_bytes::ByteBuf {
    serde_bytes::ByteBuf::from(vec![7; count])
}

/// Notes that it begins, and squares.
#[heist::task]
pub fn logged(log: String, number: u64) -> u64 {
    note(&log, number);
    number * number
}

/// How a process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Death {
    Kill,
    Segfault,
    Abort,
    Exit(i32),
    StackOverflow,
    OutOfMemory,
}

/// Notes that it begins, and dies.
#[heist::task]
pub fn dies(log: String, number: u64, death: Death) -> u64 {
    note(&log, number);
    silence_stderr();
    match death {
        Death::Kill => crate::support::kill(std::process::id()),
        Death::Segfault => {
            let nowhere = std::ptr::without_provenance_mut::<u8>(64);
            // SAFETY: none: the write is to an address that is not mapped, and ends the process. That is what is tested.
            unsafe { nowhere.write_volatile(1) };
        }
        Death::Abort => std::process::abort(),
        Death::Exit(code) => std::process::exit(code),
        Death::StackOverflow => return overflow(number),
        Death::OutOfMemory => {
            let limit = libc::rlimit {
                rlim_cur: 1 << 20,
                rlim_max: 1 << 20,
            };
            // SAFETY: the call reads the limit.
            unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) };
            let memory = vec![1_u8; 1 << 28];
            return memory.iter().map(|byte| u64::from(*byte)).sum();
        }
    }
    std::thread::sleep(Duration::from_secs(60));
    0
}

#[expect(unconditional_recursion, reason = "it overflows the stack")]
fn overflow(number: u64) -> u64 {
    let room = std::hint::black_box([number; 1024]);
    overflow(room[7] + 1) + room[8]
}

/// Writes to all descriptors of its process that are sockets, as broken C code might.
#[heist::task]
pub fn writes_rubbish() -> u32 {
    for fd in 3..64 {
        let rubbish = [0xfe_u8; 64];
        // SAFETY: the call reads the bytes.
        unsafe {
            libc::send(
                fd,
                rubbish.as_ptr().cast(),
                rubbish.len(),
                libc::MSG_DONTWAIT,
            )
        };
    }
    1
}

/// Closes all descriptors of its process but the first three.
#[heist::task]
pub fn closes_all() -> u32 {
    silence_stderr();
    for fd in 3..64 {
        // SAFETY: none: others own the descriptors. That is what is tested.
        unsafe { libc::close(fd) };
    }
    1
}

/// Leaves a child behind that holds copies of all descriptors, and dies.
#[heist::task]
pub fn forks_and_dies() -> u32 {
    silence_stderr();
    // SAFETY: the child calls only what a child of a process with threads may call.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: the call takes an integer.
        unsafe { libc::sleep(20) };
        // SAFETY: the call requires nothing.
        unsafe { libc::_exit(0) };
    }
    std::process::abort()
}

/// A static of each worker, which `prepare` fills.
static PREPARED: std::sync::OnceLock<String> = std::sync::OnceLock::new();

#[heist::task]
pub fn prepare(text: String) {
    assert_ne!(text, "panic", "not prepared");
    if text == "exit" {
        std::process::exit(5);
    }
    PREPARED.set(text).expect("a worker is prepared once");
}

#[heist::task]
pub fn prepared() -> Option<String> {
    PREPARED.get().cloned()
}

#[heist::task]
pub fn prints(text: String) {
    println!("{text}");
    eprintln!("{text}");
}

#[heist::task]
pub fn builds_a_pool() -> String {
    match heist::ProcessPool::new() {
        Ok(_) => "built".to_owned(),
        Err(error) => error.to_string(),
    }
}

#[heist::task]
pub fn environment(name: String) -> Option<String> {
    std::env::var(name).ok()
}

/// Runs this program again, and returns what it prints when it is asked for its mode.
#[heist::task]
pub fn runs_the_program() -> String {
    let program = std::env::current_exe().expect("the path of this program");
    let output = std::process::Command::new(program)
        .env(crate::parents::MODE, "say")
        .output()
        .expect("this program runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Prepares a worker slowly.
#[heist::task]
pub fn sleep_first(ms: u64) {
    sleep_ms(ms);
}

/// Makes what the system or the runtime prints about the end of this process disappear.
fn silence_stderr() {
    let null = File::options()
        .write(true)
        .open("/dev/null")
        .expect("/dev/null");
    // SAFETY: the call takes two integers.
    unsafe { libc::dup2(null.as_raw_fd(), 2) };
}
