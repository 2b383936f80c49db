//! Output files that appear whole or not at all, whatever ends the program.

use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tempfile::NamedTempFile;

/// What is known about an input.
#[derive(Default)]
pub struct Origin {
    /// The name without its directory. `None` for standard input.
    pub name: Option<OsString>,
    /// The time of the last change.
    pub modified: Option<SystemTime>,
}

/// The temporary files that exist. A thread holds the lock while it creates, renames or removes one.
static UNFINISHED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

fn unfinished() -> MutexGuard<'static, Vec<PathBuf>> {
    UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes the temporary files and ends the program, for the signal handler. It keeps the lock, so no further file is created.
pub fn abandon() {
    let unfinished = unfinished();
    for path in unfinished.iter() {
        // Nobody can do more about an error here.
        let _ = fs::remove_file(path);
    }
    process::exit(130);
}

/// An output file that has a temporary name until it is complete.
pub struct Target {
    path: PathBuf,
    file: Option<NamedTempFile>,
}

impl Target {
    /// Creates a temporary file beside `path`.
    pub fn new(path: &Path) -> io::Result<Self> {
        let directory = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        let mut unfinished = unfinished();
        let file = tempfile::Builder::new()
            .prefix(".pgz-")
            .tempfile_in(directory.unwrap_or(Path::new(".")))?;
        unfinished.push(file.path().to_owned());
        Ok(Target {
            path: path.to_owned(),
            file: Some(file),
        })
    }

    /// The file to write to.
    pub fn file(&mut self) -> &mut File {
        let file = self.file.as_mut();
        file.expect("it is there until the target is gone")
            .as_file_mut()
    }

    /// Gives the file its final name, and the permissions and the time of change of the input.
    pub fn finish(mut self, like: &Metadata, overwrite: bool) -> io::Result<()> {
        let file = self.file();
        file.set_permissions(like.permissions())?;
        if let Ok(time) = like.modified() {
            file.set_modified(time)?;
        }
        let mut unfinished = unfinished();
        let file = self
            .file
            .take()
            .expect("it is there until the target is gone");
        let temporary = file.path().to_owned();
        let done = if overwrite {
            file.persist(&self.path)
        } else {
            file.persist_noclobber(&self.path)
        };
        // After a failure the file is removed already.
        unfinished.retain(|path| *path != temporary);
        done.map(drop).map_err(|failure| failure.error)
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Some(file) = self.file.take() {
            let mut unfinished = unfinished();
            let temporary = file.path().to_owned();
            drop(file);
            unfinished.retain(|path| *path != temporary);
        }
    }
}
