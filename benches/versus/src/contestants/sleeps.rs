//! Futures that end at a time: heist's, tokio's and async-io's. They need no pool.

use super::peer::{AsyncPeer, SleepPeer};
use super::tokio::Tokio;
use std::future::Future;
use std::time::Instant;

/// heist's timer.
pub struct HeistSleeps;

/// The timer of a tokio runtime.
pub struct TokioSleeps(Tokio);

/// The timer in async-io's reactor.
pub struct AsyncIoSleeps;

impl SleepPeer for HeistSleeps {
    const NAME: &'static str = "heist";

    type Sleep = heist::Sleep;

    fn start() -> Self {
        Self
    }

    fn sleep_until(&self, deadline: Instant) -> heist::Sleep {
        heist::sleep_until(deadline)
    }

    fn block_on(&self, future: impl Future) {
        heist::block_on(future);
    }
}

impl SleepPeer for TokioSleeps {
    const NAME: &'static str = "tokio";

    type Sleep = tokio::time::Sleep;

    fn start() -> Self {
        Self(Tokio::with_drivers(1))
    }

    fn sleep_until(&self, deadline: Instant) -> tokio::time::Sleep {
        let _context = self.0.runtime().enter();
        tokio::time::sleep_until(deadline.into())
    }

    fn block_on(&self, future: impl Future) {
        AsyncPeer::block_on(&self.0, future);
    }
}

impl SleepPeer for AsyncIoSleeps {
    const NAME: &'static str = "async-io";

    type Sleep = async_io::Timer;

    fn start() -> Self {
        Self
    }

    fn sleep_until(&self, deadline: Instant) -> async_io::Timer {
        async_io::Timer::at(deadline)
    }

    fn block_on(&self, future: impl Future) {
        futures_lite::future::block_on(future);
    }
}
