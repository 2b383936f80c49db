//! A sticky one-thread wake-up token.

use crate::sync::{Condvar, Mutex, lock, now};
use std::time::{Duration, Instant};

/// One thread sleeps here, any thread wakes it. A wake-up that comes first is kept; several count as one.
///
/// Not `std::thread::park`: that token belongs to the user's code, who may park and unpark the same thread.
#[derive(Debug, Default)]
pub(crate) struct Parker {
    token: Mutex<bool>,
    woken: Condvar,
}

impl Parker {
    /// Sleeps until the token is there, and takes it.
    pub(crate) fn park(&self) {
        #[cfg(loom)]
        let _blocked = crate::barrier::blocked();
        let mut token = lock(&self.token);
        while !*token {
            token = self
                .woken
                .wait(token)
                .unwrap_or_else(|poison| poison.into_inner());
        }
        *token = false;
    }

    /// The same, at most for `timeout`.
    pub(crate) fn park_timeout(&self, timeout: Duration) {
        #[cfg(not(any(loom, shuttle)))]
        {
            let mut token = lock(&self.token);
            if !*token {
                token = self
                    .woken
                    .wait_timeout(token, timeout)
                    .unwrap_or_else(|poison| poison.into_inner())
                    .0;
            }
            *token = false;
        }
        #[cfg(shuttle)]
        {
            let token = lock(&self.token);
            let (mut token, _) =
                crate::sync::wait_timeout(&self.token, token, timeout, |token| *token);
            *token = false;
        }
        #[cfg(loom)]
        {
            let _ = timeout;
            self.park();
        }
    }

    /// The same, at most until `deadline`, if there is one.
    pub(crate) fn park_until(&self, deadline: Option<Instant>) {
        match deadline {
            None => self.park(),
            Some(deadline) => {
                self.park_timeout(deadline.saturating_duration_since(now()));
            }
        }
    }

    /// Leaves the token and wakes the sleeper.
    pub(crate) fn unpark(&self) {
        *lock(&self.token) = true;
        self.woken.notify_one();
    }
}
