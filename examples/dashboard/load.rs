//! The work of the pool: the files of a folder are hashed, over and over.

use heist::ThreadPool;
use std::fs;
use std::hash::{DefaultHasher, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// The most files of a round.
const MOST: usize = 2_000;

/// The time between two rounds.
const PAUSE: Duration = Duration::from_millis(50);

/// The load. It goes on until it is stopped.
pub(crate) struct Load {
    stops: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Load {
    /// Ends the load after the current round, and returns the number of rounds.
    pub(crate) fn stop(self) -> u64 {
        self.stops.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or(0)
    }
}

/// Starts the load on a thread outside the pool.
pub(crate) fn start(pool: ThreadPool, folder: PathBuf) -> Load {
    let stops = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&stops);
    let thread = thread::spawn(move || {
        let mut rounds = 0;
        while !told.load(Ordering::Relaxed) {
            round(&pool, &folder);
            rounds += 1;
            thread::sleep(PAUSE);
        }
        rounds
    });
    Load { stops, thread }
}

/// Hashes all files once: one task for each, then one number of all hashes.
fn round(pool: &ThreadPool, folder: &Path) -> u64 {
    let mut files = Vec::new();
    pool.submit({
        let folder = folder.to_owned();
        move || {
            let _span = heist::span("list");
            list(&folder, MOST)
        }
    })
    .join()
    .into_iter()
    .for_each(|found| files.extend(found));
    heist::mark("listed");
    let handles = pool.submit_many(files.into_iter().map(|file| move || hash(&file)));
    let hashes: Vec<u64> = handles
        .into_iter()
        .filter_map(|handle| handle.join().ok())
        .collect();
    pool.map_reduce(&hashes, |hash| *hash, || 0, u64::wrapping_add)
}

/// The files below a folder, at most so many. Folders that cannot be read have none.
fn list(folder: &Path, most: usize) -> Vec<PathBuf> {
    let (mut files, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(kind) = entry.file_type() else {
                continue;
            };
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                files.push(entry.path());
            }
            if files.len() == most {
                return files;
            }
        }
    }
    files
}

/// The hash of a file. A file that cannot be read has that of nothing.
fn hash(file: &Path) -> u64 {
    let mut hasher = DefaultHasher::new();
    let bytes = {
        let _span = heist::span("read");
        fs::read(file).unwrap_or_default()
    };
    hasher.write(&bytes);
    hasher.finish()
}
