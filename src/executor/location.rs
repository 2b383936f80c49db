//! The source locations of panics.
//!
//! Only the process's panic hook learns where a panic began. A caught panic is a payload without a location. So the hook records the location in a list of its
//! thread, and the thread that catches the payload finds it there by the payload's type and the hash of its text.

use crate::unwind::Payload;
use std::any::Any;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{self, PanicHookInfo};
// The flag orders nothing: it saves programs that do not record locations a look at the list.
use std::sync::atomic::{AtomicBool, Ordering};

/// The place in a source file where a task panicked. See [`JoinError::location`](crate::JoinError::location).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PanicLocation {
    file: Box<str>,
    line: u32,
    column: u32,
}

impl PanicLocation {
    #[cfg(all(feature = "process", target_os = "linux"))]
    pub(super) fn new(file: Box<str>, line: u32, column: u32) -> Self {
        PanicLocation { file, line, column }
    }

    /// Returns the name of the source file, as the compiler knows it.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Returns the line in the file, counted from 1.
    pub fn line(&self) -> u32 {
        self.line
    }

    /// Returns the column in the line, counted from 1.
    pub fn column(&self) -> u32 {
        self.column
    }
}

/// Formats the location as `file:line:column`, as the standard library prints it.
impl fmt::Display for PanicLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// The number of panics that a thread remembers. Several are under way at the same time only if destructors panic and catch during an unwind.
const REMEMBERED: usize = 8;

static RECORDING: AtomicBool = AtomicBool::new(false);

thread_local! {
    static PANICS: RefCell<VecDeque<(u64, PanicLocation)>> = const { RefCell::new(VecDeque::new()) };
}

/// Makes [`JoinError::location`](crate::JoinError::location) available: records where tasks panic from now
/// on.
///
/// It installs a panic hook that calls the previous one. A library does not change the process's hook by
/// itself, so the program should call this once, at its start. A second call does nothing.
///
/// Set a hook of your own before this call, or call [`note_panic`] in it. A hook that is set later replaces
/// this one, and locations are unknown again.
///
/// # Panics
///
/// Panics on a thread that is panicking, as [`std::panic::set_hook`] does.
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

/// Records where a panic begins, for [`JoinError::location`](crate::JoinError::location).
///
/// Call it in the panic hook of a program that has its own. Other programs call [`record_panic_locations`].
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
    // A thread that is ending may have dropped its list.
    let _ = PANICS.try_with(|panics| {
        let mut panics = panics.borrow_mut();
        if panics.len() == REMEMBERED {
            panics.pop_front();
        }
        panics.push_back((key, location));
    });
}

/// Returns where the panic with this payload began, if it began on this thread, and removes it from the list.
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

/// Returns the payload of a panic if it is text.
pub(super) fn message(payload: &(dyn Any + Send)) -> Option<&str> {
    payload
        .downcast_ref::<&'static str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
}

/// Returns what identifies a payload. Its address does not, because that changes between the hook and the catch.
fn key(payload: &(dyn Any + Send)) -> u64 {
    let mut hasher = DefaultHasher::new();
    payload.type_id().hash(&mut hasher);
    message(payload).hash(&mut hasher);
    hasher.finish()
}
