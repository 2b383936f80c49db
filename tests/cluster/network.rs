//! Partitions: a server, a worker and a client, each in a network of its own, and cables between them that are pulled out.
//!
//! The programs run in network namespaces that only they can see. This program starts itself in a new one (`unshare --map-root-user --net`), which needs no rights.

use crate::parents;
use crate::server::Server;
use crate::support::{ACK_WAIT, LONG, Log, Test, Worker, child, options, until};
use crate::tasks::square;
use heist::{Executor, JoinError};
use std::process::{Child, Command};
use std::time::Duration;

pub fn tests() -> Vec<Test> {
    vec![
        ("network::a_client_is_cut_off", || {
            in_namespace("a_client_is_cut_off")
        }),
        ("network::a_worker_is_cut_off", || {
            in_namespace("a_worker_is_cut_off")
        }),
        ("network::the_server_is_cut_off", || {
            in_namespace("the_server_is_cut_off")
        }),
    ]
}

/// Which of the tests runs in this namespace.
const INSIDE: &str = "HEIST_TEST_NETWORK";

/// Longer than a worker may be silent, twice, and shorter than TCP's patience.
const CUT: Duration = Duration::from_secs(6);

fn in_namespace(name: &str) {
    let program = std::env::current_exe().expect("the path of this program");
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--net"]).arg(program);
    let status = child(command.env(INSIDE, name)).wait();
    assert!(status.expect("it has ended").success(), "{name} has failed");
}

/// Runs a test, if this program was started for one.
pub fn run_inside() -> Option<i32> {
    let name = std::env::var(INSIDE).ok()?;
    // SAFETY: no other thread runs yet.
    unsafe { std::env::remove_var(INSIDE) };
    ip("link set lo up");
    match &*name {
        "a_client_is_cut_off" => a_client_is_cut_off(),
        "a_worker_is_cut_off" => a_worker_is_cut_off(),
        _ => the_server_is_cut_off(),
    }
    Some(0)
}

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status();
    assert!(
        status.expect("ip is there").success(),
        "ip {arguments} has failed"
    );
}

/// A network with one computer besides the server, which has the address 10.77.N.1 there.
struct Cable {
    number: u8,
    holder: Child,
}

impl Cable {
    fn new(number: u8) -> Self {
        let holder = child(Command::new("unshare").args(["--net", "sleep", "1000"]));
        let own = std::fs::read_link("/proc/self/ns/net").expect("a namespace");
        let other = || std::fs::read_link(format!("/proc/{}/ns/net", holder.id()));
        until(LONG, || other().is_ok_and(|other| other != own));
        let cable = Cable { number, holder };
        let pid = cable.holder.id();
        ip(&format!(
            "link add cable{number} type veth peer name far netns {pid}"
        ));
        ip(&format!("addr add 10.77.{number}.1/24 dev cable{number}"));
        cable.far(&format!("ip addr add 10.77.{number}.2/24 dev far"));
        cable.far("ip link set far up");
        cable.far("ip link set lo up");
        cable.mend();
        cable
    }

    /// A command that runs at the other end.
    fn at_far(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.holder.id().to_string(), "--net", program]);
        command
    }

    fn far(&self, command: &str) {
        let mut words = command.split(' ');
        let mut command = self.at_far(words.next().expect("a program"));
        assert!(command.args(words).status().expect("it runs").success());
    }

    fn pull(&self) {
        ip(&format!("link set cable{} down", self.number));
    }

    fn mend(&self) {
        ip(&format!("link set cable{} up", self.number));
    }

    fn address(&self, server: &Server) -> String {
        server
            .address()
            .replace("127.0.0.1", &format!("10.77.{}.1", self.number))
    }

    fn worker(&self, server: &Server) -> Worker {
        let program = std::env::current_exe().expect("the path of this program");
        let mut command = self.at_far(program.to_str().expect("a path in UTF-8"));
        Worker::by(&mut command, &self.address(server), 1, false, &[])
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// Outcomes: the number of right values, and of lost calls.
fn count(handles: Vec<heist::JoinHandle<u64>>) -> (usize, usize) {
    let (mut right, mut lost) = (0, 0);
    for (n, handle) in (0..).zip(handles) {
        match handle.join() {
            Ok(value) => {
                assert_eq!(value, n * n);
                right += 1;
            }
            Err(error) => {
                assert!(error.is_lost(), "{error}");
                lost += 1;
            }
        }
    }
    (right, lost)
}

fn a_client_is_cut_off() {
    let server = Server::with(&["-js", "-a", "0.0.0.0"]);
    let cable = Cable::new(1);
    let _first = options(&server).cluster().expect("a cluster");
    let _worker = Worker::start(&server.address(), 2, false);
    let log = Log::new();
    let mut command = cable.at_far(
        std::env::current_exe()
            .expect("the path of this program")
            .to_str()
            .expect("a path in UTF-8"),
    );
    command.env(parents::MODE, "Client");
    command.env(parents::ADDRESS, cable.address(&server));
    command.env(parents::SESSION, "cut");
    command.env(parents::LOG, log.path());
    command.env(parents::TASKS, "1500");
    command.env(parents::TRIES, "1");
    let mut client = child(&mut command);
    until(LONG, || log.counts(1500)[100] > 0);
    cable.pull();
    std::thread::sleep(CUT);
    cable.mend();
    assert!(client.wait().expect("the client has ended").success());
    assert_eq!(log.counts(1500), [1; 1500]);
}

fn a_worker_is_cut_off() {
    let server = Server::with(&["-js", "-a", "0.0.0.0"]);
    let cable = Cable::new(2);
    let cluster = options(&server).cluster().expect("a cluster");
    let _far = cable.worker(&server);
    let _near = Worker::start(&server.address(), 1, false);
    until(LONG, || cluster.stats().workers.len() == 2);
    // Young connections do not judge.
    std::thread::sleep(ACK_WAIT * 3);
    let log = Log::new();
    for tries in [1, 3] {
        let call = cluster.task().tries(tries);
        let submit = |n| call.submit(crate::chaos::work::TASK, (log.path(), n));
        let handles: Vec<_> = (0..1000).map(submit).collect();
        until(LONG, || handles[100].is_finished());
        cable.pull();
        std::thread::sleep(CUT);
        assert!(handles[999].wait_timeout(LONG), "the other one goes on");
        cable.mend();
        let (right, lost) = count(handles);
        println!("a worker is cut off, tries {tries}: {right} right, {lost} lost");
        assert!(lost <= if tries == 1 { 2 } else { 0 });
        // The worker comes back.
        until(LONG, || cluster.stats().workers.len() == 2);
        std::thread::sleep(ACK_WAIT * 3);
    }
    let starts = log.counts(1000);
    assert!(starts.iter().all(|starts| (1..=4).contains(starts)));
}

fn the_server_is_cut_off() {
    let server = Server::with(&["-js", "-a", "0.0.0.0"]);
    let cables = [Cable::new(3), Cable::new(4)];
    let first = options(&server).cluster().expect("a cluster");
    let _workers = [0, 1].map(|n: usize| cables[n].worker(&server));
    until(LONG, || first.stats().workers.len() == 2);
    let log = Log::new();
    let submit = |n| first.submit(crate::chaos::work::TASK, (log.path(), n));
    let handles: Vec<_> = (0..1000).map(submit).collect();
    until(LONG, || handles[100].is_finished());
    cables.iter().for_each(Cable::pull);
    std::thread::sleep(CUT);
    cables.iter().for_each(Cable::mend);
    let (right, lost) = count(handles);
    println!("all workers are cut off: {right} right, {lost} lost");
    assert!(lost <= 4);
    assert!(log.counts(1000).iter().all(|starts| *starts <= 1));
    let value = first.submit(square::TASK, 3).join();
    assert_eq!(value.map_err(|error: JoinError| error.to_string()), Ok(9));
}
