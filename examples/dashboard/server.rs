//! A small HTTP server on threads of its own, so that it answers when the pool is stuck.

use heist::ThreadPool;
use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

/// A browser that sends nothing for so long is left.
const PATIENCE: Duration = Duration::from_secs(10);

/// The longest head of a request, in bytes.
const HEAD: u64 = 16 << 10;

/// The time between two lines of figures.
const BEAT: Duration = Duration::from_secs(1);

/// Answers requests until the program ends.
pub(crate) fn start(listener: TcpListener, pool: ThreadPool) {
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let pool = pool.clone();
            // A connection that breaks is the browser's matter.
            thread::spawn(move || drop(answer(stream, &pool)));
        }
    });
}

/// The path that a request asks for.
fn path_of(stream: &TcpStream) -> io::Result<String> {
    let mut lines = BufReader::new(stream.take(HEAD)).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    // The rest of the head says nothing that matters here.
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    let mut words = first.split(' ');
    let is_get = words.next() == Some("GET");
    let path = words.next().filter(|_| is_get).unwrap_or_default();
    Ok(path.split('?').next().unwrap_or_default().to_owned())
}

fn answer(mut stream: TcpStream, pool: &ThreadPool) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let path = path_of(&stream)?;
    let (kind, body) = match path.as_str() {
        "/" => (
            "text/html; charset=utf-8",
            include_bytes!("page.html").to_vec(),
        ),
        "/report" => (
            "text/html; charset=utf-8",
            pool.trace().to_html().into_bytes(),
        ),
        "/metrics" => ("text/plain; version=0.0.4", metrics(pool).into_bytes()),
        "/dump" => (
            "text/plain; charset=utf-8",
            pool.dump().to_string().into_bytes(),
        ),
        "/summary" => (
            "text/plain; charset=utf-8",
            pool.trace().to_string().into_bytes(),
        ),
        "/trace.pftrace" => ("application/octet-stream", pool.trace().to_perfetto()),
        "/live" => return live(stream, pool),
        _ => {
            return send(
                &mut stream,
                "404 Not Found",
                "text/plain",
                b"no such page\n",
            );
        }
    };
    send(&mut stream, "200 OK", kind, &body)
}

fn send(stream: &mut TcpStream, status: &str, kind: &str, body: &[u8]) -> io::Result<()> {
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"
    )?;
    stream.write_all(body)
}

fn metrics(pool: &ThreadPool) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = pool
        .stats()
        .write_prometheus(&mut text, &[("pool", "dashboard")]);
    text
}

/// Sends a line of figures each second, as server-sent events, until the browser leaves.
fn live(mut stream: TcpStream, pool: &ThreadPool) -> io::Result<()> {
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"
    )?;
    let mut before = pool.stats();
    loop {
        thread::sleep(BEAT);
        let now = pool.stats();
        let busy = now.busy.saturating_sub(before.busy).as_secs_f64() / BEAT.as_secs_f64();
        let mut line = String::new();
        let _ = write!(
            line,
            "{} threads, {busy:.1} busy · {} tasks/s · {} steals/s · {} queued · waits: median {:?}, 99 % {:?}",
            now.threads,
            now.completed - before.completed,
            now.steals - before.steals,
            now.queued,
            now.queue_wait.quantile(0.5),
            now.queue_wait.quantile(0.99),
        );
        write!(stream, "data: {line}\n\n")?;
        stream.flush()?;
        before = now;
    }
}
