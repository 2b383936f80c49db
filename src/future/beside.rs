//! A future that is polled together with something else.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// See [`beside`].
struct Beside<F, S, P> {
    future: F,
    state: S,
    poll: P,
}

/// Returns a future that calls `poll` with `future` and `state` each time it is polled. An `async` block that awaits a captured future has room for it twice; this one
/// has room for it once.
pub(super) fn beside<F, S, P, T>(future: F, state: S, poll: P) -> impl Future<Output = T>
where
    P: FnMut(Pin<&mut F>, &mut S, &mut Context<'_>) -> Poll<T>,
{
    Beside {
        future,
        state,
        poll,
    }
}

impl<F, S, P, T> Future for Beside<F, S, P>
where
    P: FnMut(Pin<&mut F>, &mut S, &mut Context<'_>) -> Poll<T>,
{
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        // SAFETY: nothing is moved out of the reference, and the future is used as pinned only. `Beside` has no destructor.
        let this = unsafe { self.get_unchecked_mut() };
        // SAFETY: the future is a field of what is pinned, and is used as pinned only.
        let future = unsafe { Pin::new_unchecked(&mut this.future) };
        (this.poll)(future, &mut this.state, context)
    }
}
