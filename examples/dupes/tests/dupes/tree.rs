//! Trees of files for the tests, and the serial search.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::dupes::hash::PREFIX_BYTES;
use fastrand::Rng;

/// A new directory that is removed at the end of the test.
pub struct Tree {
    pub root: PathBuf,
}

impl Tree {
    pub fn new() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("heist-dupes-{}-{number}", std::process::id());
        let root = std::env::temp_dir().join(name);
        fs::create_dir(&root).unwrap();
        Tree { root }
    }

    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        let path = self.root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    pub fn file(&self, name: impl AsRef<Path>, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        path
    }

    pub fn hard_link(&self, original: &str, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::hard_link(self.path(original), &path).unwrap();
        path
    }

    pub fn link(&self, target: impl AsRef<Path>, name: &str) -> PathBuf {
        let path = self.path(name);
        symlink(target, &path).unwrap();
        path
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// The answer of the most obvious program: it reads everything in order on one thread, and never follows links.
pub fn serial(root: &Path) -> Vec<Vec<PathBuf>> {
    fn collect(
        directory: &Path,
        seen: &mut HashSet<(u64, u64)>,
        found: &mut BTreeMap<Vec<u8>, Vec<PathBuf>>,
    ) {
        let mut paths: Vec<PathBuf> = fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        paths.sort();
        for path in paths {
            let metadata = path.symlink_metadata().unwrap();
            if metadata.is_dir() {
                collect(&path, seen, found);
            } else if metadata.is_file()
                && metadata.len() > 0
                && seen.insert((metadata.dev(), metadata.ino()))
            {
                found
                    .entry(fs::read(&path).unwrap())
                    .or_default()
                    .push(path);
            }
        }
    }
    let mut found = BTreeMap::new();
    collect(root, &mut HashSet::new(), &mut found);
    let mut groups: Vec<(usize, Vec<PathBuf>)> = found
        .into_iter()
        .filter(|(_, paths)| paths.len() > 1)
        .map(|(content, mut paths)| {
            paths.sort();
            (content.len() * (paths.len() - 1), paths)
        })
        .collect();
    groups.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1[0].cmp(&b.1[0])));
    groups.into_iter().map(|(_, paths)| paths).collect()
}

/// Many directories and files, some equal, some almost equal, with hard and symbolic links.
pub fn random_tree(seed: u64) -> Tree {
    let mut random = Rng::with_seed(seed);
    let tree = Tree::new();
    let mut directories = vec![PathBuf::new()];
    let mut files: Vec<String> = Vec::new();
    for number in 0..400 {
        let directory = directories[random.usize(0..directories.len())].clone();
        let name = directory.join(format!("n{number}"));
        match random.u8(0..10) {
            0..=1 => {
                fs::create_dir(tree.path(&name)).unwrap();
                directories.push(name);
            }
            2 if !files.is_empty() => {
                let original = files[random.usize(0..files.len())].clone();
                tree.hard_link(&original, name.to_str().unwrap());
            }
            3 => {
                let target = &directories[random.usize(0..directories.len())];
                tree.link(tree.root.join(target), name.to_str().unwrap());
            }
            _ => {
                let sizes = [0, 1, 500, PREFIX_BYTES, PREFIX_BYTES + 1, 300_000];
                let size = sizes[random.usize(0..sizes.len())] as usize;
                let mut content = vec![random.u8(0..3); size];
                if let Some(last) = content.last_mut() {
                    *last = random.u8(0..3);
                }
                tree.file(&name, content);
                files.push(name.to_str().unwrap().to_owned());
            }
        }
    }
    tree
}
