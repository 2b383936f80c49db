//! The report: a line for each file, and what all files have together.

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::words::Page;

/// What is known of all files, in their order.
#[derive(Debug, Default)]
pub struct Report {
    pages: Vec<(PathBuf, Page)>,
    skipped: Vec<(PathBuf, String)>,
}

impl Report {
    /// Adds a file.
    pub fn add(&mut self, file: &Path, page: Page) {
        self.pages.push((file.to_owned(), page));
    }

    /// Adds a file without a result.
    pub fn skip(&mut self, file: &Path, reason: String) {
        self.skipped.push((file.to_owned(), reason));
    }

    /// Writes the report. It depends on the files alone.
    ///
    /// # Errors
    ///
    /// Returns the error of the writer.
    pub fn write(&self, output: &mut dyn Write) -> io::Result<()> {
        let mut all: HashMap<&str, u64> = HashMap::new();
        for (file, page) in &self.pages {
            let (words, distinct, longest) = (page.words, page.distinct, &page.longest);
            writeln!(
                output,
                "{words:>8} {distinct:>7} {longest:<24} {}",
                file.display()
            )?;
            for (word, count) in &page.frequent {
                *all.entry(word).or_default() += count;
            }
        }
        let words: u64 = self.pages.iter().map(|(_, page)| page.words).sum();
        let (read, skipped) = (self.pages.len(), self.skipped.len());
        writeln!(
            output,
            "{words} words in {read} files, {skipped} files skipped"
        )?;
        let mut all: Vec<_> = all.into_iter().collect();
        all.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
        for (word, count) in all.into_iter().take(10) {
            writeln!(output, "{count:>8} {word}")?;
        }
        Ok(())
    }

    /// Writes the names of the files without a result, and why they have none.
    ///
    /// # Errors
    ///
    /// Returns the error of the writer.
    pub fn write_skipped(&self, notes: &mut dyn Write) -> io::Result<()> {
        for (file, reason) in &self.skipped {
            writeln!(notes, "skipped {}: {reason}", file.display())?;
        }
        Ok(())
    }
}
