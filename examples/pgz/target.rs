//! Output files that appear whole or not at all, whatever ends the program.

use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tempfile::NamedTempFile;

/// What is known of an input.
#[derive(Default)]
pub struct Origin {
    /// Without its directory; None: standard input.
    pub name: Option<OsString>,
    /// When it was changed last.
    pub modified: Option<SystemTime>,
}

/// Temporary files that exist. Who makes, renames or removes one holds the lock.
static UNFINISHED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

fn unfinished() -> MutexGuard<'static, Vec<PathBuf>> {
    UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes the temporary files and ends the program; for the signal handler. It keeps the lock: no file follows.
pub fn abandon() {
    let unfinished = unfinished();
    for path in unfinished.iter() {
        // Nobody is left who could do more about it.
        let _ = fs::remove_file(path);
    }
    process::exit(130);
}

/// A file to be.
pub struct Target {
    path: PathBuf,
    file: Option<NamedTempFile>,
}

impl Target {
    /// Begins a temporary file beside `path`.
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

    /// To write to.
    pub fn file(&mut self) -> &mut File {
        let file = self.file.as_mut();
        file.expect("it is there until the target is gone")
            .as_file_mut()
    }

    /// Gives the file its name, and the input's permissions and time of change.
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
        // A failure has removed the file.
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
