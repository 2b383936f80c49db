//! Creates a back end from an address such as `processes://4`.

use crate::pool::ThreadPool;
use crate::{Backend, BuildError, ProcessPool};

/// Opens a back end by its address, so that a program's configuration can choose it.
///
/// | address | back end |
/// |---|---|
/// | `threads://4` | a [`ThreadPool`] of four threads |
/// | `processes://4` | a [`ProcessPool`] of four processes |
/// | `nats://host:4222/queue`, `tls://host:4222/queue` | a cluster, with the feature `nats`: see `heist::nats` |
/// | `mpi://` | the ranks of this program, with the feature `mpi`: see `heist::mpi` |
///
/// Without a number, or with 0, the size is that of [`ThreadPool::new`] or [`ProcessPool::new`].
///
/// # Errors
///
/// Returns an error if the address is none of these, or the pool cannot be built.
///
/// ```
/// use heist::Executor;
///
/// #[heist::task]
/// fn square(n: u64) -> u64 {
///     n * n
/// }
///
/// #[heist::main]
/// fn main() -> Result<(), heist::BuildError> {
///     for address in ["threads://2", "processes://2"] {
///         let pool = heist::open(address)?;
///         assert_eq!(pool.submit(square::TASK, 7).join().unwrap(), 49);
///     }
///     Ok(())
/// }
/// ```
pub fn open(address: &str) -> Result<Box<dyn Backend>, BuildError> {
    let unknown = || {
        // What is before an @ can be a password.
        let shown = address.rsplit('@').next().unwrap_or_default();
        BuildError::of_backend(format!(
            "{shown:?} is no address of a back end: write threads://4 or processes://4, with the number of workers, or \
             none for one for each processor, nats://host:4222/queue if the program has heist's feature `nats`, or mpi:// if it \
             has the feature `mpi`"
        ))
    };
    let (scheme, rest) = address.split_once("://").ok_or_else(unknown)?;
    #[cfg(feature = "nats")]
    if matches!(scheme, "nats" | "tls") {
        return Ok(Box::new(crate::nats::Cluster::connect(address)?));
    }
    #[cfg(feature = "mpi")]
    if (scheme, rest) == ("mpi", "") {
        return Ok(Box::new(crate::mpi::Ranks::new()?));
    }
    let size: usize = match rest {
        "" => 0,
        rest => rest.parse().map_err(|_| unknown())?,
    };
    match scheme {
        "threads" => Ok(Box::new(ThreadPool::with_threads(size)?)),
        "processes" => Ok(Box::new(ProcessPool::builder().num_workers(size).build()?)),
        _ => Err(unknown()),
    }
}
