//! What can be wrong with servers, keys, certificates and disks, and programs in other languages.

use crate::parents;
use crate::server::{self, Server};
use crate::support::{ACK_WAIT, LONG, Log, Test, Worker, child, connect, options, signal, until};
use crate::tasks::{bytes, sleep_ms, square, until_cancelled};
use heist::nats::Options;
use heist::{Executor, WhenFull};
use serde_bytes::ByteBuf;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub fn tests() -> Vec<Test> {
    vec![
        ("faults::keys", keys),
        ("faults::certificates", certificates),
        ("faults::three_servers", three_servers),
        ("faults::a_disk_quota", a_disk_quota),
        ("faults::a_full_disk", a_full_disk),
        ("faults::a_slow_consumer", a_slow_consumer),
        ("faults::results_expire", results_expire),
        ("faults::a_clock_is_set_back", a_clock_is_set_back),
        ("faults::another_language", another_language),
        ("faults::cancels_are_quick", cancels_are_quick),
        ("faults::handles_know_what_runs", handles_know_what_runs),
        ("faults::chunks_and_sessions", chunks_and_sessions),
        (
            "faults::a_death_among_short_tasks",
            a_death_among_short_tasks,
        ),
    ]
}

fn folder() -> TempDir {
    TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory")
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Keys for these tests only.
const KEY: (&str, &str) = (
    "SUABFL5R4KSGJSQ3AA42XXVKA3CF6GV4MM54NF3G6VFDJNPARXVHNSOT7A",
    "UD6PFXY7QSW6DKZWNEAPVWCUGCA7XF4OU4UVXB64PXIBKQNMFLOOVE34",
);
const OTHER_SEED: &str = "SUAGLDQQM4MZRQJ7TR5353GFZNYZ5B3O47N4CV5SBGFBWCUAEFIWGH5KPI";

fn keys() {
    let folder = folder();
    let config = folder.path().join("config");
    // What the documentation says that clients and workers need, and no more.
    let permissions = |more: &str| {
        format!(
            r#"permissions: {{
                publish: ["heist.tests.>", "$JS.API.>", "$JS.FC.>", "$O.HEIST_tests_BLOB.>", "_INBOX.>"{more}]
                subscribe: ["heist.tests.>", "_INBOX.>"]
            }}"#
        )
    };
    let users = format!(
        "authorization {{ users = [ {{ nkey: {}, {} }}, {{ user: worker, password: hidden, {} }} ] }}",
        KEY.1,
        permissions(""),
        permissions(r#", "$JS.ACK.>""#)
    );
    std::fs::write(&config, users).unwrap();
    let server = Server::with(&["-js", "-c", config.to_str().unwrap()]);
    let with = |seed: &str| {
        let options = Options::new(&server.address()).unwrap();
        options
            .connect_timeout(Duration::from_secs(20))
            .nkey(seed)
            .cluster()
    };
    let cluster = with(KEY.0).unwrap();
    let _worker = Worker::start(&server.address_with("worker:hidden@"), 1, true);
    for length in [10, 3 << 20] {
        let content = ByteBuf::from(vec![1; length]);
        assert!(cluster.submit(bytes::TASK, content.clone()).join().unwrap() == content);
    }
    assert_eq!(cluster.stats().workers.len(), 1);
    for seed in [OTHER_SEED, "SUnonsense", ""] {
        let begin = Instant::now();
        let error = text(with(seed).unwrap_err());
        assert!(
            error.contains("refuses the login") && error.contains("nkey"),
            "{error}"
        );
        assert!(seed.is_empty() || !error.contains(seed), "{error}");
        assert!(begin.elapsed() < LONG);
    }
    let options = Options::new(&server.address()).unwrap().nkey(OTHER_SEED);
    assert!(!format!("{options:?}").contains(OTHER_SEED));
}

/// Makes a certificate for these names, signed by itself or by `issuer`.
fn certificate(folder: &Path, name: &str, names: &str, issuer: Option<&str>) {
    let file = |name: &str, end: &str| folder.join(format!("{name}.{end}"));
    let mut command = Command::new("openssl");
    command.args([
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
    ]);
    command.args(["-days", "3650", "-subj", &format!("/CN={name}")]);
    command
        .arg("-keyout")
        .arg(file(name, "key"))
        .arg("-out")
        .arg(file(name, "pem"));
    if let Some(issuer) = issuer {
        command.args(["-addext", &format!("subjectAltName={names}")]);
        command.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
        command
            .arg("-CA")
            .arg(file(issuer, "pem"))
            .arg("-CAkey")
            .arg(file(issuer, "key"));
    }
    let output = command.output().expect("openssl");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn certificates() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    certificate(folder.path(), "ca", "", None);
    certificate(folder.path(), "other", "", None);
    certificate(folder.path(), "here", "IP:127.0.0.1", Some("ca"));
    certificate(
        folder.path(),
        "elsewhere",
        "DNS:nats.example.org",
        Some("ca"),
    );
    let secure = |name: &str| {
        let (pem, key) = (path(&format!("{name}.pem")), path(&format!("{name}.key")));
        Server::with(&["-js", "--tls", "--tlscert", &pem, "--tlskey", &key])
    };
    let connect = |server: &Server, ca: Option<&str>| {
        let address = server.address().replace("nats://", "tls://");
        let options = Options::new(&address)
            .unwrap()
            .connect_timeout(Duration::from_secs(20));
        match ca {
            Some(ca) => options.tls_ca(path(ca)).cluster(),
            None => options.cluster(),
        }
    };
    let here = secure("here");
    let cluster = connect(&here, Some("ca.pem")).unwrap();
    assert!(cluster.stats().workers.is_empty());
    let elsewhere = secure("elsewhere");
    for (server, ca) in [
        (&here, None),
        (&here, Some("other.pem")),
        (&elsewhere, Some("ca.pem")),
    ] {
        let begin = Instant::now();
        let error = text(connect(server, ca).unwrap_err());
        println!("{error}");
        assert!(
            error.contains("certificate") && error.contains("tls_ca"),
            "{error}"
        );
        // It is said at once, because it does not become better.
        assert!(
            begin.elapsed() < Duration::from_secs(10),
            "{:?}",
            begin.elapsed()
        );
    }
    let error = text(connect(&here, Some("missing.pem")).unwrap_err());
    assert!(error.contains("there is no file"), "{error}");
    // A server without certificates does not speak TLS.
    let plain = Server::start();
    let error = text(connect(&plain, Some("ca.pem")).unwrap_err());
    assert!(error.contains("tls"), "{error}");
}

fn three_servers() {
    let routes = [(); 3].map(|()| server::free_port());
    let all: Vec<_> = routes
        .iter()
        .map(|port| format!("nats://127.0.0.1:{port}"))
        .collect();
    let all = all.join(",");
    let mut servers: Vec<_> = routes
        .iter()
        .enumerate()
        .map(|(n, port)| {
            let (name, own) = (format!("s{n}"), format!("nats://127.0.0.1:{port}"));
            Server::with(&[
                "-js",
                "-n",
                &name,
                "-cluster_name",
                "three",
                "-cluster",
                &own,
                "-routes",
                &all,
            ])
        })
        .collect();
    let hosts: Vec<_> = servers.iter().map(|server| server.host()).collect();
    let address = format!("nats://{}/tests", hosts.join(","));
    let cluster = Options::new(&address)
        .unwrap()
        .ack_wait(ACK_WAIT)
        .replicas(3)
        .connect_timeout(LONG)
        .cluster()
        .unwrap();
    let _workers = [(); 2].map(|()| Worker::start(&address, 2, false));
    until(LONG, || cluster.stats().workers.len() == 2);
    let log = Log::new();
    let handles: Vec<_> = (0..2000)
        .map(|n| cluster.submit(crate::chaos::work::TASK, (log.path(), n)))
        .collect();
    let begin = Instant::now();
    // Each in turn, so that the leader of each stream is among them.
    for (round, server) in servers.iter_mut().enumerate() {
        until(LONG, || handles[100 + 400 * round].is_finished());
        server.kill();
        until(LONG, || handles[200 + 400 * round].is_finished());
        server.run();
        std::thread::sleep(Duration::from_secs(3));
    }
    let lost = crate::parents::lost_among(handles);
    let counts = log.counts(2000);
    println!(
        "three servers, each killed once: {lost} of 2000 lost in {:?}",
        begin.elapsed()
    );
    assert!(counts.iter().all(|count| *count <= 1));
    assert!(lost <= 4);
}

/// A file system of a few MiB in memory, which only these tests see.
struct Disk {
    folder: TempDir,
    holder: Child,
}

impl Disk {
    fn new(size: &str) -> Self {
        let folder = folder();
        let mount = format!(
            "mount -t tmpfs -o size={size} none {0} && touch {0}/there && exec sleep 1000",
            folder.path().display()
        );
        let mut command = Command::new("unshare");
        let holder = child(command.args(["--map-root-user", "--mount", "sh", "-c", &mount]));
        let there = format!(
            "/proc/{}/root{}/there",
            holder.id(),
            folder.path().display()
        );
        until(LONG, || Path::new(&there).exists());
        Disk { folder, holder }
    }

    fn inside(&self) -> Vec<String> {
        let pid = self.holder.id().to_string();
        ["nsenter", "-t", &pid, "-U", "-m", "--preserve-credentials"]
            .map(str::to_owned)
            .into()
    }

    fn grow(&self, size: &str) {
        let inside = self.inside();
        let mut command = Command::new(&inside[0]);
        command
            .args(&inside[1..])
            .args(["mount", "-o", &format!("remount,size={size}")]);
        assert!(command.arg(self.folder.path()).status().unwrap().success());
    }

    fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// The server may use only so much of its disk.
fn a_disk_quota() {
    let folder = folder();
    let config = folder.path().join("config");
    std::fs::write(&config, "jetstream { max_file_store: 4MiB }").unwrap();
    let server = Server::with(&["-c", config.to_str().unwrap()]);
    let cluster = options(&server)
        .client()
        .when_full(WhenFull::Reject)
        .connect()
        .unwrap();
    let content = ByteBuf::from(vec![1; 200 << 10]);
    let handles: Vec<_> = (0..40)
        .map(|_| cluster.submit(bytes::TASK, content.clone()))
        .collect();
    // Those for which there is no room are refused, and the others wait.
    until(LONG, || {
        handles.iter().filter(|handle| handle.is_finished()).count() > 10
    });
    let error = handles
        .into_iter()
        .find_map(|handle| handle.is_finished().then(|| handle.join().unwrap_err()));
    assert!(error.unwrap().is_refused());
}

/// The disk itself is full. The server then switches its storage off, and everybody waits until somebody has made room and started it again.
fn a_full_disk() {
    let disk = Disk::new("5m");
    let folder = folder();
    let config = folder.path().join("config");
    std::fs::write(&config, "jetstream { max_file_store: 1GiB }").unwrap();
    let mut server = Server::on(
        disk.inside(),
        &disk.store(),
        &["-c", config.to_str().unwrap()],
    );
    let cluster = connect(&server);
    let _worker = Worker::start(&server.address(), 2, false);
    assert_eq!(cluster.submit(square::TASK, 3).join().unwrap(), 9);
    let content = ByteBuf::from(vec![1; 300 << 10]);
    let handles: Vec<_> = (0..40)
        .map(|_| cluster.submit(bytes::TASK, content.clone()))
        .collect();
    std::thread::sleep(Duration::from_secs(5));
    let open = handles
        .iter()
        .filter(|handle| !handle.is_finished())
        .count();
    println!("a full disk: {open} of 40 calls wait");
    assert!(open > 0);
    disk.grow("100m");
    server.stop();
    server.run();
    let outcomes = handles.into_iter().map(heist::JoinHandle::join);
    let (right, wrong): (Vec<_>, Vec<_>) = outcomes.partition(Result::is_ok);
    println!(
        "{} right, {} not: {:?}",
        right.len(),
        wrong.len(),
        wrong.first()
    );
    assert!(
        wrong
            .iter()
            .all(|wrong| wrong.as_ref().is_err_and(heist::JoinError::is_lost))
            && wrong.len() <= 2
    );
    assert_eq!(cluster.submit(square::TASK, 4).join().unwrap(), 16);
}

fn a_slow_consumer() {
    let server = Server::start();
    let cluster = options(&server).room_for_messages(16).cluster().unwrap();
    let _workers = [(); 2].map(|()| Worker::start(&server.address(), 4, false));
    let begin = Instant::now();
    let handles = cluster.submit_many(square::TASK, 0..3000);
    for (n, value) in (0..).zip(heist::try_join_all(handles).unwrap()) {
        assert_eq!(value, n * n);
    }
    println!("3,000 calls, room for 16 messages: {:?}", begin.elapsed());
}

fn results_expire() {
    let server = Server::start();
    let cluster = options(&server)
        .keep_results(Duration::from_secs(1))
        .cluster()
        .unwrap();
    let worker = Worker::start(&server.address(), 1, false);
    assert_eq!(
        cluster
            .task()
            .id("old")
            .submit(square::TASK, 3)
            .join()
            .unwrap(),
        9
    );
    drop(worker);
    assert!(cluster.find(square::TASK, "old").is_ok());
    // Two minutes are the least.
    until(Duration::from_secs(200), || {
        std::thread::sleep(Duration::from_secs(1));
        cluster.stats().results == 0
    });
    let error = text(cluster.find(square::TASK, "old").unwrap_err());
    assert!(
        error.contains("`old`") && error.contains("not kept any more"),
        "{error}"
    );
    let error = text(cluster.attach::<u64>(&cluster.session(), 0).unwrap_err());
    assert!(error.contains("does not know the call 0"), "{error}");
}

/// The worker's clock goes back by a day, as libfaketime makes it see. The server's cannot be changed so: it asks the kernel itself.
fn a_clock_is_set_back() {
    let Some(library) = std::env::var_os("HEIST_TEST_FAKETIME") else {
        println!("HEIST_TEST_FAKETIME does not name libfaketime: not tested");
        return;
    };
    let server = Server::start();
    let cluster = connect(&server);
    let folder = folder();
    let clock = folder.path().join("clock");
    std::fs::write(&clock, "+0").unwrap();
    let more = [
        ("LD_PRELOAD", library.to_str().unwrap()),
        ("FAKETIME_TIMESTAMP_FILE", clock.to_str().unwrap()),
        ("FAKETIME_NO_CACHE", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ];
    let _worker = Worker::with(&server.address(), 1, false, &more);
    let handles: Vec<_> = (0..40)
        .map(|_| cluster.submit(sleep_ms::TASK, 100))
        .collect();
    until(LONG, || handles[5].is_finished());
    std::fs::write(&clock, "-1d").unwrap();
    assert_eq!(heist::try_join_all(handles).unwrap().len(), 40);
    let theirs = cluster.submit(seconds::TASK, ()).join().unwrap();
    let behind = seconds() - theirs;
    assert!((86_000..87_000).contains(&behind), "{behind} s");
}

/// The time by the clock of the computer.
#[heist::task]
fn seconds() -> i64 {
    let since = std::time::UNIX_EPOCH.elapsed().expect("a clock");
    i64::try_from(since.as_secs()).expect("a time of this age")
}

/// The packages of the script, with the hashes of their files.
const PACKAGES: &str = "\
nats-py==2.16.0 --hash=sha256:aeb1ff123966c05833d26c7df7e1d54c1c6d32b612428b21677a2e921f1fecae
msgpack==1.2.4 --hash=sha256:a45ceb5f199d5e388f28b550ba881096a3740d4bda10e661d77f59d9a2e8187a
";

fn another_language() {
    let python = server::python("nats-py", PACKAGES);
    let server = Server::start();
    let cluster = connect(&server);
    let waiting = cluster.submit_many(square::TASK, 0..7);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/cluster/stranger.py");
    let run = |words: &[&str]| {
        let mut command = Command::new(&python);
        command.arg(&script).arg(server.address()).args(words);
        let output = command.output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            text(String::from_utf8_lossy(&output.stderr))
        );
        String::from_utf8(output.stdout).unwrap()
    };
    until(LONG, || {
        run(&["depth"]).contains("normal: 7 waiting, 0 under way")
    });
    let _worker = Worker::start(&server.address(), 1, false);
    heist::try_join_all(waiting).unwrap();
    let result = run(&["result", &format!("{}.3", cluster.session())]);
    assert!(result.contains("value: 9"), "{result}");
    let name = <square as heist::Task>::NAME;
    let answer = run(&["submit", name, "12"]);
    assert!(answer.contains("value: 144"), "{answer}");
    let answer = run(&["submit", name, "'no number'"]);
    assert!(answer.contains("bad-args"), "{answer}");
    let answer = run(&[
        "submit",
        <crate::tasks::panics as heist::Task>::NAME,
        "'no luck'",
    ]);
    assert!(
        answer.contains("panic") && answer.contains("no luck"),
        "{answer}"
    );
}

/// Medians: of a queued call until its handle has resolved, of a running one until its place has run another.
fn cancels_are_quick() {
    let server = Server::start();
    let cluster = connect(&server);
    let _worker = Worker::start(&server.address(), 1, false);
    let log = Log::new();
    let median = |mut times: Vec<Duration>| {
        times.sort_unstable();
        times[times.len() / 2]
    };
    let block = cluster.submit(until_cancelled::TASK, log.path());
    until(LONG, || block.is_running());
    // The worker may have it in hand already.
    let in_queue = || {
        let stats = cluster.stats();
        stats.queued_normal + stats.under_way as u64
    };
    let queued = (0..21).map(|n| {
        let handle = cluster.submit(square::TASK, n);
        until(LONG, || in_queue() == 2);
        let begin = Instant::now();
        assert!(handle.cancel());
        assert!(handle.join().unwrap_err().is_cancelled());
        let resolved = begin.elapsed();
        until(LONG, || in_queue() == 1);
        resolved
    });
    let queued = median(queued.collect());
    assert!(block.cancel());
    let running = (0..21).map(|_| {
        let handle = cluster.submit(until_cancelled::TASK, log.path());
        until(LONG, || handle.is_running());
        let begin = Instant::now();
        assert!(handle.cancel());
        assert_eq!(cluster.submit(square::TASK, 3).join().unwrap(), 9);
        begin.elapsed()
    });
    let running = median(running.collect());
    println!(
        "cancelled while queued: {queued:?}; while running, until the place has run another: {running:?}"
    );
    assert!(queued < Duration::from_millis(20), "{queued:?}");
    assert!(running < Duration::from_millis(100), "{running:?}");
}

fn handles_know_what_runs() {
    let server = Server::start();
    let cluster = connect(&server);
    let _worker = Worker::start(&server.address(), 1, false);
    let handles = cluster.submit_many(sleep_ms::TASK, vec![700; 2]);
    until(LONG, || handles[0].is_running());
    assert!(!handles[1].is_running() || handles[0].is_finished());
    let found = cluster.attach::<u64>(&cluster.session(), 0).unwrap();
    assert!(found.is_running() || found.is_finished());
    until(LONG, || handles[1].is_running());
    assert!(handles[0].is_finished() && !handles[0].is_running());
    heist::try_join_all(handles).unwrap();
}

/// Items of a stream travel together, except in a session that is continued.
fn chunks_and_sessions() {
    let server = Server::start();
    let cluster = connect(&server);
    let _worker = Worker::start(&server.address(), 2, false);
    let squares: Result<Vec<_>, _> = cluster.imap(square::TASK, 0..10_000).collect();
    assert!(squares.unwrap().into_iter().eq((0..10_000).map(|n| n * n)));
    let messages = cluster.stats().results;
    println!("10,000 items in {messages} messages");
    assert!(messages < 2000);
    let stats = heist::Backend::stats(&cluster);
    assert_eq!((stats.submitted, stats.completed), (10_000, 10_000));
    let errors = cluster.imap(crate::tasks::fails::TASK, 0..100).chunk(10);
    assert_eq!(
        errors
            .filter(|item| item.as_ref().unwrap().is_err())
            .count(),
        50
    );
    let session = cluster.session();
    // The chunks of ten begin at the number 10,000. Only a chunk has a result.
    let first = cluster.attach::<Result<u64, String>>(&session, 10_000);
    assert!(first.unwrap().join().is_err());
    let second = cluster.attach::<Result<u64, String>>(&session, 10_001);
    assert!(second.unwrap_err().to_string().contains("does not know"));
    let continued =
        |name: &heist::nats::SessionId| options(&server).client().session(name.clone()).connect();
    let error = text(continued(&session).unwrap_err());
    assert!(error.contains("travelled in chunks"), "{error}");
    // A session that had a name from its beginning.
    let name: heist::nats::SessionId = "named".parse().unwrap();
    for _ in 0..2 {
        let cluster = continued(&name).unwrap();
        let before = cluster.stats().results;
        assert_eq!(
            cluster
                .imap(square::TASK, 0..50)
                .chunk(10)
                .filter(Result::is_ok)
                .count(),
            50
        );
        assert!(cluster.stats().results - before <= 50);
        assert_eq!(
            cluster.attach::<u64>(&name, 49).unwrap().join().unwrap(),
            49 * 49
        );
    }
}

/// A worker that dies loses what it ran, and a few short tasks that it had claimed, if it claims any ahead.
fn a_death_among_short_tasks() {
    for (ahead, most) in [("4", 16), ("0", 4)] {
        let server = Server::start();
        let cluster = connect(&server);
        let start = || {
            let claims = [(parents::CLAIMS_AHEAD, ahead)];
            Worker::with(&server.address(), 1, false, &claims)
        };
        let mut victim = start();
        heist::try_join_all(cluster.submit_many(square::TASK, 0..2000)).unwrap();
        for _ in 0..5 {
            let handles = cluster.submit_many(square::TASK, 0..4000);
            until(LONG, || handles[500].is_finished());
            signal(victim.pid(), libc::SIGKILL);
            victim.wait();
            victim = start();
            let lost = handles
                .into_iter()
                .filter_map(|handle| handle.join().err())
                .count();
            println!(
                "a worker with one place died among short tasks, {ahead} claimed ahead: {lost} lost"
            );
            // One that runs, those that are claimed, and some whose outcomes were on their way.
            assert!(lost <= most, "{lost}");
        }
    }
}
