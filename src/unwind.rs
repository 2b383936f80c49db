//! Catching panics, dropping quietly, and aborting where nothing may unwind.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The payload of a panic.
pub(crate) type Payload = Box<dyn Any + Send + 'static>;

/// Runs `f` and returns its panic as an error.
///
/// The assertion of unwind safety holds because every caller either resumes the panic or hands the payload to the code that waits, and nothing
/// observes half-changed state in between.
pub(crate) fn catch<R>(f: impl FnOnce() -> R) -> Result<R, Payload> {
    catch_unwind(AssertUnwindSafe(f))
}

/// Resumes a panic that was caught elsewhere. The panic hook does not run again.
pub(crate) fn resume(payload: Payload) -> ! {
    std::panic::resume_unwind(payload)
}

/// Drops a value whose destructor may panic. The payload is dropped as well, and if that panics again, the second payload is forgotten.
pub(crate) fn drop_quietly<T>(value: T) {
    if let Err(payload) = catch(|| drop(value))
        && let Err(second) = catch(|| drop(payload))
    {
        std::mem::forget(second);
    }
}

/// A guard for frames that must not unwind: it aborts the process with a message when it is dropped.
pub(crate) struct AbortOnUnwind(pub(crate) &'static str);

impl Drop for AbortOnUnwind {
    #[cold]
    fn drop(&mut self) {
        eprintln!("heist: internal error: {}; aborting", self.0);
        std::process::abort();
    }
}

/// Whether this thread is unwinding, so that it must run no unrelated code.
pub(crate) fn panicking() -> bool {
    std::thread::panicking()
}
