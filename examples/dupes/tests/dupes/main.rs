//! The `dupes` example against a plain serial search, on trees that might confuse it.
#![cfg(unix)]

#[expect(dead_code, reason = "`main` is for the example, the tests call `run`")]
#[path = "../../main.rs"]
mod dupes;
mod tree;

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use clap::Parser;
use dupes::hash::{PREFIX_BYTES, Reader};
use dupes::{Failure, Findings, Options, Pools, Progress};
use tree::{Tree, random_tree, serial};

const THREADS: [usize; 3] = [1, 2, 8];

fn options(paths: &[&Path], flags: &[&str]) -> Options {
    let flags = flags.iter().map(OsStr::new);
    let paths = paths.iter().map(|path| path.as_os_str());
    Options::try_parse_from([OsStr::new("dupes")].into_iter().chain(flags).chain(paths)).unwrap()
}

/// The answer, which must be the same at 1, 2 and 8 threads.
fn find(paths: &[&Path], flags: &[&str]) -> Findings {
    let options = options(paths, flags);
    let progress = Progress::new(false);
    let [answer, two, eight] = THREADS.map(|threads| {
        let pools = Pools::new(threads, 0, None).expect("a pool of a few threads can be built");
        dupes::find(&pools, &options, &progress)
    });
    assert_eq!(answer, two, "1 and 2 threads differ");
    assert_eq!(answer, eight, "1 and 8 threads differ");
    answer
}

/// The output on stdout and stderr, which must be the same at 1, 2 and 8 threads.
fn output(paths: &[&Path], flags: &[&str]) -> (Vec<u8>, Vec<u8>) {
    let [answer, two, eight] = THREADS.map(|threads| {
        let mut options = options(paths, flags);
        options.threads = threads;
        options.quiet = true;
        let (mut output, mut notes) = (Vec::new(), Vec::new());
        dupes::run(&options, &mut output, &mut notes).unwrap();
        (output, notes)
    });
    assert_eq!(answer, two, "1 and 2 threads differ");
    assert_eq!(answer, eight, "1 and 8 threads differ");
    answer
}

/// The paths of each group, by which answers are compared.
fn groups(findings: &Findings) -> Vec<Vec<PathBuf>> {
    let paths = |group: &dupes::Group| group.files.iter().map(|file| file.path.clone()).collect();
    findings.groups.iter().map(paths).collect()
}

#[test]
fn random_trees_give_the_serial_answer() {
    for seed in 0..4 {
        let tree = random_tree(seed);
        let findings = find(&[&tree.root], &[]);
        assert_eq!(groups(&findings), serial(&tree.root), "seed {seed}");
        assert!(!findings.groups.is_empty());
        assert!(findings.skipped.is_empty());
    }
}

#[test]
fn following_links_inside_the_tree_changes_no_group() {
    for seed in 10..13 {
        let tree = random_tree(seed);
        let findings = find(&[&tree.root], &["--follow"]);
        assert_eq!(groups(&findings), serial(&tree.root), "seed {seed}");
    }
}

#[test]
fn many_files_in_one_directory_and_deep_directories_give_the_serial_answer() {
    let tree = Tree::new();
    for number in 0..3000 {
        tree.file(format!("flat/{number}"), (number % 700).to_string());
    }
    let mut deep = PathBuf::from("deep");
    for level in 0..200 {
        deep.push("d");
        tree.file(deep.join("f"), (level % 50).to_string());
    }
    assert_eq!(groups(&find(&[&tree.root], &[])), serial(&tree.root));
}

#[test]
fn equal_sizes_and_equal_prefixes_are_not_enough() {
    let tree = Tree::new();
    let long = PREFIX_BYTES as usize * 3;
    tree.file("size/a", "one");
    tree.file("size/b", "two");
    for (name, tail) in [("a", 1), ("b", 2), ("c", 1)] {
        let mut content = vec![0; long];
        content[long - 1] = tail;
        tree.file(format!("tail/{name}"), content);
    }
    for (name, head) in [("a", 1), ("b", 2)] {
        let mut content = vec![0; long + 1];
        content[0] = head;
        tree.file(format!("head/{name}"), content);
    }
    let findings = find(&[&tree.root], &[]);
    let expected = vec![vec![tree.path("tail/a"), tree.path("tail/c")]];
    assert_eq!(groups(&findings), expected);
    assert_eq!(findings.wasted_bytes(), long as u64);
    assert_eq!(findings.redundant_files(), 1);
}

#[test]
fn the_largest_waste_comes_first() {
    let tree = Tree::new();
    for name in ["b1", "b2"] {
        tree.file(name, [b'b'; 100]);
    }
    for name in ["c1", "c2", "c3", "c4"] {
        tree.file(name, [b'c'; 50]);
    }
    for name in ["a1", "a2"] {
        tree.file(name, [b'a'; 100]);
    }
    let findings = find(&[&tree.root], &[]);
    let first = |paths: Vec<PathBuf>| paths[0].file_name().unwrap().to_owned();
    let order: Vec<_> = groups(&findings).into_iter().map(first).collect();
    assert_eq!(order, ["c1", "a1", "b1"]);
}

#[test]
fn hard_links_are_one_file() {
    let tree = Tree::new();
    tree.file("b", "content");
    tree.hard_link("b", "a");
    tree.hard_link("b", "c/d");
    let alone = find(&[&tree.root], &[]);
    assert!(alone.groups.is_empty());
    assert_eq!((alone.files, alone.aliases, alone.bytes), (1, 2, 7));

    tree.file("z", "content");
    let findings = find(&[&tree.root], &[]);
    assert_eq!(
        groups(&findings),
        vec![vec![tree.path("a"), tree.path("z")]]
    );
    let aliases = vec![tree.path("b"), tree.path("c/d")];
    assert_eq!(findings.groups[0].files[0].aliases, aliases);
    assert_eq!(findings.wasted_bytes(), 7);
}

#[test]
fn symbolic_links_are_skipped_by_default() {
    let tree = Tree::new();
    tree.file("real/a", "content");
    tree.link("a", "real/b");
    tree.link("..", "real/up");
    tree.link("missing", "dangling");
    let findings = find(&[&tree.root], &[]);
    assert!(findings.groups.is_empty());
    assert!(findings.skipped.is_empty());
    assert_eq!(findings.files, 1);
}

#[test]
fn followed_links_may_form_loops() {
    let tree = Tree::new();
    let outside = Tree::new();
    tree.file("real/a", "content");
    tree.link("..", "real/up");
    tree.link("real", "again");
    tree.link(".", "self");
    tree.link(&outside.root, "real/outside");
    outside.file("b", "content");
    outside.link(&tree.root, "back");
    let findings = find(&[&tree.root], &["--follow"]);
    let expected = vec![vec![tree.path("real/a"), tree.root.join("real/outside/b")]];
    assert_eq!(groups(&findings), expected);
    assert_eq!(findings.directories, 3);
    assert_eq!(findings.files, 2);
}

#[test]
fn followed_links_that_lead_nowhere_are_reported() {
    let tree = Tree::new();
    tree.link("missing", "dangling");
    tree.link("b", "a");
    tree.link("a", "b");
    tree.file("x", "content");
    tree.file("y", "content");
    let findings = find(&[&tree.root], &["--follow"]);
    let skipped: Vec<_> = findings.skipped.iter().map(|it| it.path.clone()).collect();
    let expected = ["a", "b", "dangling"].map(|name| tree.path(name));
    assert_eq!(skipped, expected);
    assert_eq!(findings.groups.len(), 1);
}

#[test]
fn a_followed_link_to_a_file_is_an_alias() {
    let tree = Tree::new();
    tree.file("z", "content");
    tree.link("z", "a");
    tree.file("y", "content");
    let findings = find(&[&tree.root], &["--follow"]);
    // The real path stands for the file, although the link sorts before it.
    let expected = vec![vec![tree.path("y"), tree.path("z")]];
    assert_eq!(groups(&findings), expected);
    assert_eq!(findings.groups[0].files[1].aliases, vec![tree.path("a")]);
}

#[test]
fn a_path_that_is_a_link_is_followed() {
    let tree = Tree::new();
    tree.file("real/a", "content");
    tree.file("real/b", "content");
    let link = tree.link("real", "link");
    let findings = find(&[&link], &[]);
    assert_eq!(
        groups(&findings),
        vec![vec![link.join("a"), link.join("b")]]
    );
}

#[test]
fn overlapping_paths_count_once_in_any_order() {
    let tree = Tree::new();
    let (a, b) = (
        tree.file("one/a", "content"),
        tree.file("one/two/b", "content"),
    );
    let two = tree.path("one/two");
    let expected = find(&[&tree.root], &[]);
    assert_eq!(groups(&expected), vec![vec![a.clone(), b]]);
    assert_eq!(find(&[&tree.root, &two, &tree.root], &[]), expected);
    assert_eq!(find(&[&two, &a, &tree.root, &a], &[]), expected);

    let link = tree.hard_link("one/a", "one/z");
    let expected = find(&[&tree.root], &[]);
    assert_eq!(find(&[&link, &tree.root, &link], &[]), expected);
}

#[test]
fn files_given_by_name_are_compared() {
    let tree = Tree::new();
    let (a, b) = (tree.file("a", "content"), tree.file("b", "content"));
    tree.file("c", "content");
    let findings = find(&[&b, &a], &[]);
    assert_eq!(groups(&findings), vec![vec![a, b]]);
    assert_eq!(findings.directories, 0);
}

#[test]
fn empty_files_are_left_out_unless_asked_for() {
    let tree = Tree::new();
    for name in ["a", "b", "c"] {
        tree.file(name, "");
    }
    assert!(find(&[&tree.root], &[]).groups.is_empty());
    let findings = find(&[&tree.root], &["--empty", "--min-size", "10"]);
    assert_eq!(findings.groups.len(), 1);
    assert_eq!(findings.redundant_files(), 2);
    assert_eq!(findings.wasted_bytes(), 0);
}

#[test]
fn small_files_are_left_out_on_request() {
    let tree = Tree::new();
    for name in ["a", "b"] {
        tree.file(format!("large-{name}"), [1; 2048]);
        tree.file(format!("small-{name}"), [1; 2047]);
    }
    assert_eq!(find(&[&tree.root], &[]).groups.len(), 2);
    let findings = find(&[&tree.root], &["--min-size", "2K"]);
    let expected = vec![vec![tree.path("large-a"), tree.path("large-b")]];
    assert_eq!(groups(&findings), expected);
}

#[test]
fn a_size_that_is_no_number_is_refused_with_advice() {
    let error = Options::try_parse_from(["dupes", "--min-size", "huge"]).unwrap_err();
    assert!(error.to_string().contains("4096, 4K or 1M"), "{error}");
    assert!(Options::try_parse_from(["dupes", "--min-size", "99999999999G"]).is_err());
}

#[test]
fn unreadable_files_and_directories_are_reported_and_skipped() {
    let tree = Tree::new();
    let secret = tree.file("a-secret", "content");
    for name in ["a", "b", "closed/c"] {
        tree.file(name, "content");
    }
    let closed = tree.path("closed");
    for path in [&secret, &closed] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o000)).unwrap();
    }
    if fs::File::open(&secret).is_ok() {
        eprintln!("skipped: this user may read everything");
        return;
    }
    let findings = find(&[&tree.root], &[]);
    let (text, notes) = output(&[&tree.root], &[]);
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o755)).unwrap();

    assert_eq!(
        groups(&findings),
        vec![vec![tree.path("a"), tree.path("b")]]
    );
    let skipped: Vec<_> = findings.skipped.iter().map(|it| it.path.clone()).collect();
    // The walk found one of them, and the hashing found the other.
    assert_eq!(skipped, [secret, closed]);
    assert!(
        String::from_utf8(text)
            .unwrap()
            .contains("; 2 could not be read.")
    );
    let notes = String::from_utf8(notes).unwrap();
    assert_eq!(notes.matches("skipped: ").count(), 2, "{notes}");
}

#[test]
fn pipes_and_sockets_are_not_opened() {
    let tree = Tree::new();
    tree.file("a", "content");
    let _socket = UnixListener::bind(tree.path("socket")).unwrap();
    let pipe = tree.path("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    let findings = find(&[&tree.root], &["--empty"]);
    assert_eq!(findings.files, 1);
    assert!(findings.skipped.is_empty());
    if made.is_ok_and(|status| status.success()) {
        let findings = find(&[&pipe], &["--empty"]);
        assert!(findings.skipped[0].reason.contains("neither"));
    }
}

#[test]
fn a_file_that_changes_its_size_is_not_compared() {
    let tree = Tree::new();
    for size in [100, PREFIX_BYTES, PREFIX_BYTES * 20] {
        let path = tree.file("changing", vec![7; size as usize]);
        let read = |stated| Reader::large().whole(&path, stated, |_| {});
        assert!(read(size).is_ok());
        assert!(read(size - 1).is_err(), "{size}: it has grown");
        assert!(read(size + 1).is_err(), "{size}: it has shrunk");
        let begin = |stated| Reader::small().prefix(&path, stated);
        assert!(begin(size).is_ok());
        assert_eq!(begin(size - 1).is_ok(), size - 1 > PREFIX_BYTES);
    }
}

#[test]
fn paths_of_any_bytes_survive() {
    let tree = Tree::new();
    let odd = OsStr::from_bytes(b"od\xffd");
    let (Ok(()), Ok(())) = (
        fs::write(tree.root.join(odd), "content"),
        fs::write(tree.root.join("line\nfeed"), "content"),
    ) else {
        eprintln!("skipped: this file system takes UTF-8 only");
        return;
    };
    let (text, _) = output(&[&tree.root], &[]);
    let mut line = tree.root.join(odd).into_os_string().into_encoded_bytes();
    line.push(b'\n');
    assert!(text.windows(line.len()).any(|window| window == line));
    assert!(String::from_utf8_lossy(&text).contains("line\\nfeed\"\n"));

    let (json, _) = output(&[&tree.root], &["--json"]);
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    let files = json["groups"][0]["files"].as_array().unwrap();
    assert!(files[0]["path"].as_str().unwrap().ends_with("line\nfeed"));
    assert!(files[0].get("path_hex").is_none());
    assert!(files[1]["path"].as_str().unwrap().ends_with("od\u{fffd}d"));
    assert!(files[1]["path_hex"].as_str().unwrap().ends_with("6f64ff64"));
}

#[test]
fn the_json_document_has_the_promised_form() {
    let tree = Tree::new();
    tree.file("b", "content");
    tree.hard_link("b", "c");
    tree.file("a", "content");
    tree.link("missing", "dangling");
    let (json, _) = output(&[&tree.root], &["--json", "--follow"]);
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    let expected = serde_json::json!({
        "groups": [{
            "size": 7,
            "wasted": 7,
            "blake3": blake3::hash(b"content").to_hex().as_str(),
            "files": [
                { "path": tree.path("a") },
                { "path": tree.path("b"), "aliases": [{ "path": tree.path("c") }] },
            ],
        }],
        "skipped": [{
            "path": tree.path("dangling"),
            "reason": tree.path("dangling").metadata().unwrap_err().to_string(),
        }],
        "summary": {
            "directories": 1, "files": 2, "bytes": 14, "aliases": 1, "skipped": 1,
            "groups": 1, "redundant_files": 1, "wasted_bytes": 7,
        },
    });
    assert_eq!(json, expected);
}

#[test]
fn the_text_report_reads_well() {
    let tree = Tree::new();
    tree.file("a", "content");
    tree.file("b", "content");
    let (text, notes) = output(&[&tree.root], &[]);
    let root = tree.root.display();
    let expected = format!(
        "2 files of 7 B, 7 B wasted:\n  {root}/a\n  {root}/b\n\n\
         7 B wasted by 1 redundant file in 1 group.\n\
         Searched 2 files of 14 B in 1 directory.\n"
    );
    assert_eq!(String::from_utf8(text).unwrap(), expected);
    assert!(notes.is_empty());
}

#[test]
fn statistics_follow_the_text_report_only() {
    let tree = Tree::new();
    tree.file("a", "content");
    for (flags, shown) in [(&[][..], true), (&["--json"], false), (&["--quiet"], false)] {
        let mut notes = Vec::new();
        dupes::run(&options(&[&tree.root], flags), &mut Vec::new(), &mut notes).unwrap();
        assert_eq!(!notes.is_empty(), shown, "{flags:?}");
    }
}

#[test]
fn a_path_that_does_not_exist_is_an_error_that_names_it() {
    let tree = Tree::new();
    let missing = tree.path("missing");
    let options = options(&[&tree.root, &missing], &[]);
    let failure = dupes::run(&options, &mut Vec::new(), &mut Vec::new()).unwrap_err();
    assert!(matches!(failure, Failure::Usage(_)));
    assert!(failure.to_string().contains(missing.to_str().unwrap()));
}

/// A stream that fails in a given way.
struct Failing(io::ErrorKind);

impl Write for Failing {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(self.0.into())
    }
    fn flush(&mut self) -> io::Result<()> {
        Err(self.0.into())
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure_but_a_full_disk_is() {
    let tree = Tree::new();
    tree.file("a", "content");
    tree.file("b", "content");
    for flags in [&["--quiet"][..], &["--json"]] {
        let options = options(&[&tree.root], flags);
        let run = |kind| dupes::run(&options, &mut Failing(kind), &mut Failing(kind));
        assert!(run(io::ErrorKind::BrokenPipe).is_ok());
        let failure = run(io::ErrorKind::StorageFull).unwrap_err();
        assert!(matches!(failure, Failure::Output(_)), "{failure}");
    }
}
