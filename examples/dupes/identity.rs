//! The identity of a file, whatever its path.

use std::fs::Metadata;
use std::path::PathBuf;

/// Names a file or directory independently of the path that led to it.
///
/// On Unix this is the device and inode number, so hard links are one file. Elsewhere it is the canonical path, and
/// hard links look like several files.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId(Inner);

#[cfg(unix)]
type Inner = (u64, u64);
#[cfg(not(unix))]
type Inner = PathBuf;

impl FileId {
    /// The identity of the file that `metadata` describes. `path` leads to it, and is used only where it is needed.
    #[cfg(unix)]
    pub fn new(metadata: &Metadata, _path: impl FnOnce() -> PathBuf) -> Self {
        use std::os::unix::fs::MetadataExt;
        FileId((metadata.dev(), metadata.ino()))
    }

    /// The identity of the file that `metadata` describes. `path` leads to it, and is used only where it is needed.
    #[cfg(not(unix))]
    pub fn new(_metadata: &Metadata, path: impl FnOnce() -> PathBuf) -> Self {
        let path = path();
        FileId(path.canonicalize().unwrap_or(path))
    }
}
