//! The task: the words of one file.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// What is known of one file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// The number of words.
    pub words: u64,
    /// The number of different words.
    pub distinct: u64,
    /// The longest word; of several, the first in the alphabet.
    pub longest: String,
    /// The words that come most often, with their numbers, the most frequent first.
    pub frequent: Vec<(String, u64)>,
}

/// How many of the words are kept for each file.
const FREQUENT: usize = 50;

/// A path as it travels: any bytes.
pub fn bytes(path: &Path) -> Vec<u8> {
    path.as_os_str().as_bytes().to_owned()
}

/// Counts the words of a file. The error is a text for people.
#[heist::task]
pub fn read(path: Vec<u8>) -> Result<Page, String> {
    let path = PathBuf::from(OsStr::from_bytes(&path));
    let text = fs::read(&path).map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&text);
    if text.lines().next() == Some("%CRASH") {
        // What a parser in C does with a file that it does not expect.
        std::process::abort();
    }
    Ok(count(&text))
}

fn count(text: &str) -> Page {
    let mut counts: HashMap<String, u64> = HashMap::new();
    let mut words = 0;
    for word in text.split(|next: char| !next.is_alphanumeric()) {
        if !word.is_empty() {
            words += 1;
            *counts.entry(word.to_lowercase()).or_default() += 1;
        }
    }
    let longest = counts.keys().max_by(|a, b| {
        let by_length = a.chars().count().cmp(&b.chars().count());
        by_length.then_with(|| b.cmp(a))
    });
    let longest = longest.cloned().unwrap_or_default();
    let distinct = counts.len() as u64;
    let mut frequent: Vec<_> = counts.into_iter().collect();
    frequent.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    frequent.truncate(FREQUENT);
    Page {
        words,
        distinct,
        longest,
        frequent,
    }
}
