//! Panic capture.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What a panic carries.
pub(crate) type Payload = Box<dyn Any + Send + 'static>;

/// Runs `f`; a panic becomes a value.
///
/// Asserting unwind safety is right here because every caller either resumes the panic or hands the payload to the
/// one who waits, and lets nobody see half-changed state in between.
pub(crate) fn catch<R>(f: impl FnOnce() -> R) -> Result<R, Payload> {
    catch_unwind(AssertUnwindSafe(f))
}

/// Goes on with a panic that was caught elsewhere. The hook does not run again.
pub(crate) fn resume(payload: Payload) -> ! {
    std::panic::resume_unwind(payload)
}

/// Drops a value whose destructor may panic; whatever it throws is dropped too, and what *that* throws is forgotten.
pub(crate) fn drop_quietly<T>(value: T) {
    if let Err(payload) = catch(|| drop(value))
        && let Err(second) = catch(|| drop(payload))
    {
        std::mem::forget(second);
    }
}

/// Aborts when dropped: stands on frames that must not unwind.
pub(crate) struct AbortOnUnwind(pub(crate) &'static str);

impl Drop for AbortOnUnwind {
    #[cold]
    fn drop(&mut self) {
        eprintln!("heist: internal error: {}; aborting", self.0);
        std::process::abort();
    }
}

/// Whether this thread is unwinding: then it must run nobody else's code.
pub(crate) fn panicking() -> bool {
    std::thread::panicking()
}
