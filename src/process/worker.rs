//! The worker's side: how a process finds out that it is a worker, and what it does then.
//!
//! A worker is the same program, started again. Its descriptor 0 is the *control* socket, over which the parent has already sent a greeting with two more
//! descriptors: the *data* socket and the shared [`Page`]. The environment variable [`VARIABLE`] holds a number that is in the greeting too, so a process that has
//! inherited the variable from a worker does not take itself for one.
//!
//! Tasks run on the main thread, one after the other. It claims each item by a compare-and-swap on the page, from the item's number to the next. The parent takes
//! items back by moving the word on itself; a claim then fails, and the worker skips the item. Each outcome is sent, or saved in the page, before the next item is
//! claimed. So the parent of a worker that has died knows which items have run, which one was running, and which had not begun.
//!
//! A second thread reads the control socket. It cancels the token of the running task when the parent says so, and ends the process when the parent has gone.

use super::codec::Format;
use super::os::{self, Page};
use super::registry;
use super::task::TaskEntry;
use super::wire::{self, Inbox, Reader, Rubbish, Saved};
use crate::CancelToken;
use crate::executor::remote::with_token;
use crate::sync::{Mutex, lock};
use crate::unwind;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The environment variable that holds a worker's number and the id of its parent.
pub(super) const VARIABLE: &str = "HEIST_WORKER";

/// What the parent sends first: these bytes and the worker's number.
pub(super) const GREETING: [u8; 8] = *b"heist-1\n";

pub(super) const GREETING_BYTES: usize = GREETING.len() + size_of::<u64>();

/// What this process is: nothing yet, a program, or a worker.
static ROLE: AtomicU8 = AtomicU8::new(NEW);
static CHOOSING: Mutex<()> = Mutex::new(());
const NEW: u8 = 0;
const PROGRAM: u8 = 1;
const WORKER: u8 = 2;

/// Whether [`init`] was called in this process, which is no worker.
pub(super) fn is_initialised() -> bool {
    ROLE.load(Ordering::Acquire) != NEW
}

/// Returns whether this process is a worker of a [`ProcessPool`](crate::ProcessPool).
///
/// ```
/// heist::init();
/// assert!(!heist::is_worker());
/// ```
pub fn is_worker() -> bool {
    ROLE.load(Ordering::Acquire) == WORKER
}

/// Makes this program one whose processes can be workers. [`#[heist::main]`](macro@crate::main) calls it.
///
/// A [`ProcessPool`](crate::ProcessPool) starts this program again for each worker. In such a process this
/// function runs the worker and never returns. In all others it returns at once. Call it as the first statement
/// of `main`: what is before it runs in each worker too.
///
/// In tests, whose `main` belongs to the test harness, call it in a test of its own and name that test in
/// [`worker_args`](crate::ProcessPoolBuilder::worker_args), or use a target with `harness = false`.
///
/// ```
/// heist::init();
/// ```
pub fn init() {
    // From here on this process is a worker, and never runs the program, even if it cannot work.
    if let Some(number) = choose_role() {
        let served = unwind::catch(|| take_start().and_then(|start| serve(start, number.parent)));
        let served = served.unwrap_or_else(|payload| {
            unwind::drop_quietly(payload);
            Err(io::Error::other("a panic"))
        });
        // A pool that is gone needs no message.
        let is_gone = |error: &io::Error| {
            use io::ErrorKind::{BrokenPipe, ConnectionReset};
            matches!(error.kind(), BrokenPipe | ConnectionReset)
        };
        if let Err(error) = &served
            && !is_gone(error)
        {
            eprintln!("heist: a worker process stops: {error}");
        }
        // As a program ends that returns from `main`: buffered output is written.
        std::process::exit(i32::from(served.is_err()));
    }
}

/// Finds out what this process is. Only the first call in a worker returns its number.
fn choose_role() -> Option<Numbers> {
    // Threads that call `init` at the same time wait for the first one, and then know.
    let _choosing = lock(&CHOOSING);
    if ROLE.load(Ordering::Acquire) != NEW {
        return None;
    }
    let text = std::env::var(VARIABLE).ok();
    let number = text
        .and_then(|text| Numbers::parse(&text))
        .filter(is_greeted);
    let role = if number.is_some() { WORKER } else { PROGRAM };
    ROLE.store(role, Ordering::Release);
    number
}

/// What [`VARIABLE`] holds.
pub(super) struct Numbers {
    pub(super) parent: u32,
    pub(super) worker: u64,
}

impl Numbers {
    pub(super) fn text(&self) -> String {
        format!("{}:{}", self.parent, self.worker)
    }

    fn parse(text: &str) -> Option<Self> {
        let (parent, worker) = text.split_once(':')?;
        Some(Numbers {
            parent: parent.parse().ok()?,
            worker: worker.parse().ok()?,
        })
    }
}

/// What a worker gets from its parent.
struct Start {
    control: UnixStream,
    data: UnixStream,
    page: Page,
}

/// Whether descriptor 0 is a control socket with the right greeting. What is in another one stays there.
fn is_greeted(number: &Numbers) -> bool {
    let mut bytes = [0; GREETING_BYTES];
    let count = os::peek(io::stdin().as_fd(), &mut bytes);
    bytes[..count] == greeting(number.worker)
}

/// Takes the greeting, and what has come with it.
fn take_start() -> io::Result<Start> {
    let stdin = io::stdin();
    let (_, [data, page]) = os::recv_fds(stdin.as_fd(), &mut [0; GREETING_BYTES])?;
    let control: OwnedFd = stdin.as_fd().try_clone_to_owned()?;
    // The user's code finds an empty standard input, as that of a background job.
    os::replace_stdin(File::open("/dev/null")?.as_fd());
    Ok(Start {
        control: control.into(),
        data: data.into(),
        page: Page::map(page.as_fd())?,
    })
}

pub(super) fn greeting(worker: u64) -> [u8; GREETING_BYTES] {
    let mut bytes = [0; GREETING_BYTES];
    bytes[..GREETING.len()].copy_from_slice(&GREETING);
    bytes[GREETING.len()..].copy_from_slice(&worker.to_le_bytes());
    bytes
}

/// The token of the running item, for the thread that reads the control socket.
#[derive(Default)]
struct Running(Mutex<Current>);

#[derive(Default)]
struct Current {
    item: Option<(u64, CancelToken)>,
    /// The item that is to be cancelled, if it has not been found yet.
    cancelled: Option<u64>,
}

impl Running {
    fn begin(&self, number: u64, token: &CancelToken) {
        let mut current = lock(&self.0);
        current.item = Some((number, token.clone()));
        if current.cancelled.take() == Some(number) {
            drop(current);
            token.cancel();
        }
    }

    fn end(&self) {
        lock(&self.0).item = None;
    }

    fn cancel(&self, number: u64) {
        let mut current = lock(&self.0);
        match &current.item {
            Some((item, token)) if *item == number => {
                let token = token.clone();
                drop(current);
                token.cancel();
            }
            _ => current.cancelled = Some(number),
        }
    }
}

/// Runs the worker until the parent says that it is over.
fn serve(start: Start, parent: u32) -> io::Result<()> {
    os::die_with_parent();
    if std::os::unix::process::parent_id() != parent {
        os::exit_now(0);
    }
    crate::record_panic_locations();
    let running = Arc::new(Running::default());
    let tokens = Arc::clone(&running);
    let control = start.control;
    let watch = thread::Builder::new().name("heist-parent".to_owned());
    watch.spawn(move || watch_parent(control, &tokens))?;
    let mut worker = Worker {
        data: start.data,
        page: start.page,
        tasks: registry::by_name(),
        running,
        limit: usize::MAX,
        out: Vec::new(),
        item: Vec::new(),
        last: None,
    };
    wire::put(&mut worker.out, wire::HELLO, |out| {
        out.extend_from_slice(&wire::VERSION.to_le_bytes());
    });
    worker.send()?;
    let mut inbox = Inbox::default();
    loop {
        match inbox.next(usize::MAX) {
            Ok(Some(place)) => {
                let goes_on = worker.obey(inbox.get(place));
                let rubbish =
                    |Rubbish| io::Error::other("its pool sent something that is no message");
                if !goes_on.map_err(|error| error.unwrap_or_else(|| rubbish(Rubbish)))? {
                    return Ok(());
                }
                inbox.shrink();
            }
            Ok(None) => {
                if read(&worker.data, &mut inbox)? == 0 {
                    return Ok(());
                }
            }
            Err(Rubbish) => {
                return Err(io::Error::other(
                    "its pool sent something that is no message",
                ));
            }
        }
    }
}

fn read(data: &UnixStream, inbox: &mut Inbox) -> io::Result<usize> {
    loop {
        match inbox.fill(data) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Reads the control socket until the parent has gone, and then ends the process.
fn watch_parent(mut control: UnixStream, running: &Running) {
    let mut number = [0; 8];
    while control.read_exact(&mut number).is_ok() {
        // Callbacks of the task's own handles run here.
        let cancel = || running.cancel(u64::from_le_bytes(number));
        unwind::catch(cancel).unwrap_or_else(unwind::drop_quietly);
    }
    os::exit_now(0);
}

struct Worker {
    data: UnixStream,
    page: Page,
    tasks: HashMap<&'static str, &'static TaskEntry>,
    running: Arc<Running>,
    /// The longest outcome in bytes.
    limit: usize,
    /// What is sent next.
    out: Vec<u8>,
    /// The outcome of an item.
    item: Vec<u8>,
    /// The task that has run last.
    last: Option<&'static TaskEntry>,
}

/// Outcomes of a chunk are sent at least so often.
const SEND_INTERVAL: Duration = Duration::from_millis(2);

/// The error of a message: that of the socket, or rubbish.
type Fault = Option<io::Error>;

impl Worker {
    fn send(&mut self) -> io::Result<()> {
        let sent = (&self.data).write_all(&self.out);
        self.out.clear();
        self.out.shrink_to(1 << 20);
        sent
    }

    /// Does what a message says. Returns whether more are to follow.
    fn obey(&mut self, message: &[u8]) -> Result<bool, Fault> {
        let mut read = Reader(message);
        match read.u8().map_err(|Rubbish| None)? {
            wire::RUN => self.run(read)?,
            wire::INIT => self.prepare(read)?,
            wire::EXIT => return Ok(false),
            _ => return Err(None),
        }
        Ok(true)
    }

    /// Runs the task that prepares the worker, if there is one.
    fn prepare(&mut self, mut read: Reader<'_>) -> Result<(), Fault> {
        let rubbish = |Rubbish| None;
        let limit = read.u64().map_err(rubbish)?;
        self.limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let name = read.name().map_err(rubbish)?;
        let mut item = std::mem::take(&mut self.item);
        let tag = match (name, self.tasks.get(name)) {
            ("", _) => wire::VALUE,
            (_, Some(entry)) => {
                outcome(entry, read.item().map_err(rubbish)?, self.limit, &mut item)
            }
            (_, None) => outcome_of(wire::UNKNOWN, b"", &mut item),
        };
        if tag == wire::VALUE {
            wire::put(&mut self.out, wire::READY, |_| ());
        } else {
            wire::put(&mut self.out, wire::INIT_FAILED, |out| {
                out.extend_from_slice(&item)
            });
        }
        item.clear();
        self.item = item;
        self.send().map_err(Some)
    }

    fn run(&mut self, mut read: Reader<'_>) -> Result<(), Fault> {
        let rubbish = |Rubbish| None;
        let first = read.u64().map_err(rubbish)?;
        let items = read.u32().map_err(rubbish)?;
        let name = read.name().map_err(rubbish)?;
        let entry = match self.last.filter(|entry| entry.name() == name) {
            Some(entry) => Some(entry),
            None => self.tasks.get(name).copied(),
        };
        self.last = entry;
        let mut sent_at = Instant::now();
        Saved(&self.page).clear(first);
        // The items that are saved, and their bytes.
        let (mut count, mut length) = (0, 0);
        for number in first..first + u64::from(items) {
            let args = read.item().map_err(rubbish)?;
            if !self.claim(number) {
                break;
            }
            self.item.clear();
            let mut item = std::mem::take(&mut self.item);
            match entry {
                Some(entry) => {
                    let token = CancelToken::new();
                    self.running.begin(number, &token);
                    with_token(&token, || outcome(entry, args, self.limit, &mut item));
                    self.running.end();
                }
                None => drop(outcome_of(wire::UNKNOWN, b"", &mut item)),
            }
            self.item = item;
            let last = items == 1;
            if !last && Saved(&self.page).add(length, &self.item) {
                (count, length) = (count + 1, length + self.item.len());
                if sent_at.elapsed() < SEND_INTERVAL {
                    continue;
                }
                self.item.clear();
            } else {
                count += 1;
            }
            self.send_results(number + 1, count, sent_at.elapsed())?;
            (sent_at, count, length) = (Instant::now(), 0, 0);
        }
        if count > 0 {
            self.item.clear();
            let (first, _) = Saved(&self.page).get();
            self.send_results(first + u64::from(count), count, sent_at.elapsed())?;
        }
        if self.item.capacity() > 1 << 20 {
            self.item = Vec::new();
        }
        Ok(())
    }

    /// Sends the `count` outcomes before number `end`: those that are saved, and that in `item`, if there is one.
    fn send_results(&mut self, end: u64, count: u32, time: Duration) -> Result<(), Fault> {
        let (_, saved) = Saved(&self.page).get();
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let item = &self.item;
        wire::put(&mut self.out, wire::RESULTS, |out| {
            out.extend_from_slice(&(end - u64::from(count)).to_le_bytes());
            out.extend_from_slice(&count.to_le_bytes());
            out.extend_from_slice(&nanoseconds.to_le_bytes());
            out.extend_from_slice(&saved);
            out.extend_from_slice(item);
        });
        self.send().map_err(Some)?;
        Saved(&self.page).clear(end);
        Ok(())
    }

    /// Begins an item, unless the parent has taken it back.
    fn claim(&self, number: u64) -> bool {
        // ORDERING: AcqRel: the outcome before it was saved or sent, and the parent that reads this number then finds it. Pairs with the parent's Acquire.
        let next = self.page.next();
        next.compare_exchange(number, number + 1, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }
}

/// Runs a task and appends its outcome: tag, length, bytes. Returns the tag.
fn outcome(entry: &TaskEntry, args: &[u8], limit: usize, out: &mut Vec<u8>) -> u8 {
    let start = out.len();
    out.push(0);
    let mut tag = wire::put_item(out, |out| entry.run(Format::Compact, args, out));
    let length = out.len() - start;
    if length > limit {
        out.truncate(start);
        let text = format!(
            "it takes up {length} bytes, more than the {limit} that a message may have: write it to a file, or \
             raise `max_message`"
        );
        return outcome_of(wire::BAD_RESULT, text.as_bytes(), out);
    }
    // What a task that is not there returns needs no place.
    if tag > wire::UNKNOWN {
        tag = wire::BAD_RESULT;
    }
    out[start] = tag;
    tag
}

/// Appends an outcome.
fn outcome_of(tag: u8, bytes: &[u8], out: &mut Vec<u8>) -> u8 {
    out.push(tag);
    wire::put_item(out, |out| out.extend_from_slice(bytes));
    tag
}
