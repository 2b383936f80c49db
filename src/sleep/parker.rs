//! A wake-up token on which one thread sleeps.

use crate::sync::{Condvar, Mutex, lock, now};
use std::time::{Duration, Instant};

/// A place where one thread sleeps and any thread wakes it. A wake-up that comes before the sleep is kept, and several count as one.
///
/// `std::thread::park` would not do: its token belongs to the user's code, which can park and unpark the same thread.
#[derive(Debug, Default)]
pub(crate) struct Parker {
    state: Mutex<State>,
    woken: Condvar,
}

#[derive(Debug, Default)]
struct State {
    token: bool,
    /// A thread sleeps here, or will as soon as it releases the lock. If none does, a wake-up makes no system call.
    sleeper: bool,
}

impl Parker {
    /// Sleeps until there is a token, and takes it.
    pub(crate) fn park(&self) {
        #[cfg(heist_loom)]
        let _blocked = crate::barrier::blocked();
        let mut state = lock(&self.state);
        while !state.token {
            state.sleeper = true;
            state = self
                .woken
                .wait(state)
                .unwrap_or_else(|poison| poison.into_inner());
        }
        *state = State::default();
    }

    /// Sleeps until there is a token, at most for `timeout`, and takes it. Returns whether there was one.
    pub(crate) fn park_timeout(&self, timeout: Duration) -> bool {
        #[cfg(not(any(heist_loom, heist_shuttle)))]
        {
            let mut state = lock(&self.state);
            if !state.token {
                state.sleeper = true;
                state = self
                    .woken
                    .wait_timeout(state, timeout)
                    .unwrap_or_else(|poison| poison.into_inner())
                    .0;
            }
            std::mem::take(&mut *state).token
        }
        #[cfg(heist_shuttle)]
        {
            let state = lock(&self.state);
            let (mut state, _) =
                crate::sync::wait_timeout(&self.state, state, timeout, |state| state.token);
            std::mem::take(&mut *state).token
        }
        #[cfg(heist_loom)]
        {
            let _ = timeout;
            self.park();
            true
        }
    }

    /// Sleeps until there is a token, at most until `deadline` if there is one, and takes it.
    pub(crate) fn park_until(&self, deadline: Option<Instant>) {
        match deadline {
            None => self.park(),
            Some(deadline) => drop(self.park_timeout(deadline.saturating_duration_since(now()))),
        }
    }

    /// Whether [`Parker::park`] would return at once.
    pub(crate) fn has_token(&self) -> bool {
        lock(&self.state).token
    }

    /// Leaves the token and wakes the sleeper.
    pub(crate) fn unpark(&self) {
        let sleeper = {
            let mut state = lock(&self.state);
            state.token = true;
            // One wake-up is enough until the sleeper has run.
            std::mem::take(&mut state.sleeper)
        };
        // The sleeper released the lock and fell asleep in one step, so that it cannot miss this.
        if sleeper {
            self.woken.notify_one();
        }
    }
}
