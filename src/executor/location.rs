//! Where a task panicked.
//!
//! Only the process's panic hook is told the place of a panic; what is caught later is the payload alone. So the hook notes the place, in a list of its
//! thread, and whoever catches the payload on that thread looks for it there: by the type of the payload and the hash of its text.

use crate::unwind::Payload;
use std::any::Any;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{self, PanicHookInfo};
// The flag orders nothing: it spares those who never asked for places the look at the list.
use std::sync::atomic::{AtomicBool, Ordering};

/// Where in a source file a task panicked. See [`JoinError::location`](crate::JoinError::location).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PanicLocation {
    file: Box<str>,
    line: u32,
    column: u32,
}

impl PanicLocation {
    /// The source file, as the compiler names it.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The line in the file, counted from 1.
    pub fn line(&self) -> u32 {
        self.line
    }

    /// The column in the line, counted from 1.
    pub fn column(&self) -> u32 {
        self.column
    }
}

/// `file:line:column`, as in the text that the standard library prints.
impl fmt::Display for PanicLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// How many panics a thread remembers: as many as may be under way on it at the same time, in destructors that panic and catch.
const REMEMBERED: usize = 8;

static RECORDING: AtomicBool = AtomicBool::new(false);

thread_local! {
    static PANICS: RefCell<VecDeque<(u64, PanicLocation)>> = const { RefCell::new(VecDeque::new()) };
}

/// Has errors of tasks that panic say where: from now on [`JoinError::location`](crate::JoinError::location) knows the file and the line.
///
/// It puts a panic hook before the one that is set, which is still called. A library does not change the process's hook by itself, so this is for the
/// program to call, once, at its start. A second call does nothing.
///
/// Set a hook of your own before this call, or call [`note_panic`] in it: a hook that is set later replaces this one, and locations are unknown again.
///
/// # Panics
/// On a thread that is panicking, as [`std::panic::set_hook`] does.
///
/// ```
/// heist::record_panic_locations();
/// let error = heist::submit(|| panic!("no luck")).join().unwrap_err();
/// assert!(error.location().is_some_and(|location| location.line() > 0));
/// ```
pub fn record_panic_locations() {
    if !RECORDING.swap(true, Ordering::Relaxed) {
        let next = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            note_panic(info);
            next(info);
        }));
    }
}

/// Notes where a panic happens, for [`JoinError::location`](crate::JoinError::location). For programs with a panic hook of their own, which call it there;
/// others call [`record_panic_locations`].
///
/// ```
/// std::panic::set_hook(Box::new(|info| {
///     heist::note_panic(info);
///     eprintln!("our own words: {info}");
/// }));
/// let error = heist::submit(|| panic!("no luck")).join().unwrap_err();
/// assert!(error.location().is_some());
/// ```
pub fn note_panic(info: &PanicHookInfo<'_>) {
    let Some(location) = info.location() else {
        return;
    };
    let location = PanicLocation {
        file: location.file().into(),
        line: location.line(),
        column: location.column(),
    };
    let key = key(info.payload());
    RECORDING.store(true, Ordering::Relaxed);
    // A thread that ends may have no list any more.
    let _ = PANICS.try_with(|panics| {
        let mut panics = panics.borrow_mut();
        if panics.len() == REMEMBERED {
            panics.pop_front();
        }
        panics.push_back((key, location));
    });
}

/// Where the panic with this payload happened, if it was on this thread.
pub(super) fn of(payload: &Payload) -> Option<PanicLocation> {
    if !RECORDING.load(Ordering::Relaxed) {
        return None;
    }
    let key = key(&**payload);
    let known = PANICS.try_with(|panics| {
        let mut panics = panics.borrow_mut();
        let newest = panics.iter().rposition(|(other, _)| *other == key)?;
        panics.remove(newest).map(|(_, location)| location)
    });
    known.ok().flatten()
}

/// What tells one payload from another: the payload's address changes on the way from the hook to the catch.
fn key(payload: &(dyn Any + Send)) -> u64 {
    let mut hasher = DefaultHasher::new();
    payload.type_id().hash(&mut hasher);
    super::error::message(payload).hash(&mut hasher);
    hasher.finish()
}
