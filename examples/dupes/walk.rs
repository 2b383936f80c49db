//! Reads directory trees in parallel: one `spawn` for each directory.
//!
//! A directory may be reachable by several paths (a followed link, a bind mount, overlapping PATHs). The first task
//! that comes to it reads it, once, and stores the content under the directory's identity. So loops end here. Which
//! path is the first depends on timing, so no full path leaves this module: `paths` finds the paths afterwards.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::ffi::OsString;
use std::fs::{self, DirEntry, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use heist::{Scope, ThreadPool};

use super::identity::FileId;
use super::progress::Progress;

/// Everything that was found, in no particular order.
pub struct Tree {
    /// The starting points. Their names are the paths as given.
    pub roots: Vec<Entry>,
    /// The content of each directory.
    pub listings: HashMap<FileId, Listing>,
}

/// The content of one directory.
#[derive(Default)]
pub struct Listing {
    /// Files, directories, and entries that could not be read. Other kinds are left out.
    pub entries: Vec<Entry>,
    /// The reason why some or all entries are missing.
    pub error: Option<io::Error>,
}

/// One name in a directory.
pub struct Entry {
    /// The last part of the path.
    pub name: OsString,
    /// Whether the name is a symbolic link, which was followed.
    pub by_link: bool,
    /// What it names.
    pub kind: Kind,
}

/// What a name stands for.
pub enum Kind {
    /// A directory, whose content is stored under this identity.
    Directory(FileId),
    /// A regular file and its size in bytes.
    File(FileId, u64),
    /// Something that could not be read.
    Unreadable(io::Error),
}

/// Reads everything below `roots`.
pub fn walk(pool: &ThreadPool, roots: &[PathBuf], follow: bool, progress: &Progress) -> Tree {
    progress.walking();
    let walk = Walk {
        pool,
        follow,
        progress,
        listings: Mutex::default(),
    };
    let roots = pool.scope(|scope| roots.iter().map(|root| walk.start(scope, root)).collect());
    let listings = walk.listings.into_inner();
    Tree {
        roots,
        listings: listings.unwrap_or_else(PoisonError::into_inner),
    }
}

/// The state that the tasks of all directories share.
struct Walk<'call> {
    pool: &'call ThreadPool,
    follow: bool,
    progress: &'call Progress,
    /// The one task that reads a directory inserts its key. It sets the value when it is done.
    listings: Mutex<HashMap<FileId, Listing>>,
}

impl Walk<'_> {
    /// Examines a starting point and enters it if it is a directory.
    fn start<'scope>(&'scope self, scope: &Scope<'scope>, root: &Path) -> Entry {
        let kind = kind_of(fs::metadata(root), || root.to_owned()).unwrap_or_else(|| {
            Kind::Unreadable(io::Error::other(
                "it is neither a directory nor a regular file",
            ))
        });
        if let Kind::Directory(id) = &kind {
            self.enter(scope, root.to_owned(), id.clone());
        }
        Entry {
            name: root.as_os_str().to_owned(),
            by_link: false,
            kind,
        }
    }

    /// Spawns a task that reads a directory, unless there has been one.
    fn enter<'scope>(&'scope self, scope: &Scope<'scope>, path: PathBuf, id: FileId) {
        if self.claim(&id) {
            scope.spawn(move |scope| self.read(scope, &path, id));
        }
    }

    /// Reads one directory and enters its subdirectories.
    fn read<'scope>(&'scope self, scope: &Scope<'scope>, path: &Path, id: FileId) {
        let (names, error) = list(path);
        let found = self.pool.map(names, |name| self.look_at(&name));
        let entries: Vec<Entry> = found.into_iter().flatten().collect();
        for entry in &entries {
            if let Kind::Directory(id) = &entry.kind {
                self.enter(scope, path.join(&entry.name), id.clone());
            }
        }
        self.progress.found(entries.len());
        self.store(id, Listing { entries, error });
    }

    /// Finds out what a name stands for. `None` if it is neither a file nor a directory.
    fn look_at(&self, name: &DirEntry) -> Option<Entry> {
        let file_type = match name.file_type() {
            Ok(file_type) => file_type,
            Err(error) => return Some(entry(name, false, Kind::Unreadable(error))),
        };
        let by_link = file_type.is_symlink();
        let metadata = match (by_link, self.follow) {
            (true, false) => return None,
            (true, true) => fs::metadata(name.path()),
            (false, _) => name.metadata(),
        };
        let kind = kind_of(metadata, || name.path())?;
        Some(entry(name, by_link, kind))
    }

    /// True for the first caller with this directory.
    fn claim(&self, id: &FileId) -> bool {
        let mut listings = self.listings.lock().unwrap_or_else(PoisonError::into_inner);
        match listings.entry(id.clone()) {
            Slot::Occupied(_) => false,
            Slot::Vacant(slot) => {
                slot.insert(Listing::default());
                true
            }
        }
    }

    fn store(&self, id: FileId, listing: Listing) {
        self.listings
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id, listing);
    }
}

/// The names in a directory, and the error that ended the list.
fn list(path: &Path) -> (Vec<DirEntry>, Option<io::Error>) {
    let mut names = Vec::new();
    match fs::read_dir(path) {
        Ok(stream) => {
            for name in stream {
                match name {
                    Ok(name) => names.push(name),
                    Err(error) => return (names, Some(error)),
                }
            }
            (names, None)
        }
        Err(error) => (names, Some(error)),
    }
}

fn entry(name: &DirEntry, by_link: bool, kind: Kind) -> Entry {
    Entry {
        name: name.file_name(),
        by_link,
        kind,
    }
}

/// `None` for pipes, sockets and devices. They are never opened, since that may block forever.
fn kind_of(metadata: io::Result<Metadata>, path: impl FnOnce() -> PathBuf) -> Option<Kind> {
    match metadata {
        Err(error) => Some(Kind::Unreadable(error)),
        Ok(data) if data.is_dir() => Some(Kind::Directory(FileId::new(&data, path))),
        Ok(data) if data.is_file() => Some(Kind::File(FileId::new(&data, path), data.len())),
        Ok(_) => None,
    }
}
