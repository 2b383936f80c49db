//! The `serve` example as a process with clients: what it serves, what it refuses, and what it leaves behind.
#![cfg(unix)]

mod support;

use std::fs;
use std::io::Read;
use std::os::unix::fs::symlink;
use std::thread;

use fastrand::Rng;
use flate2::read::MultiGzDecoder;
use support::{Client, Server};

/// The bytes that one task of the service reads: see `files::PIECE`.
const PIECE: usize = 1 << 20;

fn noise(bytes: usize) -> Vec<u8> {
    let mut noise = vec![0; bytes];
    Rng::with_seed(bytes as u64).fill(&mut noise);
    noise
}

fn text(bytes: usize) -> Vec<u8> {
    let words = ["heist ", "steals ", "work ", "from ", "queues\n"];
    let mut random = Rng::with_seed(bytes as u64);
    let words = std::iter::repeat_with(|| words[random.usize(0..5)].bytes());
    words.flatten().take(bytes).collect()
}

#[track_caller]
fn unpacked(bytes: &[u8]) -> Vec<u8> {
    let mut unpacked = Vec::new();
    let mut decoder = MultiGzDecoder::new(bytes);
    decoder.read_to_end(&mut unpacked).unwrap();
    unpacked
}

#[test]
fn files_hashes_and_gzip_have_the_right_bytes() {
    let server = Server::start(&[]);
    let sizes = [0, 1, 65536, 65537, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE];
    let mut client = server.connect();
    for size in sizes {
        let content = if size % 2 == 0 {
            text(size)
        } else {
            noise(size)
        };
        server.file("a directory/file", &content);
        let answer = client.get("/files/a%20directory/file");
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(answer.body == content, "{size}");

        let hash = format!("{}\n", blake3::hash(&content).to_hex());
        let answer = client.get("/hash/a%20directory/file");
        assert_eq!(answer.text(), hash, "{size}");

        let answer = client.get("/gzip/a%20directory/file");
        assert!(!answer.is_cut);
        assert!(unpacked(&answer.body) == content, "{size}");
    }
    let stats = server.stats();
    assert_eq!(stats.number("answered"), 3 * sizes.len() as u64);
    assert_eq!(stats.number("connections"), 2);
}

#[test]
fn hashes_of_many_pieces_are_merged_as_blake3_does() {
    let server = Server::start(&[]);
    for pieces in 4..10 {
        let content = noise(pieces * PIECE + pieces % 3);
        server.file("file", &content);
        let hash = format!("{}\n", blake3::hash(&content).to_hex());
        assert_eq!(server.get("/hash/file").text(), hash, "{pieces}");
    }
}

#[test]
fn what_is_not_there_is_not_found() {
    let server = Server::start(&[]);
    server.file("directory/file", "content");
    for target in [
        "/",
        "/files",
        "/files/",
        "/files/nothing",
        "/files/directory",
        "/files/directory/",
        "/files/directory/file/",
        "/files/directory/file/x",
        "/hash/nothing",
        "/gzip/nothing",
    ] {
        let answer = server.get(target);
        assert_eq!(answer.status, 404, "{target}");
        assert_eq!(answer.text(), "404 Not Found\n");
    }
    let long = "x".repeat(300);
    assert_eq!(server.get(&format!("/files/{long}")).status, 404);
    assert_eq!(server.get("/files/directory/file").text(), "content");
}

#[test]
fn nothing_outside_the_root_is_served() {
    let server = Server::start(&[]);
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "secret").unwrap();
    let root = server.root.path();
    symlink(outside.path(), root.join("link")).unwrap();
    symlink(outside.path().join("secret"), root.join("secret")).unwrap();
    let name = outside.path().file_name().unwrap().to_str().unwrap();
    symlink(format!("../{name}/secret"), root.join("relative")).unwrap();
    server.file("directory/file", "content");
    for path in [
        format!("../{name}/secret"),
        format!("%2e%2e/{name}/secret"),
        format!("directory/../../{name}/secret"),
        format!("./../{name}/secret"),
        format!("/{}/secret", outside.path().display()),
        "link/secret".to_owned(),
        "secret".to_owned(),
        "relative".to_owned(),
    ] {
        for route in ["files", "hash", "gzip"] {
            let answer = server.get(&format!("/{route}/{path}"));
            assert_eq!(answer.status, 404, "{route} {path}");
        }
    }
    for path in [format!("..%2f{name}%2Fsecret"), "file%00".to_owned()] {
        assert_eq!(server.get(&format!("/files/{path}")).status, 400, "{path}");
    }
}

#[test]
fn pipes_are_not_opened_for_long() {
    let server = Server::start(&[]);
    let pipe = server.root.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    if made.is_ok_and(|status| status.success()) {
        assert_eq!(server.get("/files/pipe").status, 404);
    }
}

#[test]
fn other_methods_and_bodies_that_never_come_are_refused() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    client.send("POST /files/x HTTP/1.1\r\nhost: here\r\ncontent-length: 1000000\r\n\r\nbegin");
    let answer = client.answer().unwrap();
    assert_eq!(answer.status, 405);
    assert!(answer.head.contains("\r\nallow: get\r\n"), "{answer:?}");
    client.assert_closed();
}

#[test]
fn requests_beyond_the_limit_are_refused_at_once() {
    let server = Server::start(&["--limit", "2"]);
    server.huge("huge");
    server.file("file", "content");
    let mut under_way = [server.connect(), server.connect()];
    for client in &mut under_way {
        client.ask("/hash/huge");
    }
    server.wait_for(|stats| stats.number("under_way") == 2);
    let mut client = server.connect();
    for _ in 0..3 {
        let answer = client.get("/files/file");
        assert_eq!(answer.status, 503);
        assert!(answer.head.contains("\r\nretry-after: 1\r\n"), "{answer:?}");
        assert!(answer.text().contains("too many requests"));
    }
    drop(under_way);
    let stats = server.wait_for(|stats| stats.number("under_way") == 0);
    assert_eq!(stats.number("refused"), 3);
    assert_eq!(client.get("/files/file").text(), "content");
}

#[test]
fn a_request_past_its_deadline_is_told_so_and_its_work_stops() {
    let server = Server::start(&["--deadline", "0.2"]);
    server.huge("huge");
    let mut client = server.connect();
    let answer = client.get("/hash/huge");
    assert_eq!(answer.status, 504);
    assert_eq!(answer.text(), "the answer was not ready within 200ms\n");
    // An answer that has begun can only be cut, perhaps before its beginning was sent.
    client.ask("/gzip/huge");
    if let Some(answer) = client.answer() {
        assert!(answer.status == 504 || answer.is_cut, "{}", answer.status);
    }
    drop(client);
    let stats = server.wait_until_idle();
    assert_eq!(stats.number("late"), 2);
}

#[test]
fn the_work_for_a_client_that_goes_away_is_cancelled() {
    let server = Server::start(&[]);
    server.huge("huge");
    for (count, route) in (1..).zip(["hash", "gzip", "files"]) {
        let mut client = server.connect();
        client.ask(&format!("/{route}/huge"));
        server.wait_for(|stats| stats.number("under_way") == 1);
        drop(client);
        let stats = server.wait_until_idle();
        assert_eq!(stats.number("abandoned"), count);
    }
    // In the middle of an answer.
    for (count, route) in (4..).zip(["gzip", "files"]) {
        let mut client = server.connect();
        client.ask(&format!("/{route}/huge"));
        assert!(client.some(10_000) > 0);
        drop(client);
        let stats = server.wait_until_idle();
        assert_eq!(stats.number("abandoned"), count);
    }
}

#[test]
fn hashes_under_way_do_not_keep_others_waiting() {
    let server = Server::start(&[]);
    server.huge("huge");
    server.file("file", "content");
    let mut under_way: Vec<_> = (0..8).map(|_| server.connect()).collect();
    for client in &mut under_way {
        client.ask("/hash/huge");
    }
    server.wait_for(|stats| stats.number("under_way") == 8);
    for _ in 0..20 {
        assert_eq!(server.get("/files/file").text(), "content");
    }
    assert_eq!(server.stats().number("under_way"), 8);
}

#[test]
fn a_signal_loses_no_request() {
    for signal in ["TERM", "INT"] {
        let server = Server::start(&[]);
        let length = 16 * PIECE as u64 + 5;
        server.zeros("zeros", length);
        server.file("file", "content");
        let hash = format!("{}\n", blake3::hash(&vec![0; length as usize]).to_hex());

        let mut idle = server.connect();
        assert_eq!(idle.get("/files/file").text(), "content");
        let mut fresh = server.connect();
        // Some are under way, some have perhaps not even been accepted.
        let mut hashes: Vec<Client> = (0..8).map(|_| server.connect()).collect();
        hashes
            .iter_mut()
            .for_each(|client| client.ask("/hash/zeros"));
        let mut download = server.connect();
        download.ask("/files/zeros");
        let mut kept_alive = server.connect();
        assert_eq!(kept_alive.get("/files/file").text(), "content");
        kept_alive.ask("/files/file");
        let mut late: Vec<Client> = (0..8).map(|_| server.connect()).collect();
        late.iter_mut().for_each(|client| client.ask("/files/file"));
        server.signal(signal);

        // Nobody closes a connection that has a request.
        for client in &mut hashes {
            let answer = client.answer().expect("a hash under way was lost");
            assert_eq!(answer.text(), hash);
            client.assert_closed();
        }
        for client in late.iter_mut().chain([&mut kept_alive]) {
            let answer = client.answer().expect("a request that was sent was lost");
            assert_eq!(answer.text(), "content");
            client.assert_closed();
        }
        let answer = download.answer().expect("a download was lost");
        assert!(!answer.is_cut && answer.body.len() as u64 == length);
        idle.assert_closed();
        fresh.assert_closed();
        assert!(!server.is_open());
        let (status, said) = server.ended();
        assert_eq!(status.code(), Some(0), "{said}");
        assert!(
            said.contains("20 answered, 0 refused, 0 late, 0 abandoned, 0 failed"),
            "{said}"
        );
        assert!(said.contains("threads"), "{said}");
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let server = Server::start(&[]);
    server.huge("huge");
    let mut client = server.connect();
    client.ask("/hash/huge");
    server.wait_for(|stats| stats.number("under_way") == 1);
    server.signal("TERM");
    while server.is_open() {
        thread::yield_now();
    }
    server.signal("TERM");
    assert_eq!(server.ended().0.code(), Some(130));
}

#[test]
fn slow_clients_are_given_up() {
    let server = Server::start(&["--patience", "0.3"]);
    server.huge("huge");
    let mut idle = server.connect();
    assert_eq!(idle.get("/files/nothing").status, 404);
    let mut silent = server.connect();
    let mut half = server.connect();
    half.send("GET /files/hu");
    let mut greedy = server.connect();
    greedy.ask("/files/huge");
    for client in [&mut idle, &mut silent, &mut half] {
        client.assert_closed();
    }
    let stats = server.wait_until_idle();
    assert_eq!(stats.number("expired"), 4);
    assert_eq!(stats.number("abandoned"), 1);
    // The bytes that were under way, and then the end.
    while greedy.some(1 << 16) > 0 {}
}

#[test]
fn a_root_or_a_port_that_cannot_be_used_is_a_failure() {
    let server = Server::start(&[]);
    let address = server.address();
    let port = address.port().to_string();
    let root = server.root.path().to_str().unwrap();
    for (arguments, advice) in [
        (["--port", &port, root], "cannot listen on port"),
        (["--port", "0", "/nowhere"], "cannot open /nowhere"),
    ] {
        let output = support::output(&arguments);
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(advice), "{said}");
    }
    let output = support::output(&["--deadline", "soon"]);
    assert_eq!(output.status.code(), Some(2));
}

/// Each client asks for something, and often goes away too early.
fn mix(server: &Server, seed: u64, requests: usize) {
    const TARGETS: [(&str, usize); 6] = [
        ("/files/small", 7),
        ("/files/large", 2),
        ("/hash/large", 2),
        ("/gzip/medium", 2),
        ("/hash/huge", 2),
        ("/files/nothing", 1),
    ];
    let mut random = Rng::with_seed(seed);
    let mut client = server.connect();
    for _ in 0..requests {
        let mut choice = random.usize(0..16);
        let target = TARGETS.iter().find(|(_, weight)| {
            let is_it = choice < *weight;
            choice = choice.saturating_sub(*weight);
            is_it
        });
        let target = target.unwrap().0;
        let leaves = target == "/hash/huge" || random.u8(0..4) == 0;
        if !leaves {
            let answer = client.get(target);
            assert!(!answer.is_cut);
            assert!(matches!(answer.status, 200 | 404 | 503), "{answer:?}");
            continue;
        }
        match random.u8(0..4) {
            _ if target == "/hash/huge" => {
                client.ask(target);
                // A request that comes together with its client's end is not even begun.
                server.stats();
            }
            0 => client.send("GET /fi"),
            1 => client.ask(target),
            2 => {
                client.ask(target);
                client.some(100);
            }
            3 => {
                // The service does not see that this client goes away, since it does not read the second request.
                client.ask(target);
                client.ask("/files/small");
            }
            _ => client.ask(target),
        }
        client = server.connect();
    }
}

#[test]
fn thousands_of_requests_leave_nothing_behind() {
    let server = Server::start(&["--limit", "6", "--patience", "999", "--deadline", "999"]);
    server.file("small", text(500));
    server.file("medium", text(20_000));
    server.file("large", noise(2 * PIECE + 1));
    server.huge("huge");
    mix(&server, 0, 20);
    #[cfg(target_os = "linux")]
    let descriptors = server.descriptors();

    thread::scope(|scope| {
        for seed in 1..=8 {
            let server = &server;
            scope.spawn(move || mix(server, seed, 400));
        }
    });
    let stats = server.wait_until_idle();
    assert!(stats.number("requests") > 2000);
    assert!(stats.number("abandoned") > 50, "{stats:?}");
    assert_eq!(stats.number("pool/failed"), 0);
    #[cfg(target_os = "linux")]
    assert_eq!(server.descriptors(), descriptors);
    server.signal("TERM");
    assert_eq!(server.ended().0.code(), Some(0));
}
