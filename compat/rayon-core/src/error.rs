//! The error of building a pool.

use std::error::Error;
use std::{fmt, io};

/// The error of [`ThreadPoolBuilder::build`](crate::ThreadPoolBuilder::build).
#[derive(Debug)]
pub struct ThreadPoolBuildError {
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    GlobalPoolAlreadyInitialized,
    CurrentThreadAlreadyInPool,
    IOError(io::Error),
}

impl ThreadPoolBuildError {
    pub(crate) fn global_exists() -> Self {
        ThreadPoolBuildError {
            kind: Kind::GlobalPoolAlreadyInitialized,
        }
    }

    pub(crate) fn thread_in_pool() -> Self {
        ThreadPoolBuildError {
            kind: Kind::CurrentThreadAlreadyInPool,
        }
    }

    pub(crate) fn is_unsupported(&self) -> bool {
        matches!(&self.kind, Kind::IOError(error) if error.kind() == io::ErrorKind::Unsupported)
    }

    /// Returns the message, or `None` if it comes from the system.
    fn text(&self) -> Option<&'static str> {
        match self.kind {
            Kind::GlobalPoolAlreadyInitialized => {
                Some("The global thread pool has already been initialized.")
            }
            Kind::CurrentThreadAlreadyInPool => {
                Some("The current thread is already part of another thread pool.")
            }
            Kind::IOError(_) => None,
        }
    }
}

impl From<heist::BuildError> for ThreadPoolBuildError {
    fn from(error: heist::BuildError) -> Self {
        ThreadPoolBuildError {
            kind: Kind::IOError(error.into()),
        }
    }
}

impl fmt::Display for ThreadPoolBuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.kind, self.text()) {
            (Kind::IOError(error), _) => error.fmt(f),
            (_, text) => text.unwrap_or_default().fmt(f),
        }
    }
}

impl Error for ThreadPoolBuildError {
    #[expect(deprecated, reason = "rayon-core implements it")]
    fn description(&self) -> &str {
        match (&self.kind, self.text()) {
            (Kind::IOError(error), _) => error.description(),
            (_, text) => text.unwrap_or_default(),
        }
    }

    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.kind {
            Kind::IOError(error) => Some(error),
            _ => None,
        }
    }
}
