//! Large arguments there and back: the pool, and prototypes of its path over a socket and over shared memory: `cargo run --release --bin large [ROUNDS]`.
//!
//! A prototype does what a pool must do: it copies the value into a message, and out of the message in the other process. Over a socket the message is written and read.
//! Over shared memory (memfd) it is made in a mapping and read from a mapping, so the kernel copies nothing, but has to provide and map fresh pages each time.
//! The other process opens the memory by its path in `/proc`, which takes about as long as a descriptor that is sent.

use heist::{Executor, ProcessPool};
use serde_bytes::ByteBuf;
use std::env;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command};
use std::ptr;
use std::time::{Duration, Instant};

#[heist::task]
fn echo(bytes: ByteBuf) -> ByteBuf {
    bytes
}

const VARIABLE: &str = "HEIST_LARGE_PEER";

#[derive(Clone, Copy)]
enum Way {
    Socket,
    Memory,
}

/// A mapped file in memory.
struct Mapping {
    address: *mut u8,
    length: usize,
    file: File,
}

impl Mapping {
    fn new(length: usize) -> io::Result<Self> {
        // SAFETY: the name is a string that ends with a zero byte.
        let fd = unsafe { libc::memfd_create(c"large".as_ptr(), libc::MFD_CLOEXEC) };
        // SAFETY: the kernel has just made the descriptor.
        let file = File::from(unsafe { OwnedFd::from_raw_fd(fd) });
        file.set_len(length as u64)?;
        Self::of(file, length)
    }

    fn of(file: File, length: usize) -> io::Result<Self> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_SHARED | libc::MAP_POPULATE;
        // SAFETY: the kernel chooses the address.
        let address = unsafe {
            libc::mmap(
                ptr::null_mut(),
                length,
                protection,
                flags,
                file.as_raw_fd(),
                0,
            )
        };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let address = address.cast();
        Ok(Mapping {
            address,
            length,
            file,
        })
    }

    fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: the memory is mapped, and the other process does not use it at this time.
        unsafe { std::slice::from_raw_parts_mut(self.address, self.length) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the memory was mapped with this length.
        unsafe { libc::munmap(self.address.cast(), self.length) };
    }
}

/// Sends a value. What it returns has to live until the answer is there.
fn send(socket: &mut UnixStream, way: Way, value: &[u8]) -> io::Result<Option<Mapping>> {
    match way {
        Way::Socket => {
            let mut message = Vec::with_capacity(value.len() + 8);
            message.extend_from_slice(&value.len().to_le_bytes());
            message.extend_from_slice(value);
            socket.write_all(&message)?;
            Ok(None)
        }
        Way::Memory => {
            let mut mapping = Mapping::new(value.len())?;
            mapping.bytes().copy_from_slice(value);
            let (pid, fd) = (std::process::id(), mapping.file.as_raw_fd());
            let numbers = [value.len() as u64, pid.into(), fd as u64];
            socket.write_all(&numbers.map(u64::to_le_bytes).concat())?;
            Ok(Some(mapping))
        }
    }
}

/// Receives a value. Returns `None` at the end.
fn receive(socket: &mut UnixStream, way: Way, inbox: &mut Vec<u8>) -> io::Result<Option<Vec<u8>>> {
    let mut number = || {
        let mut bytes = [0; 8];
        socket
            .read_exact(&mut bytes)
            .map(|()| u64::from_le_bytes(bytes))
    };
    let Ok(length) = number() else {
        return Ok(None);
    };
    let length = length as usize;
    match way {
        Way::Socket => {
            inbox.resize(length, 0);
            socket.read_exact(inbox)?;
            Ok(Some(inbox.clone()))
        }
        Way::Memory => {
            let path = format!("/proc/{}/fd/{}", number()?, number()?);
            let file = fs::OpenOptions::new().read(true).write(true).open(path)?;
            Ok(Some(Mapping::of(file, length)?.bytes().to_vec()))
        }
    }
}

/// Sends back what it receives.
fn serve(way: Way) -> io::Result<()> {
    // SAFETY: descriptor 0 is the socket, and nobody else uses it.
    let mut socket = UnixStream::from(unsafe { OwnedFd::from_raw_fd(0) });
    let (mut inbox, mut last) = (Vec::new(), None);
    while let Some(value) = receive(&mut socket, way, &mut inbox)? {
        drop(last);
        last = send(&mut socket, way, &value)?;
    }
    Ok(())
}

fn start(way: &str) -> io::Result<(Child, UnixStream)> {
    let (ours, its) = UnixStream::pair()?;
    let child = Command::new(env::current_exe()?)
        .env(VARIABLE, way)
        .stdin(OwnedFd::from(its))
        .spawn()?;
    Ok((child, ours))
}

/// The least time of several calls.
fn least(count: usize, mut f: impl FnMut()) -> Duration {
    let time = |_| {
        let begin = Instant::now();
        f();
        begin.elapsed()
    };
    (0..count).map(time).min().expect("a count above 0")
}

fn prototype(way: Way, name: &str, content: &ByteBuf, count: usize) -> Duration {
    let (mut child, mut socket) = start(name).expect("a peer");
    let mut inbox = Vec::new();
    let time = least(count, || {
        let kept = send(&mut socket, way, content).expect("it is sent");
        let back = receive(&mut socket, way, &mut inbox).expect("it is received");
        assert_eq!(back.expect("an answer").len(), content.len());
        drop(kept);
    });
    drop(socket);
    child.wait().expect("the peer ends");
    time
}

fn main() {
    heist::init();
    match env::var(VARIABLE).as_deref() {
        Ok("socket") => return serve(Way::Socket).expect("the peer works"),
        Ok("memory") => return serve(Way::Memory).expect("the peer works"),
        _ => {}
    }
    let rounds = env::args().nth(1);
    let rounds: usize = rounds.map_or(3, |text| text.parse().expect("a number of rounds"));
    println!(
        "{:>8} {:>12} {:>14} {:>14}",
        "MiB", "pool ms", "socket ms", "memory ms"
    );
    for mebibytes in [1, 4, 16, 64] {
        let content = ByteBuf::from(vec![7; mebibytes << 20]);
        let count = 64 / mebibytes + 4;
        let mut best = [Duration::MAX; 3];
        for _ in 0..rounds {
            let pool = ProcessPool::builder()
                .num_workers(1)
                .build()
                .expect("a pool");
            let times = [
                least(count, || {
                    // The pool takes the value, so a copy is made that the prototypes do not need: it is not measured.
                    let back = pool.submit(echo::TASK, content.clone()).join();
                    assert_eq!(back.expect("a result").len(), content.len());
                }) - least(count, || drop(std::hint::black_box(content.clone()))),
                prototype(Way::Socket, "socket", &content, count),
                prototype(Way::Memory, "memory", &content, count),
            ];
            for (best, time) in best.iter_mut().zip(times) {
                *best = time.min(*best);
            }
        }
        let [pool, socket, memory] = best.map(|time| time.as_secs_f64() * 1e3);
        println!("{mebibytes:>8} {pool:>12.2} {socket:>14.2} {memory:>14.2}");
    }
}
