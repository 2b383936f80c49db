//! Finds the paths of everything that the walk has found, in an order that does not depend on the walk.
//!
//! A path without followed links comes before a path with some, then the order of paths decides. The directory graph
//! does not depend on the number of threads, so the paths do not either.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::path::PathBuf;

use super::identity::FileId;
use super::walk::{Kind, Tree};

/// Everything that was found, each file once.
pub struct Inventory {
    /// The regular files.
    pub files: Vec<File>,
    /// What could not be read.
    pub skipped: Vec<Skipped>,
    /// The number of directories that were read, fully or in part.
    pub directories: u64,
}

/// A regular file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// The first path of the file.
    pub path: PathBuf,
    /// Other paths to the same file: hard links, or through followed symbolic links.
    pub aliases: Vec<PathBuf>,
    /// The size in bytes.
    pub size: u64,
}

/// Something that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Skipped {
    /// Where it is.
    pub path: PathBuf,
    /// The system's error.
    pub reason: String,
}

/// A path, ordered by preference. The order of the fields matters.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    by_link: bool,
    path: PathBuf,
    id: FileId,
    /// Zero for directories.
    size: u64,
}

/// What has a path so far.
#[derive(Default)]
struct Named {
    /// The directories to enter, with the preferred path on top.
    directories: BinaryHeap<Reverse<Candidate>>,
    files: Vec<Candidate>,
    skipped: Vec<Skipped>,
}

/// Works out the paths of all files in `tree`.
pub fn name(tree: Tree) -> Inventory {
    let mut listings = tree.listings;
    let mut named = Named::default();
    let mut read = 0;
    for root in tree.roots {
        named.add(root.name.into(), root.by_link, root.kind);
    }
    while let Some(Reverse(directory)) = named.directories.pop() {
        // The directory is missing if a preferred path has led to it before.
        let Some(listing) = listings.remove(&directory.id) else {
            continue;
        };
        read += 1;
        for entry in listing.entries {
            let path = directory.path.join(&entry.name);
            named.add(path, directory.by_link || entry.by_link, entry.kind);
        }
        if let Some(error) = listing.error {
            named.add(directory.path, false, Kind::Unreadable(error));
        }
    }

    let mut skipped = named.skipped;
    skipped.sort();
    skipped.dedup(); // a PATH may be given twice
    Inventory {
        files: unite(named.files),
        skipped,
        directories: read,
    }
}

impl Named {
    fn add(&mut self, path: PathBuf, by_link: bool, kind: Kind) {
        let candidate = |path, id, size| Candidate {
            by_link,
            path,
            id,
            size,
        };
        match kind {
            Kind::Directory(id) => self.directories.push(Reverse(candidate(path, id, 0))),
            Kind::File(id, size) => self.files.push(candidate(path, id, size)),
            Kind::Unreadable(error) => self.skipped.push(Skipped {
                path,
                reason: error.to_string(),
            }),
        }
    }
}

/// Makes one [`File`] of all paths to it.
fn unite(mut candidates: Vec<Candidate>) -> Vec<File> {
    candidates.sort();
    let mut position = HashMap::new();
    let mut files: Vec<File> = Vec::new();
    for Candidate { path, id, size, .. } in candidates {
        let index = *position.entry(id).or_insert(files.len());
        match files.get_mut(index) {
            Some(file) => file.aliases.push(path),
            None => files.push(File {
                path,
                aliases: Vec::new(),
                size,
            }),
        }
    }
    for file in &mut files {
        // A PATH that is given twice is no alias of itself.
        file.aliases.sort();
        file.aliases.dedup();
        file.aliases.retain(|alias| *alias != file.path);
    }
    files
}
