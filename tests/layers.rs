//! Imports point down: a module uses its own layer and those below, never one above.

use std::fs;
use std::path::{Path, PathBuf};

/// Every module of the crate, lowest first. ARCHITECTURE.md prints the same list.
const LAYERS: [&str; 17] = [
    "sync", "testing", "sys", "unwind", "counters", "blocks", "chunks", "barrier", "ring", "sleep",
    "latch", "lineage", "job", "pool", "fork", "executor", "stats",
];

/// Where a module stands, if the table knows it.
fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|name| *name == module)
}

/// The source without comments, character and string literals: what may name a module.
fn code(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(next) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if next == '"' {
            string(rest)
        } else if rest.starts_with("'\"'") || rest.starts_with("'\\") {
            rest[2..].find('\'').map_or(rest.len(), |end| end + 3)
        } else {
            code.push(next);
            rest = &rest[next.len_utf8()..];
            continue;
        };
        code.push(' ');
        rest = &rest[skipped..];
    }
    code
}

/// The length of the comment that `rest` begins with; they nest.
fn block_comment(rest: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    at
}

/// The length of the string that `rest` begins with.
fn string(rest: &str) -> usize {
    let mut escaped = false;
    for (at, next) in rest.char_indices().skip(1) {
        match next {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => (),
        }
    }
    rest.len()
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// The first word of each path in a list like `{a::b, c::{d, e}}`, or of a single path.
fn first_words(list: &str) -> Vec<String> {
    let list = list.trim_start();
    let Some(inside) = list.strip_prefix('{') else {
        return vec![list.chars().take_while(|c| is_word(*c)).collect()];
    };
    let mut words = Vec::new();
    let mut depth = 0;
    let mut item = String::new();
    for next in inside.chars() {
        match next {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => words.push(std::mem::take(&mut item)),
            _ => (),
        }
        if depth > 0 || next != ',' {
            item.push(next);
        }
    }
    words.push(item);
    words
        .iter()
        .map(|item| item.trim().chars().take_while(|c| is_word(*c)).collect())
        .filter(|word: &String| !word.is_empty())
        .collect()
}

/// The modules at the root of the crate that this source names. `depth` says how many `super`s
/// lead to the root: one in `ring.rs` and `ring/mod.rs`, two in `pool/worker.rs`.
fn used_modules(source: &str, depth: usize) -> Vec<String> {
    let code: String = code(source)
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    let code = code.replace(" :: ", "::").replace(":: ", "::");
    let mut used = Vec::new();
    let climb = "super::".repeat(depth);
    for root in ["crate::", &climb] {
        for (at, _) in code.match_indices(root) {
            let before = code[..at].chars().next_back();
            let after = &code[at + root.len()..];
            // `super` behind `super` was a longer path; a path that climbs on leaves the crate.
            if before.is_none_or(|c| !is_word(c) && c != ':' && c != '$')
                && !after.starts_with("super")
            {
                // In a module inside a file `super` leads less far, to names that are no layers.
                let words = first_words(after).into_iter();
                used.extend(words.filter(|word| root == "crate::" || layer(word).is_some()));
            }
        }
    }
    used
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry of that folder").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// What is wrong with the imports of the module `module`.
fn violations(module: &str, source: &str, depth: usize) -> Vec<String> {
    let Some(own) = layer(module) else {
        return vec![format!("`{module}` is missing from the table of layers")];
    };
    used_modules(source, depth)
        .into_iter()
        .filter_map(|used| match layer(&used) {
            Some(below) if below <= own => None,
            Some(_) => Some(format!("`{module}` imports `{used}`, which is above it")),
            None => Some(format!(
                "`{module}` imports `crate::{used}`, which is no module of the table: \
                 import from the module that defines it"
            )),
        })
        .collect()
}

#[test]
fn imports_point_down() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    files.sort();
    let mut wrong = Vec::new();
    for file in files {
        let inside = file.strip_prefix(&root).expect("a file below src");
        let parts: Vec<&str> = inside.iter().filter_map(|part| part.to_str()).collect();
        if parts == ["lib.rs"] {
            continue;
        }
        let module = parts[0].trim_end_matches(".rs");
        let depth = parts.len() - usize::from(parts.ends_with(&["mod.rs"]));
        let source = fs::read_to_string(&file).expect("a source is text");
        for violation in violations(module, &source, depth) {
            wrong.push(format!("src/{}: {violation}", inside.display()));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn an_import_from_above_is_seen() {
    let wrong = |module, source| violations(module, source, 1).len();
    assert_eq!(wrong("ring", "use crate::pool::ThreadPool;"), 1);
    assert_eq!(wrong("ring", "use super::pool::ThreadPool;"), 1);
    assert_eq!(wrong("ring", "fn f() { crate::fork::join(); }"), 1);
    assert_eq!(
        wrong("job", "use crate::{sync::Arc, fork::{a, b}, stats};"),
        2
    );
    assert_eq!(wrong("job", "pub(in crate::pool) fn f() {}"), 1);
    assert_eq!(wrong("job", "use crate::ThreadPool;"), 1);
    assert_eq!(wrong("unheard_of", ""), 1);
    assert_eq!(
        violations("pool", "use super::super::fork::join;", 2).len(),
        1
    );
}

#[test]
fn imports_from_below_and_mere_words_are_allowed() {
    let wrong = |module, source| violations(module, source, 1).len();
    assert_eq!(wrong("pool", "use crate::{ring::Ring, sync::{a, b}};"), 0);
    assert_eq!(wrong("pool", "use crate::pool::worker::Worker;"), 0);
    assert_eq!(
        wrong("ring", "// use crate::pool::ThreadPool;\n/* crate::fork */"),
        0
    );
    assert_eq!(
        wrong("ring", "/// See [`crate::ThreadPool`].\nfn f() {}"),
        0
    );
    assert_eq!(
        wrong("ring", "const S: &str = \"crate::pool \\\" crate::fork\";"),
        0
    );
    assert_eq!(
        wrong("ring", "const C: char = '\"'; use crate::sync::Arc;"),
        0
    );
    assert_eq!(violations("pool", "use super::worker::Worker;", 2).len(), 0);
    assert_eq!(
        wrong(
            "ring",
            "mod tests { use super::*; use super::{Ring, Slot}; }"
        ),
        0
    );
}
