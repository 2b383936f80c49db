//! What a pool of processes needs from Linux beyond std: poll, descriptors that travel over a socket, shared memory, process descriptors.

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU8, AtomicU64};
use std::time::Duration;

pub(super) use libc::SIGKILL;

/// What [`poll`] waits for at one descriptor, and what it has found.
#[repr(transparent)]
pub(super) struct Watched(libc::pollfd);

impl Watched {
    /// Waits until the descriptor can be read or has ended, and if `writes` until it can be written.
    pub(super) fn new(fd: BorrowedFd<'_>, writes: bool) -> Self {
        let write = if writes { libc::POLLOUT } else { 0 };
        Watched(libc::pollfd {
            fd: fd.as_raw_fd(),
            events: libc::POLLIN | write,
            revents: 0,
        })
    }

    /// Whether there is something to read, an end or an error included.
    pub(super) fn is_readable(&self) -> bool {
        self.0.revents & !libc::POLLOUT != 0
    }

    pub(super) fn is_ready(&self) -> bool {
        self.0.revents != 0
    }
}

/// Waits until one of the descriptors is ready, or the time has passed. A signal ends the wait early.
pub(super) fn poll(watched: &mut [Watched], timeout: Option<Duration>) {
    let time = timeout.map(|timeout| libc::timespec {
        tv_sec: timeout.as_secs().try_into().unwrap_or(libc::time_t::MAX),
        tv_nsec: timeout.subsec_nanos().into(),
    });
    let time = time.as_ref().map_or(ptr::null(), ptr::from_ref);
    let count = watched.len() as libc::nfds_t;
    // SAFETY: (1) `Watched` is transparent, so this is an array of `count` entries that the kernel may write. (2) `time` is null or a live time.
    let found = unsafe { libc::ppoll(watched.as_mut_ptr().cast(), count, time, ptr::null()) };
    if found < 0 {
        // Interrupted: nothing is ready.
        watched.iter_mut().for_each(|one| one.0.revents = 0);
    }
}

/// Room for the control message of two descriptors, aligned for its header.
type Control = [u64; 8];

const TWO_FDS: u32 = 2 * size_of::<RawFd>() as u32;

/// Sends `bytes` with two descriptors.
pub(super) fn send_fds(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    fds: [BorrowedFd<'_>; 2],
) -> io::Result<()> {
    let mut control: Control = [0; 8];
    let mut piece = libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    let message = message(&mut piece, &mut control);
    let fds = fds.map(|fd| fd.as_raw_fd());
    // SAFETY: the message has a control buffer that is large enough for a header.
    let header = unsafe { libc::CMSG_FIRSTHDR(&message) };
    // SAFETY: `CMSG_LEN` computes a length.
    let length = unsafe { libc::CMSG_LEN(TWO_FDS) };
    let filled = libc::cmsghdr {
        cmsg_len: length as _,
        cmsg_level: libc::SOL_SOCKET,
        cmsg_type: libc::SCM_RIGHTS,
    };
    // SAFETY: the header is in the control buffer, which is aligned for it.
    unsafe { header.write(filled) };
    // SAFETY: the header is in the control buffer, and its data lie behind it.
    let data = unsafe { libc::CMSG_DATA(header) };
    // SAFETY: the control buffer has room for two descriptors behind the header. The place need not be aligned for them.
    unsafe { data.cast::<[RawFd; 2]>().write_unaligned(fds) };
    // SAFETY: all pointers in the message are to live memory of the lengths that it states.
    let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &message, libc::MSG_NOSIGNAL) };
    match usize::try_from(sent) {
        Ok(sent) if sent == bytes.len() => Ok(()),
        Ok(_) => Err(io::ErrorKind::WriteZero.into()),
        Err(_) => Err(io::Error::last_os_error()),
    }
}

/// Looks at the first bytes that are in a socket, and leaves them there. Does not wait. Returns how many there are, 0 if `fd` is no socket.
pub(super) fn peek(fd: BorrowedFd<'_>, bytes: &mut [u8]) -> usize {
    let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
    // SAFETY: the kernel may write as many bytes as the slice has.
    let count = unsafe {
        libc::recv(
            fd.as_raw_fd(),
            bytes.as_mut_ptr().cast(),
            bytes.len(),
            flags,
        )
    };
    usize::try_from(count).unwrap_or(0)
}

/// Receives a message of at most `bytes.len()` bytes with two descriptors. Does not wait.
pub(super) fn recv_fds(
    socket: BorrowedFd<'_>,
    bytes: &mut [u8],
) -> io::Result<(usize, [OwnedFd; 2])> {
    let mut control: Control = [0; 8];
    let mut piece = libc::iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: bytes.len(),
    };
    let mut message = message(&mut piece, &mut control);
    let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
    // SAFETY: all pointers in the message are to live memory of the lengths that it states, which the kernel may write.
    let count = unsafe { libc::recvmsg(socket.as_raw_fd(), &mut message, flags) };
    let Ok(count) = usize::try_from(count) else {
        return Err(io::Error::last_os_error());
    };
    // SAFETY: the kernel has filled in the control buffer and its length.
    let header = unsafe { libc::CMSG_FIRSTHDR(&message) };
    // SAFETY: the pointer is null, or to a header in the control buffer, which is aligned for it.
    let Some(found) = (unsafe { header.as_ref() }) else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    // SAFETY: `CMSG_LEN` computes a length.
    let length = unsafe { libc::CMSG_LEN(TWO_FDS) };
    if found.cmsg_type != libc::SCM_RIGHTS || found.cmsg_len as u64 != u64::from(length) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    // SAFETY: the header is in the control buffer, and its data lie behind it.
    let data = unsafe { libc::CMSG_DATA(header) };
    // SAFETY: the header's length says that there are two descriptors.
    let fds = unsafe { data.cast::<[RawFd; 2]>().read_unaligned() };
    // SAFETY: the kernel has just made these descriptors for this process, and nobody else owns them.
    let fds = fds.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
    Ok((count, fds))
}

fn message(piece: &mut libc::iovec, control: &mut Control) -> libc::msghdr {
    // SAFETY: `msghdr` consists of integers and pointers, for which zero is a value.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = piece;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    // SAFETY: `CMSG_SPACE` computes a length.
    message.msg_controllen = unsafe { libc::CMSG_SPACE(TWO_FDS) } as _;
    message
}

/// Returns a descriptor that becomes readable when the process ends, if the kernel has such descriptors. The process is a child of this one that was not
/// waited for.
pub(super) fn process_fd(pid: u32) -> Option<OwnedFd> {
    // SAFETY: the call takes two integers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let fd = RawFd::try_from(fd).ok().filter(|fd| *fd >= 0)?;
    // SAFETY: the kernel has just made this descriptor, and nobody else owns it.
    Some(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Kills a process of which this is the [descriptor](process_fd). Unlike an id, it never means another process.
pub(super) fn kill_process(process: BorrowedFd<'_>) {
    let none: *const libc::siginfo_t = ptr::null();
    // SAFETY: without signal information, the call takes integers.
    unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            process.as_raw_fd(),
            SIGKILL,
            none,
            0,
        )
    };
}

/// Makes the kernel kill this process when the thread that started it ends.
pub(super) fn die_with_parent() {
    // SAFETY: this option takes an integer.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
}

/// Makes descriptor 0 another name of `fd`.
pub(super) fn replace_stdin(fd: BorrowedFd<'_>) {
    // SAFETY: the call takes two integers. Descriptor 0 belongs to nobody: std's `Stdin` uses it by number.
    unsafe { libc::dup2(fd.as_raw_fd(), 0) };
}

/// Ends the process at once, without exit handlers.
pub(super) fn exit_now(code: i32) -> ! {
    // SAFETY: the call requires nothing.
    unsafe { libc::_exit(code) }
}

/// The length of a shared page in bytes.
pub(super) const PAGE_BYTES: usize = 64 << 10;

/// Words before the bytes.
const WORDS: usize = 3;

/// Memory that a worker shares with its parent, and that outlives the worker.
pub(super) struct Page(NonNull<AtomicU64>);

// SAFETY: the page is reached by atomics only.
unsafe impl Send for Page {}
// SAFETY: the page is reached by atomics only.
unsafe impl Sync for Page {}

impl Page {
    /// Makes a page, and a descriptor from which another process can [map](Self::map) it.
    pub(super) fn new() -> io::Result<(Self, OwnedFd)> {
        let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
        // SAFETY: the name is a string that ends with a zero byte.
        let fd = unsafe { libc::memfd_create(c"heist-worker".as_ptr(), flags) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just made this descriptor, and nobody else owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: the call takes two integers.
        if unsafe { libc::ftruncate(fd.as_raw_fd(), PAGE_BYTES as libc::off_t) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // Nobody can shrink the memory: reading it would end this process.
        let seals = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;
        // SAFETY: the command takes an integer.
        if unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_ADD_SEALS, seals) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok((Self::map(fd.as_fd())?, fd))
    }

    pub(super) fn map(fd: BorrowedFd<'_>) -> io::Result<Self> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let (any, fd) = (ptr::null_mut(), fd.as_raw_fd());
        // SAFETY: the kernel chooses the address, so the mapping replaces no other.
        let address = unsafe { libc::mmap(any, PAGE_BYTES, protection, libc::MAP_SHARED, fd, 0) };
        match NonNull::new(address) {
            Some(address) if address.as_ptr() != libc::MAP_FAILED => Ok(Page(address.cast())),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// The number of the next item that may begin.
    pub(super) fn next(&self) -> &AtomicU64 {
        self.word(0)
    }

    /// The number of the first saved item.
    pub(super) fn saved_first(&self) -> &AtomicU64 {
        self.word(1)
    }

    /// The number of saved bytes.
    pub(super) fn saved_bytes(&self) -> &AtomicU64 {
        self.word(2)
    }

    fn word(&self, index: usize) -> &AtomicU64 {
        assert!(index < WORDS);
        // SAFETY: the word is within the page.
        let word = unsafe { self.0.add(index) };
        // SAFETY: (1) the page is mapped as long as `self` lives, and aligned. (2) All processes use the word as an atomic.
        unsafe { word.as_ref() }
    }

    /// The bytes behind the words.
    pub(super) fn bytes(&self) -> &[AtomicU8] {
        // SAFETY: the bytes begin within the page.
        let bytes = unsafe { self.0.add(WORDS) };
        let length = PAGE_BYTES - WORDS * size_of::<u64>();
        let bytes = NonNull::slice_from_raw_parts(bytes.cast(), length);
        // SAFETY: (1) the page is mapped as long as `self` lives, and ends where the slice ends. (2) All processes use the bytes as atomics.
        unsafe { bytes.as_ref() }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // SAFETY: `map` has mapped these bytes, and nobody has a reference to them any more.
        unsafe { libc::munmap(self.0.as_ptr().cast(), PAGE_BYTES) };
    }
}
