//! Calls that block their thread.

use crate::pool::worker;

/// Runs `f`, which will block the current thread: on a lock, a file, a socket, another process.
///
/// Without this call, a closure that blocks occupies its worker. On a thread of a pool, another thread does the
/// pool's work until `f` returns: a spare thread is woken or started if there is work. With
/// [`spare_threads(n)`](crate::ThreadPoolBuilder::spare_threads), up to *n* calls block at the same time while
/// as many workers as before go on. Elsewhere `f` simply runs. Waits of this crate, such as
/// [`join`](crate::JoinHandle::join), do not need it.
///
/// `f` runs on the current thread, so a future that calls it is not polled meanwhile. To await something that
/// blocks, submit it: `submit(|| blocking(f)).await`.
///
/// # Panics
///
/// Panics if `f` does.
///
/// ```
/// let pool = heist::ThreadPool::new()?;
/// let handle = pool.submit(|| heist::blocking(|| std::fs::read_to_string("Cargo.toml")));
/// assert!(handle.join().unwrap().is_ok());
/// # Ok::<(), heist::BuildError>(())
/// ```
pub fn blocking<R>(f: impl FnOnce() -> R) -> R {
    worker::leave_place(f)
}
