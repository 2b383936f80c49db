//! The contestants: each scheduler behind the interfaces of the kernels, used as its documentation advises.
//!
//! `threads` is the number of threads that work at a time, for every contestant. Where the caller takes part (heist, chili,
//! forte), it is one of them. Where the caller hands over and sleeps (rayon, crossbeam, naive), there are that many workers.
//! A thread that submits single tasks takes no part in any of them: there are that many workers beside it.

mod async_executor;
mod channel;
mod chili;
mod crossbeam;
#[cfg(feature = "forte")]
mod forte;
mod futures;
mod heist;
mod naive;
mod peer;
mod rayon;
mod sleeps;
mod tokio;

pub use self::async_executor::AsyncExecutor;
pub use self::channel::{Channel, OrderedChannels};
pub use self::chili::Chili;
pub use self::crossbeam::Crossbeam;
#[cfg(feature = "forte")]
pub use self::forte::Forte;
pub use self::futures::Futures;
pub use self::heist::Heist;
pub use self::naive::Naive;
pub use self::peer::{AsyncPeer, JoinPeer, MapPeer, Peer, ScopePeer, SleepPeer, SubmitPeer};
pub use self::rayon::Rayon;
pub use self::sleeps::{AsyncIoSleeps, HeistSleeps, TokioSleeps};
pub use self::tokio::Tokio;
