//! Rows of connections that are served beside a map that keeps all workers busy.
//!
//! heist runs both on one pool, with the reactor of async-io. The peer is tokio with its own reactor, and rayon beside it: with as many threads in total, and with
//! twice as many. One thread sends the requests over blocking sockets.

use crate::common::mix;
use crate::contest::{Bench, Row};
use crate::contestants::{AsyncPeer, Heist, MapPeer, Peer, Rayon, Tokio};
use crate::results::Unit;
use crate::rows::shared::{THREADS, time};
use async_io::Async;
use futures_lite::io::{AsyncReadExt, AsyncWriteExt};
use std::fs;
use std::hint::black_box;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// The size of a request and of its answer.
const MESSAGE: usize = 64;

/// The pause between two requests.
const PACE: Duration = Duration::from_micros(500);

/// The items of a map. Each takes about ten microseconds.
const ITEMS: u64 = 2_000;

/// Steps of the computation that an item is.
const STEPS: u64 = 2_500;

/// The most connections of a contestant.
const CONNECTIONS: usize = 1_000;

/// Runs the rows.
pub fn run(bench: &mut Bench) {
    bench.row(&format!("async-echo/{THREADS}"), requests_beside_map);
    bench.row(&format!("async-echo-map/{THREADS}"), map_beside_requests);
}

/// A server, its clients, and a pool that maps beside it.
struct Both<P> {
    /// Dropped first: a pool that is dropped waits for the connections to end.
    clients: Vec<TcpStream>,
    maps: P,
    /// The pool of the server, where it is another one.
    _server: Option<Tokio>,
}

impl Both<Heist> {
    /// One pool of heist, and async-io's reactor.
    fn heist() -> Self {
        let maps = Heist::build(THREADS);
        let clients = connect(|socket| {
            let socket = Async::new(socket).expect("async-io takes the socket");
            maps.spawn_async(async move {
                let (mut socket, mut buffer) = (socket, [0; MESSAGE]);
                while socket.read_exact(&mut buffer).await.is_ok() {
                    let sent = socket.write_all(&buffer).await;
                    sent.expect("the client reads the answer");
                }
            });
        });
        Both {
            maps,
            clients,
            _server: None,
        }
    }
}

impl Both<Rayon> {
    /// A runtime of tokio and a pool of rayon, each of `threads` threads.
    fn tokio_and_rayon(threads: usize) -> Self {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        use tokio::net::TcpStream;

        let tokio = Tokio::with_drivers(threads);
        let clients = connect(|socket| {
            let _context = tokio.runtime().enter();
            let prepared = socket.set_nonblocking(true);
            prepared.expect("the socket can be made non-blocking");
            let socket = TcpStream::from_std(socket).expect("tokio takes the socket");
            tokio.spawn_async(async move {
                let (mut socket, mut buffer) = (socket, [0; MESSAGE]);
                while socket.read_exact(&mut buffer).await.is_ok() {
                    let sent = socket.write_all(&buffer).await;
                    sent.expect("the client reads the answer");
                }
            });
        });
        Both {
            maps: Rayon::build(threads),
            clients,
            _server: Some(tokio),
        }
    }
}

/// Makes the connections, of which `serve` takes one end.
fn connect(serve: impl Fn(TcpStream)) -> Vec<TcpStream> {
    let listener =
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("no port is left on the loopback");
    let address = listener.local_addr().expect("a listener has an address");
    (0..connections())
        .map(|_| {
            let client = TcpStream::connect(address).expect("the listener listens");
            let (server, _) = listener.accept().expect("a client has connected");
            for socket in [&client, &server] {
                let set = socket.set_nodelay(true);
                set.expect("a connection has this option");
            }
            serve(server);
            client
        })
        .collect()
}

/// The number of connections of each contestant: what the limit on open files allows for four contestants, with both ends of each connection.
fn connections() -> usize {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let open_files = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))
        .and_then(|limit| limit.split_whitespace().next()?.parse().ok())
        .unwrap_or(1_024_usize);
    let reserve = 100;
    CONNECTIONS.min(open_files.saturating_sub(reserve) / 8)
}

/// Sends a request over one of the connections, and reads the answer.
fn request(clients: &mut [TcpStream], n: u64) {
    let index = mix(n) as usize % clients.len();
    let message = [n as u8; MESSAGE];
    let mut answer = [0; MESSAGE];
    let client = &mut clients[index];
    client.write_all(&message).expect("the server reads");
    client.read_exact(&mut answer).expect("the server answers");
    assert_eq!(answer, message);
}

/// Makes requests at the pace until `over`, and returns how long each takes.
fn make_requests(clients: &mut [TcpStream], over: impl Fn(usize) -> bool) -> Vec<Duration> {
    let mut times = Vec::new();
    while !over(times.len()) {
        thread::sleep(PACE);
        let n = times.len() as u64;
        times.push(time(|| request(clients, n)).0);
    }
    times
}

/// What an item costs.
fn work(item: &u64) -> u64 {
    (0..STEPS).fold(black_box(*item), |state, _| mix(state))
}

/// Runs one map and returns its time.
fn map<P: MapPeer>(pool: &P, items: &[u64]) -> Duration {
    let (duration, results) = time(|| pool.map(items, work));
    let last = items.len() - 1;
    assert_eq!(results.len(), items.len());
    assert_eq!(results[last], work(&items[last]));
    duration
}

fn items() -> Vec<u64> {
    (0..ITEMS).collect()
}

const SAME: &str = "tokio1+rayon1";
const TWICE: &str = "tokio2+rayon2";

/// The latency of requests while another thread maps again and again.
fn requests_beside_map<'a>(bench: &Bench) -> Row<'a> {
    fn add<P>(row: &mut Row, name: &'static str, mut both: Both<P>, requests: usize)
    where
        P: MapPeer + Sync + 'static,
    {
        let items = items();
        row.add_events(name, move || {
            let Both { maps, clients, .. } = &mut both;
            let maps = &*maps;
            let over = AtomicBool::new(false);
            thread::scope(|scope| {
                scope.spawn(|| {
                    while !over.load(Ordering::Relaxed) {
                        map(maps, &items);
                    }
                });
                let times = make_requests(clients, |made| made == requests);
                over.store(true, Ordering::Relaxed);
                times
            })
        });
    }

    let requests = bench.pick(400, 100);
    let about = format!(
        "requests to {} connections, one each {} us, beside a map",
        connections(),
        PACE.as_micros()
    );
    let mut row = Row::new(about, Unit::MicrosecondsPer("request"));
    add(&mut row, Heist::NAME, Both::heist(), requests);
    add(&mut row, SAME, Both::tokio_and_rayon(1), requests);
    add(&mut row, TWICE, Both::tokio_and_rayon(2), requests);
    row
}

/// The time of maps, alone and while another thread makes requests.
fn map_beside_requests<'a>(bench: &Bench) -> Row<'a> {
    fn add_beside<P>(row: &mut Row, name: &'static str, mut both: Both<P>, maps: u32)
    where
        P: MapPeer + Sync + 'static,
    {
        let items = items();
        row.add(name, u64::from(maps), move || {
            let Both {
                maps: pool,
                clients,
                ..
            } = &mut both;
            let pool = &*pool;
            let over = AtomicBool::new(false);
            thread::scope(|scope| {
                scope.spawn(|| make_requests(clients, |_| over.load(Ordering::Relaxed)));
                let duration = (0..maps).map(|_| map(pool, &items)).sum();
                over.store(true, Ordering::Relaxed);
                duration
            })
        });
    }

    fn add_alone<P: MapPeer + 'static>(row: &mut Row, name: &'static str, pool: P, maps: u32) {
        let items = items();
        row.add(name, u64::from(maps), move || {
            (0..maps).map(|_| map(&pool, &items)).sum()
        });
    }

    let maps = bench.pick(10, 2);
    let about = format!(
        "a map of {ITEMS} items of about 10 us, beside requests to {} connections, one each {} us",
        connections(),
        PACE.as_micros()
    );
    let mut row = Row::new(about, Unit::Milliseconds);
    add_beside(&mut row, Heist::NAME, Both::heist(), maps);
    add_alone(&mut row, "heist-alone", Heist::build(THREADS), maps);
    add_beside(&mut row, SAME, Both::tokio_and_rayon(1), maps);
    add_beside(&mut row, TWICE, Both::tokio_and_rayon(2), maps);
    add_alone(&mut row, "rayon-alone", Rayon::build(THREADS), maps);
    row
}
