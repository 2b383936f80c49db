//! The ranks as the program on rank 0 sees them, and what they all know.

use super::lead::{Gate, Lead};
use super::serve::serve;
use super::sys::{self, Library, Place};
use crate::sync::{Mutex, lock};
use crate::{Backend, BuildError, Call, Close, ExecutorStats, ShutdownTimeout};
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Instant;

/// The stack of the thread that runs tasks, as large as that of a main thread usually is.
const STACK_BYTES: usize = 8 << 20;

/// The processes that `mpirun` has started, as a back end: rank 0 submits, the others run the tasks.
///
/// The methods that start tasks are those of [`Executor`](crate::Executor), which has to be in scope. See the [module](super) for what is promised.
///
/// The value is a handle: clones share the ranks. When the last one is dropped, queued tasks run, and all ranks end MPI.
///
/// ```no_run
/// use heist::{Executor, mpi::Ranks};
///
/// #[heist::task]
/// fn square(n: u64) -> u64 {
///     n * n
/// }
///
/// let ranks = Ranks::new()?;
/// // Only rank 0 comes here.
/// let squares: Result<Vec<_>, _> = ranks.imap(square::TASK, 0..1000).collect();
/// assert_eq!(squares.unwrap().len(), 1000);
/// # Ok::<(), heist::BuildError>(())
/// ```
#[derive(Clone)]
pub struct Ranks {
    handle: Arc<Handle>,
}

struct Handle {
    lead: Arc<Lead>,
    thread: Mutex<Option<thread::JoinHandle<()>>>,
}

/// The library, which is loaded once.
fn library() -> Result<&'static Library, String> {
    static LIBRARY: OnceLock<Result<Library, String>> = OnceLock::new();
    LIBRARY
        .get_or_init(Library::load)
        .as_ref()
        .map_err(String::clone)
}

/// Initialises MPI. A program needs another rank.
fn join() -> Result<(&'static Library, Place), String> {
    let library = library()?;
    let place = library.init()?;
    if place.size < 2 {
        library.finalize();
        return Err(
            "this is the only rank, and rank 0 runs no tasks: start the program with `mpirun -n 3`"
                .to_owned(),
        );
    }
    Ok((library, place))
}

impl Ranks {
    /// Joins the program's other ranks. On rank 0 it returns. On the others it runs tasks, and when rank 0 ends, the process ends with exit code 0.
    ///
    /// The call initialises MPI, so a program can make it once, and cannot use MPI itself before.
    ///
    /// # Errors
    ///
    /// Returns an error if Open MPI is not installed, MPI was initialised before, two tasks have the same name, or there is only one rank.
    pub fn new() -> Result<Self, BuildError> {
        crate::process::check_names().map_err(BuildError::of_backend)?;
        let (sender, ready) = std::sync::mpsc::channel();
        // All calls of MPI are made on this thread, and on other ranks than 0 it runs the tasks.
        let thread = thread::Builder::new()
            .name("heist-mpi".to_owned())
            .stack_size(STACK_BYTES);
        let thread = thread.spawn(move || match join() {
            Ok((library, place)) if place.rank > 0 => {
                let is_well = serve(library, place);
                if is_well {
                    library.finalize();
                }
                std::process::exit(i32::from(!is_well));
            }
            Ok((library, place)) => {
                let lead = Arc::new(Lead::new(place.size));
                let _ = sender.send(Ok(Arc::clone(&lead)));
                lead.run(library);
                library.finalize();
                lead.end();
            }
            Err(text) => drop(sender.send(Err(text))),
        });
        let thread = thread
            .map_err(|error| BuildError::of_backend(format!("no thread for MPI: {error}")))?;
        let lead = ready
            .recv()
            .unwrap_or_else(|_| Err("MPI's thread has ended".to_owned()));
        let handle = Handle {
            lead: lead.map_err(BuildError::of_backend)?,
            thread: Mutex::new(Some(thread)),
        };
        Ok(Ranks {
            handle: Arc::new(handle),
        })
    }

    /// Returns whether the program was started so that it survives the end of a rank, with `mpirun --with-ft ulfm` of Open MPI 5.
    /// Without it, `mpirun` ends all ranks when one of them dies, and everything that has no result is lost.
    pub fn survive_deaths() -> bool {
        sys::survives()
    }
}

impl Backend for Ranks {
    fn start(&self, call: Call<'_>) {
        let lead = &self.handle.lead;
        let refused = call.encode(&lead.defaults, &mut |job| lead.submit(job));
        lead.note_refused(refused);
    }

    fn num_workers(&self) -> usize {
        self.handle.lead.lock().alive()
    }

    fn close(&self, how: Close) -> Result<usize, ShutdownTimeout> {
        let lead = &self.handle.lead;
        assert!(
            !self.handle.is_own_thread(),
            "heist: a shutdown in a callback would wait for itself: call it from another thread"
        );
        let dropped = match how {
            Close::Now => lead.drop_all(),
            _ => 0,
        };
        lead.leave();
        let until = match how {
            Close::Within(time) => Instant::now().checked_add(time),
            _ => None,
        };
        if lead.wait_until(until, |state| state.gate == Gate::Over) {
            self.handle.join_thread();
            return Ok(dropped);
        }
        let (Close::Within(time), state) = (how, lead.lock()) else {
            return Ok(dropped);
        };
        Err(ShutdownTimeout::remote(
            time,
            state.running(),
            state.queued(),
        ))
    }

    fn wait_idle(&self) {
        assert!(
            !self.handle.is_own_thread(),
            "heist: wait_idle in a callback would wait for itself: call it from another thread"
        );
        let lead = &self.handle.lead;
        lead.wait_until(None, |state| state.is_idle() || state.gate == Gate::Over);
    }

    fn stats(&self) -> ExecutorStats {
        self.handle.lead.stats()
    }
}

impl Handle {
    fn is_own_thread(&self) -> bool {
        let thread = lock(&self.thread);
        let id = thread.as_ref().map(|thread| thread.thread().id());
        id == Some(thread::current().id())
    }

    fn join_thread(&self) {
        if let Some(thread) = lock(&self.thread).take() {
            // A panic of the thread is a panic of a callback, which is caught before.
            let _ = thread.join();
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.lead.leave();
        if !self.is_own_thread() {
            self.join_thread();
        }
    }
}

impl fmt::Debug for Ranks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ranks")
            .field("workers", &self.num_workers())
            .finish_non_exhaustive()
    }
}
