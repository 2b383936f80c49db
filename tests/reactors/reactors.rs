//! Sockets and timers of async-io and of tokio inside tasks of a pool, with `HEIST_TEST_THREADS` threads, or 2.

use heist::{JoinHandle, ThreadPool};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Handle, Runtime};

/// The time after which a test has failed.
const LIMIT: Duration = Duration::from_secs(120);

const CLIENTS: usize = 40;
const ROUNDS: usize = 50;

fn pool() -> ThreadPool {
    let threads = std::env::var("HEIST_TEST_THREADS").map_or(2, |text| text.parse().unwrap());
    ThreadPool::with_threads(threads).unwrap()
}

/// The result of a task that ends before long.
#[track_caller]
fn result<T>(handle: JoinHandle<T>) -> T {
    let outcome = handle.join_timeout(LIMIT);
    outcome.expect("the task does not end").unwrap()
}

fn runtime() -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(1).enable_all().build().unwrap()
}

/// Polls a future with a runtime entered: see `examples/REACTORS.md`.
struct Entered<F> {
    handle: Handle,
    future: Pin<Box<F>>,
}

fn entered<F: Future>(runtime: &Runtime, future: F) -> Entered<F> {
    let (handle, future) = (runtime.handle().clone(), Box::pin(future));
    Entered { handle, future }
}

impl<F: Future> Future for Entered<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        let _entered = this.handle.enter();
        this.future.as_mut().poll(context)
    }
}

mod with_async_io {
    use async_io::Async;
    use futures_lite::{AsyncReadExt, AsyncWriteExt};
    use std::io;
    use std::net::{SocketAddr, TcpListener, TcpStream};

    /// Accepts so many clients and returns to each what it sends.
    pub async fn serve(listener: TcpListener, clients: usize) -> io::Result<()> {
        let listener = Async::new(listener)?;
        for _ in 0..clients {
            let (mut stream, _) = listener.accept().await?;
            heist::spawn_async(async move {
                let mut buffer = [0; 64];
                while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                    stream.write_all(&buffer[..read]).await.unwrap();
                }
            });
        }
        Ok(())
    }

    pub async fn ask(address: SocketAddr, rounds: usize) -> io::Result<usize> {
        let mut stream = Async::<TcpStream>::connect(address).await?;
        for round in 0..rounds {
            let sent = (round as u64).to_le_bytes();
            stream.write_all(&sent).await?;
            let mut received = [0; 8];
            stream.read_exact(&mut received).await?;
            assert_eq!(sent, received);
        }
        Ok(rounds)
    }
}

mod with_tokio {
    use std::io;
    use std::net::SocketAddr;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    /// Accepts so many clients and returns to each what it sends. To be polled with a runtime entered.
    pub async fn serve(listener: std::net::TcpListener, clients: usize) -> io::Result<()> {
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        for _ in 0..clients {
            let (mut stream, _) = listener.accept().await?;
            // A socket remembers its runtime, so these tasks need not enter it.
            heist::spawn_async(async move {
                let mut buffer = [0; 64];
                while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                    stream.write_all(&buffer[..read]).await.unwrap();
                }
            });
        }
        Ok(())
    }

    /// To be polled with a runtime entered.
    pub async fn ask(address: SocketAddr, rounds: usize) -> io::Result<usize> {
        let mut stream = TcpStream::connect(address).await?;
        for round in 0..rounds {
            let sent = (round as u64).to_le_bytes();
            stream.write_all(&sent).await?;
            let mut received = [0; 8];
            stream.read_exact(&mut received).await?;
            assert_eq!(sent, received);
        }
        Ok(rounds)
    }
}

fn listener() -> (std::net::TcpListener, SocketAddr) {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

#[track_caller]
fn all_rounds(clients: Vec<JoinHandle<io::Result<usize>>>) {
    for client in clients {
        assert_eq!(result(client).unwrap(), ROUNDS);
    }
}

#[test]
fn an_echo_with_async_io() {
    let pool = pool();
    let (listener, address) = listener();
    let server = pool.submit_async(with_async_io::serve(listener, CLIENTS));
    let clients = (0..CLIENTS).map(|_| pool.submit_async(with_async_io::ask(address, ROUNDS)));
    all_rounds(clients.collect());
    result(server).unwrap();
    pool.wait_idle();
    assert_eq!(pool.stats().suspended, 0);
}

#[test]
fn an_echo_with_tokio() {
    let (pool, runtime) = (pool(), runtime());
    let (listener, address) = listener();
    let server = pool.submit_async(entered(&runtime, with_tokio::serve(listener, CLIENTS)));
    let clients = (0..CLIENTS).map(|_| {
        let client = with_tokio::ask(address, ROUNDS);
        pool.submit_async(entered(&runtime, client))
    });
    all_rounds(clients.collect());
    result(server).unwrap();
    pool.wait_idle();
    assert_eq!(pool.stats().suspended, 0);
}

#[test]
fn both_reactors_serve_each_other_in_one_pool() {
    let (pool, runtime) = (pool(), runtime());
    let (first, to_tokio) = listener();
    let (second, to_async_io) = listener();
    let servers = [
        pool.submit_async(entered(&runtime, with_tokio::serve(first, CLIENTS))),
        pool.submit_async(with_async_io::serve(second, CLIENTS)),
    ];
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(pool.submit_async(with_async_io::ask(to_tokio, ROUNDS)));
        let client = with_tokio::ask(to_async_io, ROUNDS);
        clients.push(pool.submit_async(entered(&runtime, client)));
    }
    all_rounds(clients);
    for server in servers {
        result(server).unwrap();
    }
}

#[test]
fn timers_of_both_wake_tasks() {
    let (pool, runtime) = (pool(), runtime());
    let time = Duration::from_millis(5);
    let begin = Instant::now();
    let mut timers = Vec::new();
    for _ in 0..100 {
        timers.push(pool.submit_async(async move {
            async_io::Timer::after(time).await;
        }));
        let timer = async move {
            tokio::time::sleep(time).await;
            let never = std::future::pending::<()>();
            assert!(tokio::time::timeout(time, never).await.is_err());
            let mut interval = tokio::time::interval(time);
            for _ in 0..3 {
                interval.tick().await;
            }
        };
        timers.push(pool.submit_async(entered(&runtime, timer)));
        // That of heist, among them.
        timers.push(pool.submit_async(heist::sleep(time)));
    }
    timers.into_iter().for_each(result);
    assert!(begin.elapsed() >= 4 * time);
}

#[test]
fn a_cancelled_task_closes_its_socket() {
    use futures_lite::AsyncReadExt;
    use tokio::io::AsyncReadExt as _;

    let (pool, runtime) = (pool(), runtime());
    let (listener, address) = listener();
    let with_async_io = pool.submit_async(async move {
        let mut stream = async_io::Async::<std::net::TcpStream>::connect(address).await?;
        AsyncReadExt::read(&mut stream, &mut [0]).await
    });
    let (first, _) = listener.accept().unwrap();
    let with_tokio = pool.submit_async(entered(&runtime, async move {
        let mut stream = tokio::net::TcpStream::connect(address).await?;
        stream.read(&mut [0]).await
    }));
    let (second, _) = listener.accept().unwrap();
    for (handle, mut peer) in [(with_async_io, first), (with_tokio, second)] {
        assert!(handle.cancel());
        peer.set_read_timeout(Some(LIMIT)).unwrap();
        assert_eq!(io::Read::read(&mut peer, &mut [0]).unwrap(), 0);
        let outcome = handle.join_timeout(LIMIT).expect("it has been cancelled");
        assert!(outcome.unwrap_err().is_cancelled());
    }
}

#[test]
fn a_runtime_that_is_shut_down_leaves_no_task_waiting() {
    use tokio::io::AsyncReadExt as _;

    let (pool, runtime) = (pool(), runtime());
    let (listener, address) = listener();
    let waits = pool.submit_async(entered(&runtime, async move {
        let mut stream = tokio::net::TcpStream::connect(address).await?;
        stream.read(&mut [0]).await
    }));
    let _peer = listener.accept().unwrap();
    runtime.shutdown_timeout(LIMIT);
    assert!(result(waits).is_err());
}

#[test]
fn threads_can_stay_entered() {
    let runtime = runtime();
    let handle = runtime.handle().clone();
    let pool = ThreadPool::builder()
        .num_threads(2)
        .on_thread_start(move |_| std::mem::forget(handle.enter()))
        .build()
        .unwrap();
    let (listener, address) = listener();
    let server = pool.submit_async(with_tokio::serve(listener, CLIENTS));
    let clients = (0..CLIENTS).map(|_| pool.submit_async(with_tokio::ask(address, ROUNDS)));
    all_rounds(clients.collect());
    result(server).unwrap();
    pool.shutdown();
}

#[test]
fn handles_cross_between_the_runtimes() {
    let (pool, runtime) = (pool(), runtime());
    // tokio's handle and channel in a task of heist, with no runtime entered.
    let six = runtime.spawn(async { 6 });
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let product = pool.submit_async(async move { six.await.unwrap() * receiver.await.unwrap() });
    // heist's handle in a task of tokio.
    let seven = pool.submit(|| 7);
    runtime.spawn(async move { sender.send(seven.await.unwrap()) });
    assert_eq!(result(product), 42);
}

#[test]
fn futures_of_a_scope_that_borrow_use_sockets() {
    let pool = pool();
    let (listener, address) = listener();
    let server = pool.submit_async(with_async_io::serve(listener, CLIENTS));
    let sum = AtomicUsize::new(0);
    pool.scope(|scope| {
        for _ in 0..CLIENTS {
            let sum = &sum;
            let client = async move {
                let rounds = with_async_io::ask(address, ROUNDS).await.unwrap();
                sum.fetch_add(rounds, Ordering::Relaxed);
            };
            scope.submit_async(client).detach();
        }
    });
    assert_eq!(sum.into_inner(), CLIENTS * ROUNDS);
    result(server).unwrap();
}

#[test]
fn threads_that_block_do_not_stop_sockets() {
    let pool = pool();
    let (listener, address) = listener();
    let server = pool.submit_async(with_async_io::serve(listener, 1));
    let client = pool.submit_async(with_async_io::ask(address, ROUNDS));
    // The only worker may be the one that waits here.
    let (sender, receiver) = std::sync::mpsc::channel();
    let blocks = pool.submit(move || heist::blocking(|| receiver.recv_timeout(LIMIT)));
    let done = Arc::new(AtomicUsize::new(0));
    let count = done.clone();
    let ends = client.then(move |rounds| {
        count.store(rounds.unwrap().unwrap(), Ordering::SeqCst);
        sender.send(()).unwrap();
    });
    assert!(result(blocks).is_ok());
    result(ends);
    result(server).unwrap();
    assert_eq!(done.load(Ordering::SeqCst), ROUNDS);
}

/// Reactors compare wakers. Of two that they take for different, they call the first before they forget it, and the task is polled again.
#[test]
fn a_waker_is_equal_to_its_clones_and_to_that_of_the_next_poll() {
    let pool = pool();
    let mut first: Option<std::task::Waker> = None;
    let handle = pool.submit_async(std::future::poll_fn(move |context| {
        let waker = context.waker();
        let Some(first) = &first else {
            first = Some(waker.clone());
            waker.wake_by_ref();
            return Poll::Pending;
        };
        Poll::Ready(first.will_wake(waker) && waker.will_wake(&first.clone()))
    }));
    assert!(result(handle));
}

#[test]
fn the_wait_of_a_future_in_the_queue_is_measured_once() {
    let pool = pool();
    result(pool.submit_async(async {
        for _ in 0..10 {
            async_io::Timer::after(Duration::from_millis(1)).await;
        }
    }));
    pool.wait_idle();
    assert_eq!(pool.stats().queue_wait.count(), 1);
}
