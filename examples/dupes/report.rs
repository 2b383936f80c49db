//! Prints the result.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::Path;

use indicatif::{HumanBytes, HumanCount};
use serde::Serialize;

use super::groups::Group;
use super::paths::Skipped;

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Findings {
    /// The number of directories that were read.
    pub directories: u64,
    /// The number of files. Several paths to one file count once.
    pub files: u64,
    /// The total size of the files.
    pub bytes: u64,
    /// The number of further paths to these files.
    pub aliases: u64,
    /// What could not be read, sorted by path.
    pub skipped: Vec<Skipped>,
    /// The groups of duplicates. The group that wastes most comes first.
    pub groups: Vec<Group>,
}

impl Findings {
    /// The number of files that could be deleted.
    pub fn redundant_files(&self) -> u64 {
        let count = |group: &Group| group.files.len() as u64 - 1;
        self.groups.iter().map(count).sum()
    }

    /// The number of bytes that deleting them would free.
    pub fn wasted_bytes(&self) -> u64 {
        self.groups.iter().map(Group::wasted).sum()
    }
}

/// Prints groups and a summary for people.
pub fn text(findings: &Findings, output: &mut dyn Write) -> io::Result<()> {
    for group in &findings.groups {
        writeln!(
            output,
            "{} files of {}, {} wasted:",
            group.files.len(),
            HumanBytes(group.size),
            HumanBytes(group.wasted())
        )?;
        for file in &group.files {
            path_line(output, "  ", &file.path)?;
            for alias in &file.aliases {
                path_line(output, "    same file: ", alias)?;
            }
        }
        writeln!(output)?;
    }
    if findings.groups.is_empty() {
        writeln!(output, "No duplicates.")?;
    } else {
        writeln!(
            output,
            "{} wasted by {} in {}.",
            HumanBytes(findings.wasted_bytes()),
            count(findings.redundant_files(), "redundant file"),
            count(findings.groups.len() as u64, "group"),
        )?;
    }
    write!(
        output,
        "Searched {} of {} in {}",
        count(findings.files, "file"),
        HumanBytes(findings.bytes),
        if findings.directories == 1 {
            "1 directory".to_owned()
        } else {
            format!("{} directories", HumanCount(findings.directories))
        }
    )?;
    if !findings.skipped.is_empty() {
        let skipped = HumanCount(findings.skipped.len() as u64);
        write!(output, "; {skipped} could not be read")?;
    }
    writeln!(output, ".")
}

/// Lists what was skipped.
pub fn skipped(findings: &Findings, notes: &mut dyn Write) -> io::Result<()> {
    for skipped in &findings.skipped {
        path_line(notes, "skipped: ", &skipped.path)?;
        writeln!(notes, "         {}", skipped.reason)?;
    }
    Ok(())
}

/// Prints one JSON document, whose form `--help` shows.
pub fn json(findings: &Findings, output: &mut dyn Write) -> io::Result<()> {
    let document = Document {
        groups: findings.groups.iter().map(GroupView::new).collect(),
        skipped: findings
            .skipped
            .iter()
            .map(|skipped| SkippedView {
                at: PathView::new(&skipped.path),
                reason: &skipped.reason,
            })
            .collect(),
        summary: Summary {
            directories: findings.directories,
            files: findings.files,
            bytes: findings.bytes,
            aliases: findings.aliases,
            skipped: findings.skipped.len() as u64,
            groups: findings.groups.len() as u64,
            redundant_files: findings.redundant_files(),
            wasted_bytes: findings.wasted_bytes(),
        },
    };
    serde_json::to_writer_pretty(&mut *output, &document)?;
    writeln!(output)
}

/// Writes the bytes of a path in whatever encoding they have, but escapes what would confuse a terminal.
fn path_line(output: &mut dyn Write, before: &str, path: &Path) -> io::Result<()> {
    write!(output, "{before}")?;
    if path.to_string_lossy().chars().any(char::is_control) {
        return writeln!(output, "{path:?}");
    }
    output.write_all(path.as_os_str().as_encoded_bytes())?;
    writeln!(output)
}

fn count(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", HumanCount(number))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // a String takes everything
        text
    })
}

#[derive(Serialize)]
struct Document<'a> {
    groups: Vec<GroupView<'a>>,
    skipped: Vec<SkippedView<'a>>,
    summary: Summary,
}

#[derive(Serialize)]
struct GroupView<'a> {
    size: u64,
    wasted: u64,
    blake3: String,
    files: Vec<FileView<'a>>,
}

impl<'a> GroupView<'a> {
    fn new(group: &'a Group) -> Self {
        let files = group.files.iter().map(|file| FileView {
            at: PathView::new(&file.path),
            aliases: file
                .aliases
                .iter()
                .map(|path| PathView::new(path))
                .collect(),
        });
        GroupView {
            size: group.size,
            wasted: group.wasted(),
            blake3: hex(&group.hash),
            files: files.collect(),
        }
    }
}

#[derive(Serialize)]
struct FileView<'a> {
    #[serde(flatten)]
    at: PathView<'a>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    aliases: Vec<PathView<'a>>,
}

#[derive(Serialize)]
struct SkippedView<'a> {
    #[serde(flatten)]
    at: PathView<'a>,
    reason: &'a str,
}

#[derive(Serialize)]
struct PathView<'a> {
    path: std::borrow::Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_hex: Option<String>,
}

impl<'a> PathView<'a> {
    fn new(path: &'a Path) -> Self {
        let exact = path.to_str().is_some();
        PathView {
            path: path.to_string_lossy(),
            path_hex: (!exact).then(|| hex(path.as_os_str().as_encoded_bytes())),
        }
    }
}

#[derive(Serialize)]
struct Summary {
    directories: u64,
    files: u64,
    bytes: u64,
    aliases: u64,
    skipped: u64,
    groups: u64,
    redundant_files: u64,
    wasted_bytes: u64,
}
