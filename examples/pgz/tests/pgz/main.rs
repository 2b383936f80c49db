//! The `pgz` example as a program, compared with gzip where that is installed.
#![cfg(unix)]

mod support;

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use support::{
    BLOCK, directory, fails, file, filter, gzip_is_here, inputs, names, noise, pgz, program,
    succeeds, text, zeros,
};

#[test]
fn every_input_comes_back_from_a_file() {
    let gzip = gzip_is_here();
    for threads in ["1", "2", "8"] {
        let directory = directory();
        for (name, content) in inputs() {
            let input = file(&directory, "input", &content);
            let packed = directory.path().join("input.gz");
            succeeds(pgz(["-p", threads]).arg(&input));
            assert_eq!(names(&directory), ["input.gz"], "{name}");
            succeeds(pgz(["-t"]).arg(&packed));
            if gzip {
                succeeds(Command::new("gzip").arg("-t").arg(&packed));
                let theirs = succeeds(Command::new("gzip").arg("-dc").arg(&packed));
                assert!(theirs == content, "{name}: gzip reads something else");
            }
            succeeds(pgz(["-d", "-p", threads]).arg(&packed));
            assert_eq!(names(&directory), ["input"], "{name}");
            assert!(fs::read(&input).unwrap() == content, "{name}");
        }
    }
}

#[test]
fn every_input_comes_back_through_pipes() {
    for (name, content) in inputs() {
        let packed = filter(&mut pgz(["-"]), &content);
        assert!(packed.status.success(), "{name}");
        let unpacked = filter(&mut pgz(["-d"]), &packed.stdout);
        assert!(unpacked.status.success(), "{name}");
        assert!(unpacked.stdout == content, "{name}");
        assert!(filter(&mut pgz(["-t"]), &packed.stdout).status.success());
    }
}

#[test]
fn every_level_and_block_size_comes_back() {
    let content = text(300_000);
    let directory = directory();
    let input = file(&directory, "input", &content);
    let mut sizes = Vec::new();
    for level in 1..=9 {
        let packed = succeeds(pgz(["-c", &format!("-{level}")]).arg(&input));
        sizes.push(packed.len());
        assert!(filter(&mut pgz(["-dc"]), &packed).stdout == content);
    }
    assert!(sizes[0] > sizes[5], "{sizes:?}");
    // The last digit counts, also between other letters.
    assert_eq!(succeeds(pgz(["-1c9"]).arg(&input)).len(), sizes[8]);
    for kib in ["33", "1000", "16384"] {
        let mut command = Command::new(program());
        let packed = succeeds(command.args(["-qcb", kib]).arg(&input));
        assert!(filter(&mut pgz(["-d"]), &packed).stdout == content);
    }
}

#[test]
fn it_is_as_small_as_gzip() {
    if !gzip_is_here() {
        return;
    }
    let directory = directory();
    let input = file(&directory, "input", text(3_000_000));
    for level in ["-1", "-6", "-9"] {
        let mut command = Command::new(program());
        let ours = succeeds(command.args(["-qc", level]).arg(&input)).len();
        let theirs = succeeds(Command::new("gzip").args(["-c", level]).arg(&input)).len();
        assert!(ours * 100 <= theirs * 103, "{level}: {ours}, gzip {theirs}");
    }
}

#[test]
fn it_reads_what_gzip_wrote_also_one_after_the_other() {
    if !gzip_is_here() {
        return;
    }
    let theirs = filter(Command::new("gzip").arg("-c"), b"first, ").stdout;
    let ours = filter(&mut pgz(["-c"]), b"second").stdout;
    let both = filter(&mut pgz(["-dc"]), &[theirs, ours].concat());
    assert_eq!(both.stdout, b"first, second");
}

#[test]
fn several_files_are_done_though_some_fail() {
    let directory = directory();
    let large = text(20 * BLOCK);
    let paths: Vec<PathBuf> = (0..30)
        .map(|n| match n {
            7 => directory.path().join("missing"),
            8 => {
                let path = directory.path().join("directory");
                fs::create_dir(&path).unwrap();
                path
            }
            9 => file(&directory, "done.gz", "not compressed"),
            _ => file(
                &directory,
                &format!("n{n}"),
                &large[..if n % 10 == 0 { large.len() } else { n }],
            ),
        })
        .collect();
    let said = fails(pgz(&paths).args(["-p", "2"]));
    assert_eq!(said.lines().count(), 3, "{said}");
    for name in ["missing", "directory", "done.gz"] {
        assert!(said.contains(name), "{said}");
    }
    let packed = |n: usize| directory.path().join(format!("n{n}.gz"));
    let all: Vec<PathBuf> = (0..30)
        .filter(|n| !(7..10).contains(n))
        .map(packed)
        .collect();
    assert_eq!(names(&directory).len(), all.len() + 2);

    fs::write(packed(11), "damaged").unwrap();
    let said = fails(pgz(["-d"]).args(&all));
    assert!(
        said.contains("n11.gz") && said.lines().count() == 1,
        "{said}"
    );
    assert!(!directory.path().join("n11").exists());
    assert!(fs::read(directory.path().join("n20")).unwrap() == large);
    assert_eq!(fs::read(directory.path().join("n12")).unwrap().len(), 12);
}

/// The text on stderr without `-q`.
#[track_caller]
fn says(args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> String {
    let mut command = Command::new(program());
    let output = command.args(args).output().unwrap();
    assert!(output.status.success(), "{command:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn it_says_how_large_a_file_was_and_is() {
    let directory = directory();
    let plain = file(&directory, "plain", vec![b'x'; 100_000]);
    let packed = directory.path().join("plain.gz");
    let said = says([OsStr::new("-k"), plain.as_os_str()]);
    let size = fs::metadata(&packed).unwrap().len();
    let percent = format!("{:.1} %", size as f64 / 1000.0);
    let expected = format!("97.66 KiB to {size} B, compressed to {percent}\n");
    assert_eq!(said, format!("{}: {expected}", plain.display()));

    let back = format!("{size} B to 97.66 KiB, compressed to {percent}\n");
    for flag in ["-dc", "-t"] {
        let said = says([OsStr::new(flag), packed.as_os_str()]);
        assert_eq!(said, format!("{}: {back}", packed.display()));
    }
    let said = says([OsStr::new("-c"), plain.as_os_str(), plain.as_os_str()]);
    assert_eq!(said.lines().count(), 3);
    assert!(said.contains("\n2 files: 195.31 KiB to "), "{said}");
}

#[test]
fn an_empty_file_has_no_ratio() {
    let directory = directory();
    let empty = file(&directory, "empty", "");
    let said = says([OsStr::new("-c"), empty.as_os_str()]);
    assert!(said.ends_with(": 0 B to 26 B\n"), "{said}");
}

#[test]
fn statistics_are_shown_if_asked_for_and_all_went_well() {
    let directory = directory();
    let path = file(&directory, "file", "content");
    let has_counters = |said: &str| said.contains("steals");
    assert!(!has_counters(&says([OsStr::new("-c"), path.as_os_str()])));
    let said = says([OsStr::new("-c"), OsStr::new("--stats"), path.as_os_str()]);
    assert!(has_counters(&said), "{said}");
    let missing = directory.path().join("missing");
    let said = fails(pgz(["--stats"]).args([&path, &missing]));
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn standard_output_holds_the_files_in_the_order_given() {
    let directory = directory();
    let first = file(&directory, "first", text(10 * BLOCK));
    let second = file(&directory, "second", "and this");
    let packed = succeeds(pgz(["-c"]).args([&second, &first, &second]));
    let unpacked = filter(&mut pgz(["-d"]), &packed).stdout;
    assert!(unpacked == [b"and this", &text(10 * BLOCK)[..], b"and this"].concat());
    assert_eq!(names(&directory), ["first", "second"]);
}

#[test]
fn the_output_is_like_the_input() {
    let directory = directory();
    let input = file(&directory, "input", "content");
    let packed = directory.path().join("input.gz");
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    fs::set_permissions(&input, Permissions::from_mode(0o640)).unwrap();
    File::open(&input).unwrap().set_modified(time).unwrap();
    for (flags, path) in [(["-q"], &packed), (["-d"], &input)] {
        let from = if path == &packed { &input } else { &packed };
        succeeds(pgz(flags).arg(from));
        let data = fs::metadata(path).unwrap();
        assert_eq!(data.permissions().mode() & 0o7777, 0o640);
        assert_eq!(data.modified().unwrap(), time);
    }
    if gzip_is_here() {
        succeeds(pgz(["-k"]).arg(&input));
        fs::remove_file(&input).unwrap();
        // gzip takes the name from inside the file.
        let renamed = directory.path().join("other.gz");
        fs::rename(&packed, &renamed).unwrap();
        succeeds(Command::new("gzip").arg("-dN").arg(&renamed));
        assert_eq!(names(&directory), ["input"]);
    }
}

#[test]
fn what_is_there_is_overwritten_only_with_f() {
    let directory = directory();
    let input = file(&directory, "input", "new");
    let packed = file(&directory, "input.gz", "old");
    let said = fails(&mut pgz([&input]));
    assert!(said.contains("input.gz exists"), "{said}");
    assert_eq!(fs::read(&packed).unwrap(), b"old");
    succeeds(pgz(["-fk"]).arg(&input));
    assert_eq!(names(&directory), ["input", "input.gz"]);
    fs::write(&input, "older").unwrap();
    fails(pgz(["-d"]).arg(&packed));
    assert_eq!(fs::read(&input).unwrap(), b"older");
    succeeds(pgz(["-df"]).arg(&packed));
    assert_eq!(fs::read(&input).unwrap(), b"new");
    assert_eq!(names(&directory), ["input"]);
}

#[test]
fn links_are_not_removed_unasked() {
    let directory = directory();
    file(&directory, "input", "content");
    let link = directory.path().join("link");
    symlink("input", &link).unwrap();
    fails(&mut pgz([&link]));
    succeeds(pgz(["-k"]).arg(&link));
    assert_eq!(names(&directory), ["input", "link", "link.gz"]);
    succeeds(pgz(["-f"]).arg(&link));
    assert_eq!(names(&directory), ["input", "link.gz"]);
}

#[test]
fn names_without_the_ending_are_refused() {
    let directory = directory();
    let packed = filter(&mut pgz(["-c"]), b"content").stdout;
    let input = file(&directory, "input", packed);
    assert!(fails(pgz(["-d"]).arg(&input)).contains(".gz"));
    assert_eq!(succeeds(pgz(["-dc"]).arg(&input)), b"content");
    assert_eq!(names(&directory), ["input"]);
}

#[test]
fn damage_is_found_and_leaves_nothing_behind() {
    let directory = directory();
    let whole = filter(&mut pgz(["-c"]), &text(200_000)).stdout;
    let mut bytes: Vec<Vec<u8>> = [
        0,
        1,
        9,
        30,
        whole.len() / 2,
        whole.len() - 9,
        whole.len() - 1,
    ]
    .map(|length| whole[..length].to_vec())
    .into();
    for place in [0, whole.len() / 2, whole.len() - 7, whole.len() - 2] {
        let mut damaged = whole.clone();
        damaged[place] ^= 0x10;
        bytes.push(damaged);
    }
    bytes.push([&whole[..], b"and more"].concat());
    for (number, bytes) in bytes.iter().enumerate() {
        let packed = file(&directory, "input.gz", bytes);
        for flag in ["-t", "-d", "-dc"] {
            let said = fails(pgz([flag]).arg(&packed));
            assert!(said.contains("input.gz: "), "{number}, {flag}: {said}");
            assert_eq!(names(&directory), ["input.gz"], "{number}, {flag}");
        }
    }
}

#[test]
fn unreadable_input_leaves_nothing_behind() {
    let directory = directory();
    fails(&mut pgz([directory.path().join("missing")]));
    fails(pgz(["-c"]).arg(directory.path()));
    let secret = file(&directory, "secret", "content");
    fs::set_permissions(&secret, Permissions::from_mode(0o000)).unwrap();
    if File::open(&secret).is_err() {
        fails(&mut pgz([&secret]));
    }
    assert_eq!(names(&directory), ["secret"]);
    // A directory opens, but cannot be read.
    if Path::new("/proc/self/mem").exists() {
        let link = directory.path().join("link");
        symlink("/proc/self/mem", &link).unwrap();
        fails(pgz(["-f"]).arg(&link));
        fails(pgz(["-c"]).arg(&link));
        assert_eq!(names(&directory), ["link", "secret"]);
    }
}

#[test]
fn a_full_device_is_a_failure() {
    let Ok(full) = File::options().write(true).open("/dev/full") else {
        eprintln!("skipped: there is no /dev/full");
        return;
    };
    let directory = directory();
    let input = file(&directory, "input", noise(20 * BLOCK));
    let short = file(&directory, "short", "short");
    for path in [&input, &short] {
        let command = &mut pgz(["-c"]);
        let said = command
            .arg(path)
            .stdout(full.try_clone().unwrap())
            .stderr(Stdio::piped());
        let output = said.spawn().unwrap().wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(!output.stderr.is_empty());
    }
    assert_eq!(names(&directory), ["input", "short"]);
}

#[test]
fn no_room_for_the_output_leaves_nothing_behind() {
    let directory = directory();
    let input = file(&directory, "input", noise(40 * BLOCK));
    // With the signal ignored, the limit is an error of `write`, as a full disk is.
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' XFSZ; ulimit -f 100; exec \"$0\" -q \"$1\""]);
    fails(shell.arg(program()).arg(&input));
    assert_eq!(names(&directory), ["input"]);
}

#[test]
fn a_reader_that_goes_away_ends_it() {
    let directory = directory();
    let input = file(&directory, "input", noise(100 * BLOCK));
    let mut child = pgz(["-c"])
        .arg(&input)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut pipe = child.stdout.take().unwrap();
    pipe.read_exact(&mut [0; 10]).unwrap();
    drop(pipe);
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert_eq!(names(&directory), ["input"]);
}

fn signal(name: &str, child: &Child) {
    let id = child.id().to_string();
    succeeds(Command::new("kill").args(["-s", name, &id]));
}

/// The child's status, if it ends before long.
fn ended(child: &mut Child) -> Option<i32> {
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(20) {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    panic!("the signal did not end it");
}

#[test]
fn a_signal_leaves_nothing_behind() {
    for name in ["TERM", "INT", "HUP"] {
        let directory = directory();
        let input = zeros(&directory, "input", 1 << 40);
        let mut child = pgz([&input]).spawn().unwrap();
        let begin = Instant::now();
        while names(&directory).len() < 2 {
            assert!(
                begin.elapsed() < Duration::from_secs(20),
                "it does not begin"
            );
            thread::sleep(Duration::from_millis(1));
        }
        thread::sleep(Duration::from_millis(20));
        signal(name, &child);
        assert_eq!(ended(&mut child), Some(130));
        assert_eq!(names(&directory), ["input"]);
    }
}

#[test]
fn a_signal_ends_a_wait_for_input() {
    let mut child = pgz(["-p1", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // The input is longer than the window. When output comes, the program works, and soon it waits.
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&text(5 * BLOCK)).unwrap();
    let beginning = &mut [0; 4];
    child
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(beginning)
        .unwrap();
    signal("TERM", &child);
    assert_eq!(ended(&mut child), Some(130));
    drop(stdin);
}

#[test]
#[cfg(target_os = "linux")]
fn memory_does_not_grow_with_the_file() {
    /// The peak memory of `child` in KiB.
    fn peak(child: &mut Child) -> u64 {
        let mut peak = 0;
        while child.try_wait().unwrap().is_none() {
            let status = fs::read_to_string(format!("/proc/{}/status", child.id()));
            let line = status.unwrap_or_default();
            let line = line.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let number = line.and_then(|line| line.trim_end_matches("kB").trim().parse().ok());
            peak = number.unwrap_or(0).max(peak);
            thread::sleep(Duration::from_millis(1));
        }
        assert!(child.wait().unwrap().success());
        peak
    }
    let directory = directory();
    zeros(&directory, "input", 300 << 20);
    for (flags, path) in [(["-kp8"], "input"), (["-dcp8"], "input.gz")] {
        let mut command = Command::new(program());
        let command = command
            .arg("-q")
            .args(flags)
            .arg(directory.path().join(path));
        let peak = peak(&mut command.stdout(Stdio::null()).spawn().unwrap());
        assert!((1..100 << 10).contains(&peak), "{flags:?}: {peak} KiB");
        eprintln!("{flags:?}: {peak} KiB");
    }
}
