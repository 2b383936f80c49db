//! Where files are hashed: on the threads of the pool, or in processes, where a file that crashes its reader is skipped.

use std::io;
use std::path::Path;

use heist::ThreadPool;

use super::Failure;
use super::hash::{Hash, Reader};
use super::paths::File;
use super::progress::Progress;
use super::trace;

/// The pools of the program.
pub struct Pools {
    /// Walks the directories, and hashes if there are no processes.
    pub threads: ThreadPool,
    /// Hashes, if there are processes.
    #[cfg(target_os = "linux")]
    pub processes: Option<heist::ProcessPool>,
}

impl Pools {
    /// Pools of so many threads and processes. 0 processes are none. The threads are recorded if there is a file for their trace.
    ///
    /// # Errors
    ///
    /// Returns a [`Failure`] if a pool cannot be built.
    pub fn new(threads: usize, processes: usize, trace: Option<&Path>) -> Result<Self, Failure> {
        let failure = |error: heist::BuildError| Failure::Pool(error.to_string());
        let threads = ThreadPool::builder().num_threads(threads);
        let threads = trace::recorded(threads, trace).build().map_err(failure)?;
        #[cfg(not(target_os = "linux"))]
        if processes > 0 {
            return Err(Failure::Usage("--processes needs Linux".to_owned()));
        }
        #[cfg(target_os = "linux")]
        let processes = match processes {
            0 => None,
            count => Some(
                heist::ProcessPool::builder()
                    .num_workers(count)
                    .build()
                    .map_err(failure)?,
            ),
        };
        Ok(Pools {
            threads,
            #[cfg(target_os = "linux")]
            processes,
        })
    }

    /// The hash of each file's prefix.
    pub fn prefixes(&self, files: &[(u64, File)], progress: &Progress) -> Vec<io::Result<Hash>> {
        #[cfg(target_os = "linux")]
        if let Some(pool) = &self.processes {
            let inputs = files
                .iter()
                .map(|(size, file)| (in_processes::bytes(file), *size));
            return in_processes::hash(pool, in_processes::prefix::TASK, inputs, |_| {
                progress.advance(1)
            });
        }
        self.threads
            .map_init(files, Reader::small, |reader, (size, file)| {
                let hash = reader.prefix(&file.path, *size);
                progress.advance(1);
                hash
            })
    }

    /// The hash of each file.
    pub fn contents(
        &self,
        files: &[(u64, Hash, File)],
        progress: &Progress,
    ) -> Vec<io::Result<Hash>> {
        #[cfg(target_os = "linux")]
        if let Some(pool) = &self.processes {
            let inputs = files
                .iter()
                .map(|(size, _, file)| (in_processes::bytes(file), *size));
            let done = |index: usize| progress.advance(files[index].0);
            return in_processes::hash(pool, in_processes::whole::TASK, inputs, done);
        }
        self.threads
            .map_init(files, Reader::large, |reader, (size, _, file)| {
                reader.whole(&file.path, *size, |bytes| progress.advance(bytes))
            })
    }
}

#[cfg(target_os = "linux")]
mod in_processes {
    use std::cell::RefCell;
    use std::ffi::OsString;
    use std::io;
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    use std::path::PathBuf;

    use heist::{Executor, ProcessPool, Task};

    use super::super::hash::{Hash, Reader};
    use super::super::paths::File;

    thread_local! {
        static READER: RefCell<Reader> = RefCell::new(Reader::large());
    }

    /// A path as it travels: any bytes.
    pub fn bytes(file: &File) -> Vec<u8> {
        file.path.as_os_str().as_bytes().to_owned()
    }

    fn path(bytes: Vec<u8>) -> PathBuf {
        OsString::from_vec(bytes).into()
    }

    #[heist::task]
    pub fn prefix(file: Vec<u8>, size: u64) -> Result<Hash, String> {
        let hash = READER.with_borrow_mut(|reader| reader.prefix(&path(file), size));
        hash.map_err(|error| error.to_string())
    }

    #[heist::task]
    pub fn whole(file: Vec<u8>, size: u64) -> Result<Hash, String> {
        let hash = READER.with_borrow_mut(|reader| reader.whole(&path(file), size, |_| {}));
        hash.map_err(|error| error.to_string())
    }

    /// Hashes files in processes. `done` gets the index of each file that is done.
    pub fn hash<T: Task<Output = Result<Hash, String>>>(
        pool: &ProcessPool,
        task: T,
        inputs: impl Iterator<Item = T::Args>,
        done: impl Fn(usize),
    ) -> Vec<io::Result<Hash>> {
        let results = pool.imap(task, inputs).enumerate();
        let results = results.map(|(index, result)| {
            done(index);
            result?.map_err(io::Error::other)
        });
        results.collect()
    }
}
