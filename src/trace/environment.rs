//! The variable `HEIST_TRACE`, which records the pools of a program without a change of the program.

use super::snapshot;
use crate::pool::{self, Registry};
use crate::record::TraceSettings;
use crate::sync::MODEL;
use crate::{sys, unwind};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use std::{io, thread};

/// The name of the variable.
const VARIABLE: &str = "HEIST_TRACE";

/// The memory for the events of each pool.
const MAX_BYTES: usize = 64 << 20;

/// How often an exit tries to take a lock that another thread holds, a millisecond apart. Such a thread may never go on.
const TRIES: usize = 200;

/// The file, if the variable is set. An empty name stands for the standard error.
fn file() -> Option<&'static Path> {
    static FILE: OnceLock<Option<PathBuf>> = OnceLock::new();
    FILE.get_or_init(|| std::env::var_os(VARIABLE).map(PathBuf::from))
        .as_deref()
}

/// Records a pool that was just made, if the variable is set.
pub(super) fn pool_made(registry: &Registry) {
    if MODEL || file().is_none() {
        return;
    }
    static AT_EXIT: OnceLock<()> = OnceLock::new();
    AT_EXIT.get_or_init(|| sys::at_exit(write_all));
    if !registry.recording.is_active() {
        let settings = TraceSettings::new(Duration::MAX).max_bytes(MAX_BYTES);
        registry.start_recording(settings, None);
    }
    registry.recording.set_for_file();
}

/// Writes the trace of a pool that has ended.
pub(super) fn pool_ends(registry: &Registry) {
    write(registry);
}

/// Writes the traces of the pools that live when the program exits. Their threads may still run, and one of them may hold a lock.
extern "C" fn write_all() {
    let written = unwind::catch(|| {
        for registry in patiently(pool::try_all).unwrap_or_default() {
            write(&registry);
            // The last reference to a pool must not be dropped here: that would wait for its threads.
            std::mem::forget(registry);
        }
    });
    unwind::drop_quietly(written);
}

/// Calls `f` until it returns something, but not for long.
fn patiently<T>(f: impl Fn() -> Option<T>) -> Option<T> {
    (0..TRIES).find_map(|attempt| {
        if attempt > 0 {
            thread::sleep(Duration::from_millis(1));
        }
        f()
    })
}

/// Writes the trace of a pool, once.
fn write(registry: &Registry) {
    let Some(file) = file() else { return };
    if registry.forked() || !registry.recording.take_for_file() {
        return;
    }
    let Some(trace) = patiently(|| snapshot::try_of(registry)) else {
        return;
    };
    if trace.tracks.iter().all(|track| track.written == 0) {
        return;
    }
    if file.as_os_str().is_empty() {
        eprintln!("{trace}");
        return;
    }
    static WRITTEN: AtomicUsize = AtomicUsize::new(0);
    let file = numbered(file, WRITTEN.fetch_add(1, Ordering::Relaxed) + 1);
    let written: io::Result<()> = match file.extension().and_then(|ending| ending.to_str()) {
        Some("pftrace") => trace.write_perfetto(&file),
        Some("folded") => trace.write_folded(&file),
        _ => trace.write_html(&file),
    };
    if let Err(error) = written {
        eprintln!("heist: {VARIABLE}: {}: {error}", file.display());
    }
}

/// The name of the file of the pool with this number: `run.html`, `run-2.html`, `run-3.html` and so on.
fn numbered(file: &Path, number: usize) -> PathBuf {
    if number == 1 {
        return file.to_owned();
    }
    let mut name = file.file_stem().unwrap_or_default().to_owned();
    name.push(format!("-{number}"));
    if let Some(ending) = file.extension() {
        name.push(".");
        name.push(ending);
    }
    file.with_file_name(name)
}

#[cfg(test)]
mod tests;
