//! From all files to groups of equal ones: by size, then by prefix, then by content.
//!
//! Each step looks only at files that may still have a duplicate. So most files are never opened, and of most others
//! only 16 KiB are read.

use std::io;

use super::hash::{Hash, PREFIX_BYTES};
use super::hashing::Pools;
use super::options::Options;
use super::paths::{File, Inventory, Skipped};
use super::progress::Progress;
use super::report::Findings;

/// Files with the same content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The size of each file in bytes.
    pub size: u64,
    /// The hash of each file's content.
    pub hash: Hash,
    /// The files, at least two, sorted by path.
    pub files: Vec<File>,
}

impl Group {
    /// The number of bytes that would be free if only one file were kept.
    pub fn wasted(&self) -> u64 {
        self.size * (self.files.len() as u64 - 1)
    }
}

/// Groups the files of `inventory`. The group that wastes most comes first.
pub fn find(
    pools: &Pools,
    inventory: Inventory,
    options: &Options,
    progress: &Progress,
) -> Findings {
    let mut findings = Findings {
        directories: inventory.directories,
        files: inventory.files.len() as u64,
        bytes: inventory.files.iter().map(|file| file.size).sum(),
        aliases: inventory
            .files
            .iter()
            .map(|file| file.aliases.len() as u64)
            .sum(),
        skipped: inventory.skipped,
        groups: Vec::new(),
    };
    let by_size = with_rivals(
        inventory
            .files
            .into_iter()
            .filter(|file| is_wanted(file, options))
            .map(|file| (file.size, file))
            .collect(),
    );
    let by_prefix = with_rivals(prefixes(pools, by_size, &mut findings.skipped, progress));
    let by_content = with_rivals(contents(pools, by_prefix, &mut findings.skipped, progress));

    findings.groups = by_content
        .chunk_by(|a, b| a.0 == b.0)
        .map(|equal| Group {
            size: equal[0].0.0,
            hash: equal[0].0.1,
            files: equal.iter().map(|(_, file)| file.clone()).collect(),
        })
        .collect();
    // The order is by wasted bytes, descending, then by path, ascending. No two groups share a path.
    findings.groups.sort_by(|a, b| {
        let by_waste = b.wasted().cmp(&a.wasted());
        by_waste.then_with(|| a.files[0].path.cmp(&b.files[0].path))
    });
    findings.skipped.sort();
    findings
}

fn is_wanted(file: &File, options: &Options) -> bool {
    if file.size == 0 {
        options.empty
    } else {
        file.size >= options.min_size
    }
}

/// Drops files whose keys are unique. Equal keys become neighbours, and large keys come first. The keys begin
/// with the size, and parallel work that starts with the largest files ends evenly.
fn with_rivals<K: Ord>(mut files: Vec<(K, File)>) -> Vec<(K, File)> {
    files.sort_unstable_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.path.cmp(&b.1.path)));
    let rivals: Vec<bool> = (0..files.len())
        .map(|index| {
            let same = |other: usize| files.get(other).is_some_and(|it| it.0 == files[index].0);
            same(index + 1) || index.checked_sub(1).is_some_and(same)
        })
        .collect();
    let mut rival = rivals.into_iter();
    files.retain(|_| rival.next() == Some(true));
    files
}

/// Adds the hash of each file's prefix to its key.
fn prefixes(
    pools: &Pools,
    files: Vec<(u64, File)>,
    skipped: &mut Vec<Skipped>,
    progress: &Progress,
) -> Vec<((u64, Hash), File)> {
    progress.comparing("beginnings", files.len() as u64);
    let hashes = pools.prefixes(&files, progress);
    keyed(files, hashes, skipped)
}

/// Replaces the hash of the prefix by that of the whole content.
fn contents(
    pools: &Pools,
    files: Vec<((u64, Hash), File)>,
    skipped: &mut Vec<Skipped>,
    progress: &Progress,
) -> Vec<((u64, Hash), File)> {
    // The prefix of a short file is its whole content.
    let (mut files, done): (Vec<_>, Vec<_>) = files
        .into_iter()
        .map(|((size, hash), file)| (size, hash, file))
        .partition(|(size, ..)| *size > PREFIX_BYTES);
    progress.hashing(files.iter().map(|(size, ..)| size).sum());
    let hashes = pools.contents(&files, progress);
    let mut keyed = keyed(
        files
            .drain(..)
            .map(|(size, _, file)| (size, file))
            .collect(),
        hashes,
        skipped,
    );
    keyed.extend(
        done.into_iter()
            .map(|(size, hash, file)| ((size, hash), file)),
    );
    keyed
}

/// Pairs the files with their hashes. Files that could not be read go to `skipped`.
fn keyed(
    files: Vec<(u64, File)>,
    hashes: Vec<io::Result<Hash>>,
    skipped: &mut Vec<Skipped>,
) -> Vec<((u64, Hash), File)> {
    let mut readable = Vec::with_capacity(files.len());
    for ((size, file), hash) in files.into_iter().zip(hashes) {
        match hash {
            Ok(hash) => readable.push(((size, hash), file)),
            Err(error) => skipped.push(Skipped {
                path: file.path,
                reason: error.to_string(),
            }),
        }
    }
    readable
}
