//! The option `--trace FILE` of the examples.

use std::io;
use std::path::Path;
use std::time::Duration;

use heist::{ThreadPool, ThreadPoolBuilder, Trace};

/// Has the pool recorded if there is a file to write.
pub fn recorded(builder: ThreadPoolBuilder, file: Option<&Path>) -> ThreadPoolBuilder {
    match file {
        Some(_) => builder.trace(Trace::last(Duration::MAX).max_bytes(64 << 20)),
        None => builder,
    }
}

/// Writes what the pool did: a page if the name ends in `.html`, stacks for flame graphs if it ends in `.folded`, or else a file for Perfetto.
///
/// # Errors
///
/// Returns an error that names the file if it cannot be written.
pub fn write(pool: &ThreadPool, file: Option<&Path>) -> io::Result<()> {
    let Some(file) = file else { return Ok(()) };
    let trace = pool.trace();
    let ending = file.extension().and_then(|ending| ending.to_str());
    let written = match ending {
        Some("html") => trace.write_html(file),
        Some("folded") => trace.write_folded(file),
        _ => trace.write_perfetto(file),
    };
    written.map_err(|error| {
        let text = format!("cannot write the trace to {}: {error}", file.display());
        io::Error::new(error.kind(), text)
    })
}
